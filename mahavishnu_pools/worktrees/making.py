"""Makes the worktree of one attempt of a task."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mahavishnu_pools import errors
from mahavishnu_pools.worktrees.file_lock import FileLock
from mahavishnu_pools.worktrees.git import Git, require_git
from mahavishnu_pools.worktrees.records import Place, Record, branch_of
from mahavishnu_pools.worktrees.removing import delete_branch, remove_directory, remove_tree
from mahavishnu_pools.worktrees.repository import Repository, find_repository, uncommitted
from mahavishnu_pools.worktrees.turns import turn

#: How often a worktree is tried to be made while other processes have the repository's locks.
TRIES = 8

#: The pause after the first try in seconds; it grows with each.
_PAUSE = 0.1

#: Seconds that an attempt before this one may take to end, which lost its worker and has not noticed yet.
_FORMER = 30.0

#: What git says when somebody else is just changing the repository.
_CONTENTION = re.compile(r"lock|exists|commondir|unable to create|could not create|cannot fdopen", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A worktree for one attempt: ``cwd`` (without links) is where the task was to run.

    ``roots`` limit where that may be. ``mark`` is the environment that marks the task's processes. ``subject`` is the
    first line of its commit. ``stopped`` tells that nobody wants it any more.
    """

    task_id: str
    attempt: int
    node: str
    cwd: Path
    roots: tuple[Path, ...]
    mark: dict[str, str]
    subject: str
    stopped: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Tree:
    """A worktree in use. ``cwd`` is where the task runs in it; ``lock`` is held until ``settled``."""

    path: Path
    cwd: Path
    record: Record
    lock: FileLock


def make_tree(place: Place, wanted: Wanted) -> Tree:
    """Make the worktree; what an earlier attempt has left is removed, and the base is the same.

    Raises:
        RepositoryRefused: the directory is in no repository a worktree can be made of.
        GitFailed: git could not make it.
        OSError: the data directory cannot be written.
    """
    git = Git(wanted.cwd, env=wanted.mark, stopped=wanted.stopped)
    require_git(git)
    found = find_repository(git, roots=wanted.roots)
    trees = place.trees.resolve()
    if trees.is_relative_to(found.top):
        raise errors.RepositoryRefused(
            f"isolation: the worktree of a task would be inside the checkout {found.top}, because the data directory "
            f"{place.data_dir} is. Start the stack with a --data-dir outside of it.",
            directory=str(found.top),
        )
    lock = _locked(place, wanted)
    try:
        return _made(place, git, found, wanted, lock)
    except BaseException:
        lock.release()
        raise


def _locked(place: Place, wanted: Wanted) -> FileLock:
    lock = place.task_lock(wanted.task_id)
    deadline = time.monotonic() + _FORMER
    while not lock.take(str(wanted.attempt)):
        if wanted.stopped() or time.monotonic() > deadline:
            raise errors.GitFailed("An earlier attempt of this task still uses its worktree. Try again later.")
        time.sleep(_PAUSE)
    return lock


def _made(place: Place, git: Git, found: Repository, wanted: Wanted, lock: FileLock) -> Tree:
    top = git.at(found.top)
    base = _base(place, git, found, wanted.task_id)
    path = place.trees.resolve() / place.of_task(wanted.task_id).name / str(wanted.attempt) / _name(found.top)
    record = Record(
        task_id=wanted.task_id,
        attempt=wanted.attempt,
        node=wanted.node,
        top=str(found.top),
        base=base,
        branch=branch_of(wanted.task_id),
        tree=str(path),
        common=str(found.common),
        subject=wanted.subject,
        note=_note(top),
    )
    place.write(record)  # before there is anything, so that a crash leaves nothing nobody knows of
    try:
        _add(place, top, record)
        there = git.at(path)
        record = replace(record, git_dir=there.text("rev-parse", "--absolute-git-dir"))
        there.run("reset", "--hard", "--quiet")  # outside of the turn: with many files it takes its time
        if (path / ".gitmodules").is_file():
            record = replace(record, note=_joined(record.note, "Submodules are empty in it."))
        place.write(record)
        return Tree(path, _inside(path, found.inside), record, lock)
    except BaseException:
        unstopped = Git(found.top, env=wanted.mark)
        remove_tree(place, unstopped, record)
        with contextlib.suppress(errors.GitFailed):
            delete_branch(place, unstopped, record)
        place.forget(record.task_id)
        raise


def _base(place: Place, git: Git, found: Repository, task_id: str) -> str:
    """Return the commit to begin at; what an earlier attempt has left is removed."""
    before = place.read(task_id)
    if before is None:
        return found.head
    remove_tree(place, git, before)
    same = before.top == str(found.top)
    known = same and git.run("cat-file", "-e", f"{before.base}^{{commit}}", fine=None).returncode == 0
    return before.base if known else found.head


def _add(place: Place, top: Git, record: Record) -> None:
    path = Path(record.tree)
    for number in range(1, TRIES + 1):
        remove_directory(path)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with turn(place, record.common):
                top.run(
                    "worktree", "add", "--no-checkout", "--lock", "-B", record.branch, "--", record.tree, record.base
                )
        except errors.GitFailed as exc:
            said = str(exc.details().get("said", ""))
            if "refs/heads/mahavishnu' exists" in said:
                text = f"isolation: {record.top} has a branch named 'mahavishnu', so none can begin with it. Rename it."
                raise errors.RepositoryRefused(text, directory=record.top) from exc
            if number == TRIES or top.stopped() or not _CONTENTION.search(said):
                raise
            time.sleep(_PAUSE * number * random.uniform(0.5, 1.5))
            remove_tree(place, top, record)
        else:
            return


def _name(top: Path) -> str:
    """Return what the worktree's directory is called: as the checkout's, because programs take names from there."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", top.name)[:100].lstrip(".-") or "repository"


def _inside(tree: Path, inside: Path) -> Path:
    """Return where the task runs; a directory that is not in the commit is made."""
    wanted = tree / inside
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        real = wanted.resolve(strict=True)
    except OSError as exc:
        raise _no_such(inside) from exc
    if not real.is_relative_to(tree):
        raise _no_such(inside)
    return real


def _no_such(inside: Path) -> errors.RepositoryRefused:
    text = f"isolation: {str(inside)!r} is no directory in the commit of the worktree. Commit it, or name another one."
    return errors.RepositoryRefused(text, directory=str(inside))


def _note(top: Git) -> str | None:
    """Return what people should know of where it begins."""
    try:
        dirty = uncommitted(top)
    except errors.GitFailed:  # what is in the worktree does not depend on it
        return None
    return "The checkout had changes that were not committed; they are not in the worktree." if dirty else None


def _joined(*notes: str | None) -> str | None:
    return " ".join(note for note in notes if note) or None
