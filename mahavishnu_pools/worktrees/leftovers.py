"""Finds what worktrees have left on this machine, and mends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mahavishnu_pools import errors
from mahavishnu_pools.worktrees.git import Git
from mahavishnu_pools.worktrees.records import Place, Record
from mahavishnu_pools.worktrees.removing import delete_branch, remove_directory, remove_tree, tip_of
from mahavishnu_pools.worktrees.settling import drop, settle


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there of a task that does not run here now; ``record`` is None when nothing can be read of it."""

    name: str
    record: Record | None

    @property
    def task_id(self) -> str:
        """Return the task's id, as far as it is known."""
        return self.name if self.record is None else self.record.task_id

    @property
    def broken_off(self) -> bool:
        """Tell whether its last attempt did not come to its end."""
        return self.record is None or self.record.ended is None


def look(place: Place) -> Iterator[Seen]:
    """Yield what is there of tasks that do not run here now."""
    for name in place.names():
        lock = place.task_lock(name)
        try:
            if not lock.take("check"):
                continue
            seen = Seen(name, place.read(name))
            if seen.record is None and place.holds_nothing(name):
                place.forget(name)
                continue
        except OSError:  # it went away at this moment
            continue
        finally:
            lock.release()
        yield seen


def mend_broken(place: Place, seen: Seen) -> bool:
    """Commit what an attempt that was broken off has changed, and remove its worktree; tell whether that is done."""
    lock = place.task_lock(seen.name)
    if not lock.take("check"):
        return False
    try:
        record = place.read(seen.name)
        if record is None:
            return remove_directory(place.trees / seen.name)
        if not Path(record.top).is_dir() or not record.git_dir or not Path(record.tree).is_dir():
            drop(place, record)
            return True
        return settle(place, record, status="broken off").error is None
    except errors.GitFailed:
        return False
    finally:
        lock.release()


def is_done_with(place: Place, record: Record) -> bool:
    """Tell whether nothing is left to be looked at: repository or branch are gone, or what it holds was merged."""
    git = Git(Path(record.top))
    if record.ended is not None and record.ended.kept is not None and Path(record.tree).exists():
        return False
    if not Path(record.top).is_dir():
        return True
    try:
        tip = tip_of(git, record.branch)
        return tip is None or git.run("merge-base", "--is-ancestor", tip, "HEAD", fine=None).returncode == 0
    except errors.GitFailed:
        return False


def forget_done(place: Place, seen: Seen) -> bool:
    """Remove the branch and the record of changes that nobody has to look at any more; tell whether they are gone."""
    lock = place.task_lock(seen.name)
    if not lock.take("check"):
        return False
    try:
        record = place.read(seen.name)
        if record is None or not is_done_with(place, record):
            return record is None
        if Path(record.top).is_dir():
            git = Git(Path(record.top))
            remove_tree(place, git, record)
            if not delete_branch(place, git, record):
                return False
        place.forget(seen.name)
        return True
    except errors.GitFailed:
        return False
    finally:
        lock.release()
