"""Where a machine's worktrees are, and what is written down of each: enough to mend whatever was broken off.

``<data dir>/worktrees/<task>/`` holds ``record.json``, the lock of the attempt that runs, and the worktree in a
directory named by attempt. It is there from before the worktree until the changes were discarded.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import ValidationError

from mahavishnu_pools.schemas.worktree import Changes
from mahavishnu_pools.worktrees.file_lock import FileLock

#: Branches of tasks begin with this.
BRANCHES = "mahavishnu/"

#: The author of commits when the settings name none.
AUTHOR = "Mahavishnu <mahavishnu@localhost>"

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True, slots=True)
class Record:
    """What is written down of a task's worktree.

    ``top`` is the checkout, ``common`` its repository, ``tree`` the worktree, ``git_dir`` what git keeps for it (empty:
    not known yet). ``changes`` (JSON data) are known once an attempt has ended.
    """

    task_id: str
    attempt: int
    node: str
    top: str
    base: str
    branch: str
    tree: str
    common: str = ""
    git_dir: str = ""
    subject: str = ""
    note: str | None = None
    changes: dict[str, object] | None = None

    @property
    def ended(self) -> Changes | None:
        """Return what the task changed; None while it runs, or when it was broken off."""
        try:
            return None if self.changes is None else Changes.model_validate(self.changes)
        except ValidationError:
            return None


@dataclass(frozen=True, slots=True)
class Place:
    """The worktrees and locks below a data directory; ``author`` is that of commits, as ``Name <address>``."""

    data_dir: Path
    author: str = AUTHOR

    @property
    def trees(self) -> Path:
        """Return the directory with a directory for each task."""
        return self.data_dir / "worktrees"

    def of_task(self, task_id: str) -> Path:
        """Return the directory of a task."""
        return self.trees / plain(task_id)

    def task_lock(self, task_id: str) -> FileLock:
        """Return the lock that an attempt of a task has while it uses its worktree."""
        return FileLock(self.of_task(task_id) / "lock")

    def checkout_lock(self, top: Path) -> FileLock:
        """Return the lock that keeps tasks from working in a checkout at the same time."""
        return FileLock(self.data_dir / "locks" / _digest(top))

    def repository_lock(self, common: Path) -> FileLock:
        """Return the lock of who changes the list of a repository's worktrees; ``common`` is what they share."""
        return FileLock(self.data_dir / "locks" / f"{_digest(common)}.git")

    def read(self, task_id: str) -> Record | None:
        """Return what is written down of a task, None when there is nothing that can be read."""
        try:
            raw = json.loads((self.of_task(task_id) / "record.json").read_bytes())
            return Record(**raw)
        except (OSError, ValueError, TypeError):
            return None

    def write(self, record: Record) -> None:
        """Write a record down, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        directory = self.of_task(record.task_id)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = directory / "record.new"
        fresh.write_text(json.dumps(asdict(record)), encoding="ascii")
        os.replace(fresh, directory / "record.json")

    def forget(self, task_id: str) -> None:
        """Take a task's record away, and its directory if nothing else is in it but the lock."""
        directory = self.of_task(task_id)
        for name in ("record.json", "record.new", "lock"):
            (directory / name).unlink(missing_ok=True)
        try:
            directory.rmdir()
        except OSError:
            return

    def holds_nothing(self, task_id: str) -> bool:
        """Tell whether the directory of a task has only the lock, or what was being written when its worker ended."""
        return not {entry.name for entry in os.scandir(self.of_task(task_id))} - {"lock", "record.new"}

    def names(self) -> Iterator[str]:
        """Yield the names of the directories of tasks."""
        try:
            yield from sorted(entry.name for entry in os.scandir(self.trees) if entry.is_dir(follow_symlinks=False))
        except OSError:
            return


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:32]


def plain(task_id: str) -> str:
    """Return what a task is called in paths and branches: its id, where that can be; callers may choose odd ones."""
    if _PLAIN.fullmatch(task_id):
        return task_id
    return "task_" + hashlib.sha256(task_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def branch_of(task_id: str) -> str:
    """Return the branch of a task."""
    return BRANCHES + plain(task_id)
