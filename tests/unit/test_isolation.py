"""Tasks in git worktrees of their own, and tasks that wait for a checkout, as executors run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.schemas.worktree import Changes
from mahavishnu_pools.worktrees.records import Place, branch_of
from tests.fakes.at_once import all_at_once, started
from tests.fakes.repository import Repository
from tests.fakes.run_context import RecordingLog, install_program, make_context, shell_task
from tests.fixtures.containers import StandIn
from tests.waiting import eventually
from workers.executors.interface import RunContext
from workers.executors.registry import execute


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data", "Robo T <robo@example.com>")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "my repo ü")


def context(
    place: Place, command: str, cwd: Path | None, *, isolation: str | None = "worktree", **more: Any
) -> RunContext:
    fields = {"cwd": str(cwd)} if cwd else {}
    services = {"worktrees": place, **more.pop("services", {})}
    return make_context(shell_task(command, isolation=isolation, **fields), services=services, **more)


def changes(outcome: Outcome) -> Changes:
    return Changes.model_validate(outcome.metadata["worktree"])


def leftovers(place: Place) -> list[str]:
    return sorted(str(path.relative_to(place.trees)) for path in place.trees.rglob("*"))


def test_what_a_task_changes_is_on_its_branch_and_the_checkout_stays(place: Place, repository: Repository) -> None:
    before, base = repository.state(), repository.git("rev-parse", "HEAD")
    command = (
        "pwd; echo four >> ../a.txt; rm b.txt; echo new > new.txt; echo obj > x.o; mkdir ro; : > ro/f; chmod 500 ro"
    )
    given = context(place, command, repository.top / "sub")

    outcome = execute(given)

    found = changes(outcome)
    assert outcome.status == "completed"
    assert outcome.output.strip().endswith("/my-repo--/sub")
    assert (found.base, found.branch, found.repository) == (base, branch_of(given.task_id), str(repository.top))
    assert (found.files, found.insertions, found.deletions, found.note, found.kept) == (4, 2, 1, None, None)
    assert [one.path for one in found.changed] == ["a.txt", "sub/b.txt", "sub/new.txt", "sub/ro/f"]
    assert repository.git("log", "-1", "--format=%an %ae %s", found.branch or "") == (
        f"Robo T robo@example.com Task {given.task_id}"
    )
    assert repository.state() == before
    assert repository.git("worktree", "list").count("\n") == 0
    assert leftovers(place) == [given.task_id, f"{given.task_id}/lock", f"{given.task_id}/record.json"]


def test_a_task_that_changes_nothing_leaves_nothing(place: Place, repository: Repository) -> None:
    outcome = execute(context(place, "echo x > y.o", repository.top))

    assert (changes(outcome).branch, changes(outcome).files) == (None, 0)
    assert (repository.branches(), leftovers(place)) == ([], [])
    assert not (repository.top / ".git" / "worktrees").exists()


@pytest.mark.parametrize("how", ["exit 3", "sleep 60"])
def test_what_a_task_changed_that_failed_is_kept(place: Place, repository: Repository, how: str) -> None:
    spec = shell_task(f"echo 4 >> a.txt; {how}", cwd=str(repository.top), isolation="worktree", timeout=6)

    outcome = execute(make_context(spec, services={"worktrees": place}))

    assert outcome.status in ("failed", "timeout")
    assert "Mahavishnu-Status: " + outcome.status in repository.git("log", "-1", "--format=%B", *repository.branches())


def test_commits_of_the_task_itself_stay_and_no_other_branch_moves(place: Place, repository: Repository) -> None:
    own = "git -c user.name=x -c user.email=y@z"
    command = (
        f"{own} commit -q --allow-empty -m mine; git checkout -q -b other; {own} commit -qm n --allow-empty; : > m"
    )

    outcome = execute(context(place, command, repository.top))

    found = changes(outcome)
    assert [one.path for one in found.changed] == ["m"]
    subjects = repository.git("log", "--format=%s", f"{found.base}..{found.branch}").splitlines()
    assert subjects[1:] == ["n", "mine"]
    assert repository.git("log", "-1", "--format=%s", "other") == "n"


def test_an_attempt_begins_where_the_one_before_began(place: Place, repository: Repository) -> None:
    first = context(place, "echo lost > lost.txt", repository.top)
    base = changes(execute(first)).base
    repository.commit({"c.txt": "c\n"}, "second")

    again = context(place, "ls", repository.top, task_id=first.task_id, attempt=2)
    outcome = execute(again)

    assert (changes(outcome).base, changes(outcome).branch) == (base, None)
    assert outcome.output.split() == ["a.txt", "sub"]
    assert (repository.branches(), leftovers(place)) == ([], [])


def test_hooks_and_settings_of_the_user_change_nothing(
    place: Place, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("post-checkout", "pre-commit", "commit-msg", "reference-transaction", "post-index-change"):
        install_program(repository.top / ".git" / "hooks", name, f"touch {tmp_path}/hooked; exit 1")
    for name, value in {"commit.gpgSign": "true", "core.safecrlf": "true", "core.fsmonitor": "/bin/false"}.items():
        repository.git("config", name, value)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")

    outcome = execute(context(place, "printf 'a\\r\\nb\\n' > mixed.txt", repository.top))

    assert changes(outcome).files == 1
    monkeypatch.undo()
    assert repository.git("log", "-1", "--format=%an", *repository.branches()) == "Robo T"
    assert not (tmp_path / "hooked").exists()


def test_a_checkout_with_changes_is_begun_at_its_commit_and_that_is_said(place: Place, repository: Repository) -> None:
    repository.write({"a.txt": "mine\n", "untracked": "x"})
    before = repository.state()

    outcome = execute(context(place, "cat a.txt; ls", repository.top))

    assert "mine" not in outcome.output
    assert "untracked" not in outcome.output
    assert "not committed" in str(changes(outcome).note)
    assert repository.state() == before


@pytest.mark.slow
def test_a_detached_head_and_a_worktree_of_the_user_can_be_begun_at(
    place: Place, repository: Repository, tmp_path: Path
) -> None:
    repository.git("checkout", "-q", "--detach")
    other = tmp_path / "by hand"
    repository.git("worktree", "add", "-q", "-b", "hand", str(other))

    for top in (repository.top, other):
        found = changes(execute(context(place, "echo x > x", top)))
        assert (found.repository, found.files) == (str(top), 1)

    assert repository.git("worktree", "list").count("\n") == 1
    assert len(repository.branches()) == 2


def test_a_repository_with_any_name_can_be_used(place: Place, tmp_path: Path) -> None:
    odd = Repository(tmp_path / 'new\nline "q" ,-\t')

    outcome = execute(context(place, "echo x > 'f\n1'", odd.top))

    assert (changes(outcome).files, changes(outcome).changed[0].path) == (1, "f\n1")
    assert "f\n1" in odd.git("ls-tree", "--name-only", "-z", *odd.branches()).split("\0")


def test_a_worktree_whose_git_file_is_gone_or_replaced_is_committed_all_the_same(
    place: Place, repository: Repository
) -> None:
    for command in ("rm .git", "rm .git; git init -q; git add -A", "git checkout -q --orphan o; git rm -rqf ."):
        outcome = execute(context(place, f"{command}; echo x > x.txt", repository.top))
        assert "x.txt" in [one.path for one in changes(outcome).changed], outcome
        assert changes(outcome).kept is None

    assert len(repository.branches()) == 3
    assert repository.git("worktree", "list").count("\n") == 0


@pytest.mark.slow
def test_a_repository_inside_is_kept_with_the_worktree(place: Place, repository: Repository) -> None:
    who = "-c user.name=x -c user.email=y@z"
    command = f"git init -q in; cd in; echo x > x; git add x; git {who} commit -qm x"

    found = changes(execute(context(place, command, repository.top)))

    assert "repository of its own" in str(found.note)
    assert found.kept is not None
    assert (Path(found.kept) / "in" / "x").read_text() == "x\n"


def test_what_cannot_be_committed_is_kept_and_the_task_has_failed(place: Place, repository: Repository) -> None:
    outcome = execute(context(place, 'echo x > x; rm -rf "$(git rev-parse --git-dir)"', repository.top))

    found = changes(outcome)
    assert outcome.status == "failed"
    assert "could not be committed" in str(outcome.error)
    assert (Path(str(found.kept)) / "x").exists()


@pytest.mark.slow
def test_submodules_are_empty_and_that_is_said(place: Place, repository: Repository, tmp_path: Path) -> None:
    inner = Repository(tmp_path / "inner")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.top), "lib")
    repository.git("commit", "-qm", "with a module")

    outcome = execute(context(place, "ls lib; echo x > x", repository.top))

    assert outcome.output == ""
    assert "Submodules are empty" in str(changes(outcome).note)
    assert changes(outcome).files == 1


@pytest.mark.slow
def test_a_directory_that_is_in_no_commit_is_there(place: Place, repository: Repository) -> None:
    (repository.top / "fresh" / "deep").mkdir(parents=True)

    outcome = execute(context(place, "echo x > x", repository.top / "fresh" / "deep"))

    assert changes(outcome).changed[0].path == "fresh/deep/x"


def test_a_link_in_the_commit_leads_no_task_out_of_its_worktree(
    place: Place, repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "away").mkdir()
    (repository.top / "dir").symlink_to(tmp_path / "away")
    repository.git("add", "dir")
    repository.git("commit", "-qm", "link")
    (repository.top / "dir").unlink()
    (repository.top / "dir").mkdir()

    outcome = execute(context(place, "touch here", repository.top / "dir"))

    assert "is no directory in the commit" in str(outcome.error)
    assert (list((tmp_path / "away").iterdir()), repository.branches(), leftovers(place)) == ([], [], [])


def _bare(tmp_path: Path) -> Path:
    one = Repository(tmp_path / "one")
    one.git("clone", "-q", "--bare", str(one.top), str(tmp_path / "bare"))
    return tmp_path / "bare"


def _plain(tmp_path: Path) -> Path:
    (tmp_path / "plain").mkdir()
    return tmp_path / "plain"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_plain, "it is in no git repository"),
        (_bare, "bare repository"),
        (lambda tmp: Repository(tmp / "empty", empty=True).top, "no commit yet"),
        (lambda tmp: Repository(tmp / "one").top / ".git", "bare repository, or its .git directory"),
    ],
)
def test_where_no_worktree_can_be_made_the_task_fails_with_the_reason(
    place: Place, tmp_path: Path, make: Any, sentence: str
) -> None:
    outcome = execute(context(place, "touch ran", make(tmp_path)))

    assert outcome.status == "failed"
    assert sentence in str(outcome.error)
    assert leftovers(place) == []


def test_a_repository_that_reaches_beyond_the_allowed_roots_is_refused(place: Place, repository: Repository) -> None:
    outcome = execute(context(place, "true", repository.top / "sub", allowed_roots=(repository.top / "sub",)))

    assert "outside the allowed roots" in str(outcome.error)


def test_a_worktree_is_never_made_inside_the_checkout(repository: Repository) -> None:
    outcome = execute(context(Place(repository.top / "state"), "true", repository.top))

    assert "would be inside the checkout" in str(outcome.error)
    assert repository.branches() == []


def test_without_git_or_with_an_old_one_the_task_fails_with_a_sentence(
    place: Place, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = execute(context(place, "true", repository.top))
    monkeypatch.setenv("PATH", str(install_program(tmp_path / "bin", "git", "echo git version 1.8.5")))
    old = execute(context(place, "true", repository.top))

    assert "'git', which is not on PATH" in str(missing.error)
    assert "git 2.25 or newer, and this machine has: git version 1.8.5" in str(old.error)


@pytest.mark.slow
def test_a_branch_that_is_in_the_way_is_named(place: Place, repository: Repository) -> None:
    repository.git("branch", "mahavishnu")

    outcome = execute(context(place, "true", repository.top))

    assert "has a branch named 'mahavishnu'" in str(outcome.error)
    assert leftovers(place) == []


def test_a_task_that_names_no_repository_can_have_no_worktree(place: Place) -> None:
    assert "has no cwd" in str(execute(context(place, "true", None)).error)
    of_pool = execute(context(place, "pwd", None, isolation=None, services={"isolation": "worktree"}))
    assert (of_pool.status, of_pool.metadata) == ("completed", {})


def test_pools_that_run_tasks_elsewhere_refuse_worktrees(place: Place, repository: Repository) -> None:
    outcome = execute(context(place, "true", repository.top, services={"delegate": object()}))

    assert "runs its tasks elsewhere" in str(outcome.error)


def test_a_pools_isolation_is_for_what_changes_files_and_a_task_may_have_another(
    place: Place, repository: Repository
) -> None:
    of_pool = {"worktrees": place, "isolation": "worktree"}
    spec = {"task_type": "analyze", "payload": {"path": "."}, "cwd": str(repository.top)}

    changed = execute(context(place, "echo x > x", repository.top, isolation=None, services=of_pool))
    shared = execute(context(place, "pwd", repository.top, isolation="none", services=of_pool))

    assert changes(changed).files == 1
    assert shared.output.strip() == str(repository.top)
    assert "worktree" not in execute(make_context(spec, services=of_pool)).metadata


@pytest.mark.slow
def test_ten_worktrees_can_be_made_at_once(place: Place, repository: Repository) -> None:
    before = repository.state()

    outcomes = all_at_once([context(place, f"echo {number} >> a.txt", repository.top) for number in range(10)])

    assert [changes(one).insertions for one in outcomes] == [1] * 10
    assert len(repository.branches()) == 10
    assert repository.state() == before


def test_a_cancelled_attempt_that_somebody_else_takes_over_leaves_nothing(place: Place, repository: Repository) -> None:
    given = context(place, "echo x > x; echo ready; sleep 60", repository.top)
    (thread,), _ = started([given])
    log = given.log
    assert isinstance(log, RecordingLog)
    eventually(lambda: "ready" in log.text(), within=30)

    given.cancellation.cancel(leave=True)
    thread.join()

    assert (repository.branches(), leftovers(place)) == ([], [])


def test_a_container_gets_the_worktree(place: Place, tmp_path: Path, engine: StandIn) -> None:
    plain = Repository(tmp_path / "plain")
    spec = {"prompt": "echo x > made", "cwd": str(plain.top), "isolation": "worktree"}
    services = {"worktrees": place, "container_image": "example/tool:1"}

    outcome = execute(
        make_context(spec, services=services, env=engine.env, worker_type="container", allowed_roots=(plain.top,))
    )

    tree = f"{place.trees}/{changes(outcome).task_id}/1/plain"
    (call,) = engine.calls("run")
    assert f"--mount=type=bind,source={tree},target={tree}" in call
    assert [one.path for one in changes(outcome).changed] == ["made"]


def test_pools_that_cannot_isolate_are_refused_when_they_are_made() -> None:
    from mahavishnu_pools.pools.usable import check_config
    from mahavishnu_pools.schemas.pool import PoolConfig

    with pytest.raises(errors.InvalidField, match="isolation: worktree cannot be had"):
        check_config(PoolConfig(name="p", pool_type="session-buddy", isolation="worktree"), kinds={})
