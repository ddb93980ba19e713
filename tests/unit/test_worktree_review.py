"""What becomes of a task's changes: shown, applied whole or not at all, discarded, found when left over."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.worktree import Changes
from mahavishnu_pools.worktrees import leftovers
from mahavishnu_pools.worktrees.applying import MERGES, apply
from mahavishnu_pools.worktrees.git import Git, git_version
from mahavishnu_pools.worktrees.records import Place
from mahavishnu_pools.worktrees.review import Review, discard, find_review, show
from tests.fakes.repository import Repository
from tests.fakes.run_context import make_context, shell_task
from workers.executors.registry import execute


class Site:
    """A repository, and tasks that ran beside it."""

    def __init__(self, tmp_path: Path) -> None:
        self.repository = Repository(tmp_path / "repo")
        self.top = self.repository.top
        self.place = Place(tmp_path / "data")
        self.told: dict[str, Changes] = {}

    def ran(self, command: str) -> str:
        """Run a command in a worktree and return the id of its task."""
        spec = shell_task(command, cwd=str(self.top), isolation="worktree")
        given = make_context(spec, services={"worktrees": self.place})
        self.told[given.task_id] = Changes.model_validate(execute(given).metadata["worktree"])
        return given.task_id

    def review(self, task_id: str) -> Review:
        return find_review(self.place, task_id, self.told.get(task_id))

    def broken_off(self, command: str) -> str:
        """Leave what an attempt leaves whose worker was killed, after a command in its worktree."""
        from mahavishnu_pools.worktrees.making import Wanted, make_tree

        wanted = Wanted("task_1", 1, "n", self.top, (), {}, "", lambda: False)
        tree = make_tree(self.place, wanted)
        execute(make_context(shell_task(command, cwd=str(tree.path))))
        tree.lock.release()
        return "task_1"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


EDIT = "sed -i s/two/TWO/ a.txt; echo new > new.txt; printf '\\0\\1' > bin; chmod +x sub/b.txt; ln -s a.txt link"


def test_changes_are_shown_as_git_shows_them(site: Site) -> None:
    task_id = site.ran(EDIT)

    whole, short = show(site.review(task_id)), show(site.review(task_id), stat=True)

    assert "-two\n+TWO\n" in whole.text
    assert "new mode 100755" in whole.text
    assert short.text.splitlines()[-1].strip().startswith("5 files changed, 3 insertions(+), 1 deletion(-)")
    assert "\x1b[32m" in show(site.review(task_id), colour=True).text
    cut = show(site.review(task_id), most=10)
    assert (cut.cut, cut.text) == (True, whole.text[:10])


def test_applied_changes_are_in_the_checkout_and_not_committed(site: Site) -> None:
    task_id = site.ran(EDIT)
    index = (site.top / ".git" / "index").read_bytes()

    done = apply(site.place, site.review(task_id))

    assert (done.files, done.commit) == (("a.txt", "bin", "link", "new.txt", "sub/b.txt"), None)
    assert (site.top / "a.txt").read_text() == "one\nTWO\nthree\n"
    assert ((site.top / "bin").read_bytes(), (site.top / "link").is_symlink()) == (b"\0\1", True)
    assert (site.top / "sub" / "b.txt").stat().st_mode & 0o100
    assert (site.top / ".git" / "index").read_bytes() == index


def test_changes_applied_as_a_commit_leave_what_the_user_has_staged(site: Site) -> None:
    task_id = site.ran(EDIT)
    site.repository.write({"staged": "s", "loose": "l"})
    site.repository.git("add", "staged")

    done = apply(site.place, site.review(task_id), commit=True)

    assert site.repository.git("rev-parse", "HEAD") == done.commit
    assert site.repository.git("status", "--porcelain") == "A  staged\n?? loose"
    assert site.repository.git("log", "-1", "--format=%an %P") == f"Mahavishnu {site.told[task_id].base}"
    assert apply(site.place, site.review(task_id), commit=True).files == ()


def test_commits_the_checkout_got_meanwhile_are_merged_with_the_changes(site: Site) -> None:
    task_id = site.ran("sed -i s/three/THREE/ a.txt")
    site.repository.commit({"a.txt": "zero\none\ntwo\nthree\n", "other": "x"}, "second")
    if git_version(Git(site.top)) < MERGES:
        pytest.skip("this git cannot merge without a checkout")

    apply(site.place, site.review(task_id))

    assert (site.top / "a.txt").read_text() == "zero\none\ntwo\nTHREE\n"


@pytest.mark.parametrize("commit", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("before", "sentence", "files"),
    [
        (lambda site: site.repository.write({"a.txt": "mine\n"}), "not committed", ["a.txt"]),
        (lambda site: site.repository.write({"new.txt": "mine\n"}), "not committed", ["new.txt"]),
        (lambda site: site.repository.write({"bin/mine": "x"}), "not committed", ["bin/mine"]),
        (lambda site: site.repository.commit({"a.txt": "one\nzwei\nthree\n"}), "these files conflict", ["a.txt"]),
        (lambda site: site.repository.git("rm", "-q", "a.txt"), "not committed", ["a.txt"]),
    ],
)
def test_with_anything_in_the_way_the_checkout_stays_as_it_is(
    site: Site, before: object, sentence: str, files: list[str], commit: bool
) -> None:
    task_id = site.ran(EDIT)
    assert callable(before)
    before(site)
    state = site.repository.state()

    with pytest.raises(errors.ChangesConflict, match=sentence) as caught:
        apply(site.place, site.review(task_id), commit=commit)

    assert caught.value.details()["files"] == files
    assert site.repository.state() == state


def test_an_ignored_file_in_the_way_is_not_overwritten(site: Site) -> None:
    task_id = site.ran("echo theirs > x.txt")
    (site.top / ".git" / "info").mkdir(exist_ok=True)
    (site.top / ".git" / "info" / "exclude").write_text("x.txt\n")
    site.repository.write({"x.txt": "mine\n"})

    with pytest.raises(errors.ChangesConflict, match="already exists"):
        apply(site.place, site.review(task_id))

    assert (site.top / "x.txt").read_text() == "mine\n"


@pytest.mark.slow
def test_nothing_is_committed_in_the_middle_of_a_merge(site: Site) -> None:
    task_id = site.ran(EDIT)
    (site.top / ".git" / "MERGE_HEAD").write_text(site.told[task_id].base + "\n")

    with pytest.raises(errors.ChangesConflict, match="MERGE_HEAD"):
        apply(site.place, site.review(task_id), commit=True)


def test_nothing_is_applied_while_a_task_works_in_the_checkout(site: Site) -> None:
    task_id = site.ran(EDIT)
    lock = site.place.checkout_lock(site.top)
    assert lock.take("task_7")

    with pytest.raises(errors.ChangesConflict, match="task_7 works in it"):
        apply(site.place, site.review(task_id))
    lock.release()


def test_discarded_changes_leave_nothing_and_a_second_time_is_told_so(site: Site) -> None:
    task_id = site.ran(EDIT)

    done = discard(site.place, task_id, site.told[task_id])
    again = discard(site.place, task_id, site.told[task_id])

    assert (done.branch, done.again, again.again) == (f"mahavishnu/{task_id}", False, True)
    assert (site.repository.branches(), list(site.place.trees.iterdir())) == ([], [])
    with pytest.raises(errors.ChangesNotFound, match="were discarded"):
        site.review(task_id)


def test_a_branch_that_somebody_uses_is_not_discarded(site: Site) -> None:
    task_id = site.ran(EDIT)
    site.repository.git("checkout", "-q", f"mahavishnu/{task_id}")

    with pytest.raises(errors.RepositoryRefused, match=r"is checked out\. Check out another one"):
        discard(site.place, task_id, site.told[task_id])
    site.repository.commit({"more": "x"}, "mine")
    site.repository.git("checkout", "-q", "main")
    with pytest.raises(errors.RepositoryRefused, match=r"not the task's\. Delete it by hand: git branch -D"):
        discard(site.place, task_id, site.told[task_id])

    assert "more" in show(site.review(task_id)).text


def test_what_is_not_here_says_where_it_is(site: Site, tmp_path: Path) -> None:
    task_id = site.ran(EDIT)
    elsewhere = site.told[task_id].model_copy(update={"node": "far", "repository": "/not/here"})
    place = Place(tmp_path / "another")

    for look in (lambda: find_review(place, task_id, elsewhere), lambda: discard(place, task_id, elsewhere)):
        with pytest.raises(errors.ChangesNotFound, match="are on node far, in /not/here"):
            look()
    with pytest.raises(errors.ChangesNotFound, match="did not run in a worktree"):
        find_review(place, "task_x", None)
    unchanged = site.ran("true")
    with pytest.raises(errors.ChangesNotFound, match="has no branch with changes"):
        site.review(unchanged)


# ── leftovers ──


def test_an_attempt_that_was_broken_off_is_found_and_its_work_is_saved(site: Site) -> None:
    task_id = site.broken_off("echo half > half.txt")

    (seen,) = leftovers.look(site.place)

    assert (seen.task_id, seen.broken_off) == (task_id, True)
    assert leftovers.mend_broken(site.place, seen)
    assert show(site.review(task_id)).text.endswith("+half\n")
    assert site.repository.git("worktree", "list").count("\n") == 0
    assert [one.broken_off for one in leftovers.look(site.place)] == [False]


@pytest.mark.parametrize(
    "gone", ["tree", *(pytest.param(one, marks=pytest.mark.slow) for one in ("git_dir", "repository", "record"))]
)
def test_whatever_is_left_of_an_attempt_can_be_mended(site: Site, gone: str, tmp_path: Path) -> None:
    import shutil

    task_id = site.broken_off("true")
    record = site.place.read(task_id)
    assert record is not None
    if gone == "tree":
        shutil.rmtree(record.tree)
    elif gone == "repository":
        shutil.rmtree(site.top)
    elif gone == "git_dir":
        site.place.write(replace(record, git_dir=""))
    else:
        (site.place.of_task(task_id) / "record.json").write_text("{")

    (seen,) = leftovers.look(site.place)

    assert leftovers.mend_broken(site.place, seen)
    assert list(leftovers.look(site.place)) == []
    if gone in ("tree", "git_dir"):
        assert site.repository.branches() == []
        assert site.repository.git("worktree", "list").count("\n") == 0


def test_a_directory_with_a_lock_alone_is_no_leftover(site: Site) -> None:
    lock = site.place.task_lock("task_1")
    assert lock.take("1")
    lock.release()

    assert list(leftovers.look(site.place)) == []
    assert list(site.place.names()) == []


def test_a_task_that_runs_is_no_leftover(site: Site) -> None:
    lock = site.place.task_lock(site.broken_off("true"))
    assert lock.take("1")

    assert list(leftovers.look(site.place)) == []
    lock.release()


@pytest.mark.slow
def test_merged_changes_are_done_with_and_others_stay(site: Site) -> None:
    merged, other = site.ran("echo 1 > 1"), site.ran("echo 2 > 2")
    site.repository.git("merge", "-q", f"mahavishnu/{merged}")

    done = {one.task_id: leftovers.forget_done(site.place, one) for one in leftovers.look(site.place)}

    assert done == {merged: True, other: False}
    assert site.repository.branches() == [f"mahavishnu/{other}"]


def test_a_lock_whose_file_was_removed_is_one_lock_all_the_same(tmp_path: Path) -> None:
    place = Place(tmp_path)
    first, second, third = (place.task_lock("task_1") for _ in range(3))
    assert first.take("a")
    taken = threading.Event()

    first.release(remove=True)
    assert second.take("b")
    taken.set()

    assert not third.take("c")
    assert third.said == "b"
    second.release()
