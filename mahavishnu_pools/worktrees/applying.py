"""Applies the changes of a task to the checkout they began at: all of them, or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.worktree import Applied
from mahavishnu_pools.worktrees.git import Git, decoded, git_version, insist, listed, shown
from mahavishnu_pools.worktrees.records import Place
from mahavishnu_pools.worktrees.review import Review

#: What git says while another program has the index.
_BUSY = "index.lock"

#: The oldest git that merges without a checkout, and how it says that there are conflicts.
MERGES, _CONFLICTS = (2, 38), 1

#: Files by which git notes that something is under way; a commit in between would become part of it.
_UNDER_WAY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")

#: How a patch is written, so that it says everything.
_PATCH = ("diff", "--binary", "--full-index", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv")


def apply(place: Place, found: Review, *, commit: bool = False) -> Applied:
    """Bring the changes into the checkout as changes that are not committed, or as one commit (``commit``).

    Commits that the checkout got meanwhile are merged with them. Nothing is written when anything is in the way.

    Raises:
        ChangesConflict: files with changes of their own, or conflicts, are in the way; or a task works there.
        GitFailed: git failed.
    """
    lock = place.checkout_lock(found.top)
    if not lock.take(f"apply {found.changes.task_id}"):
        raise _conflict(found, f"{lock.said or 'a task'} works in it now", "Wait until it has ended.")
    try:
        with tempfile.TemporaryDirectory(prefix="mahavishnu-apply-") as scratch:
            return _applied(found, Path(scratch), commit=commit)
    finally:
        lock.release()


def _applied(found: Review, scratch: Path, *, commit: bool) -> Applied:
    git = found.git
    head = git.text("rev-parse", "--verify", "HEAD^{commit}")
    if commit:
        _refuse_under_way(found)
    wanted = _merged(found, head)
    paths = listed(git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", head, wanted).stdout)
    if not paths:
        return Applied(changes=found.changes)
    dirty = sorted(_touched(paths, _uncommitted(git)))
    patch = _patch(git, head, wanted, scratch / "wanted.patch")
    if dirty and git.run("apply", "--reverse", "--check", patch, fine=None).returncode == 0:
        if commit:
            remedy = "Commit them, or put them back and try again."
            raise _conflict(found, "all of it was applied already, and is not committed", remedy, dirty)
        return Applied(changes=found.changes, uncommitted=True)
    if dirty:
        raise _conflict(found, "these files have changes that are not committed", "Commit or stash them.", dirty)
    done = Applied(changes=found.changes, files=tuple(map(shown, paths)))
    if commit:
        return done.model_copy(update={"commit": _as_commit(found, head, wanted, patch)})
    _as_changes(found, patch)
    return done


def _merged(found: Review, head: str) -> str:
    """Return the tree of the checkout's commit with the changes in it; merged apart, so that nobody's files change."""
    git = found.git
    if head == found.changes.base:
        return git.text("rev-parse", f"{found.tip}^{{tree}}")
    by_hand = f"Merge the branch by hand: git merge {found.changes.branch}"
    if git_version(git) < MERGES:
        needed = ".".join(map(str, MERGES))
        raise _conflict(found, f"it has other commits since, and merging them takes git {needed} or newer", by_hand)
    done = git.run(
        "merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", head, found.tip, fine=(0, _CONFLICTS)
    )
    tree, *files = listed(done.stdout)
    if done.returncode == _CONFLICTS:
        raise _conflict(found, "it has changed since the task began, and these files conflict", by_hand, files)
    return tree


def _as_changes(found: Review, patch: str) -> None:
    with _explained(found):
        found.git.run("apply", "--check", patch)
        found.git.run("apply", patch)


def _as_commit(found: Review, head: str, wanted: str, patch: str) -> str:
    git = found.git
    made = _commit(found, head, wanted)
    with _explained(found):
        insist(git, "update-index", "-q", "--refresh", when=_BUSY, fine=None)
        git.run("apply", "--index", "--check", patch)
        insist(git, "apply", "--index", patch, when=_BUSY)
    try:
        git.run("update-ref", "-m", f"mahavishnu: apply {found.changes.task_id}", "HEAD", made, head)
    except errors.GitFailed:
        # Somebody committed at this moment.
        insist(git, "apply", "--index", "--reverse", patch, when=_BUSY)
        raise
    return made


def _commit(found: Review, head: str, wanted: str) -> str:
    git = found.git
    name, mail, message = git.text("log", "-1", "--format=%an%n%ae%n%B", found.tip).split("\n", 2)
    who = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": mail}
    if git.run("var", "GIT_COMMITTER_IDENT", fine=None).returncode != 0:  # nobody has told git who this user is
        who |= {"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": mail}
    text = message.encode("utf-8", "surrogateescape")
    return decoded(
        git.at(found.top, **who).run("commit-tree", wanted, "-p", head, "-F", "-", stdin=text).stdout
    ).strip()


def _refuse_under_way(found: Review) -> None:
    named = [part for name in _UNDER_WAY for part in ("--git-path", name)]
    for path in found.git.text("rev-parse", *named).split("\n"):
        if os.path.lexists(found.top / path):
            problem = f"a merge, rebase or the like is under way ({Path(path).name})"
            raise _conflict(found, problem, "Finish it, or apply without a commit.")


def _uncommitted(git: Git) -> list[str]:
    """Return the paths that differ from the checkout's commit; a directory of new files ends with a slash."""
    found = git.run("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=none")
    return [part[3:] for part in listed(found.stdout)]


def _touched(paths: Iterable[str], dirty: Iterable[str]) -> set[str]:
    """Return what of ``dirty`` is one of the paths, is above one, or below."""
    wanted = set(paths)
    above = {
        "/".join(parts[:number]) for path in wanted for parts in [path.split("/")] for number in range(1, len(parts))
    }
    found = set()
    for one in dirty:
        path = one.rstrip("/")
        parts = path.split("/")
        parents = ("/".join(parts[:number]) for number in range(1, len(parts)))
        if path in wanted or path in above or any(parent in wanted for parent in parents):
            found.add(shown(one))
    return found


def _patch(git: Git, before: str, after: str, path: Path) -> str:
    with path.open("wb") as file:
        git.run(*_PATCH, before, after, "--", into=file)
    return str(path)


@contextmanager
def _explained(found: Review) -> Iterator[None]:
    """Say that nothing was applied when git refuses the patch as it is."""
    try:
        yield
    except errors.GitFailed as exc:
        said = str(exc.details().get("said", exc.message))
        raise _conflict(found, f"git says: {said}", "Put out of the way what is named, and try again.") from exc


def _conflict(found: Review, problem: str, remedy: str, files: list[str] | None = None) -> errors.ChangesConflict:
    shown_files = [shown(one) for one in files or []]
    return errors.ChangesConflict.of(str(found.top), problem, remedy, files=shown_files)
