"""Finds and signals the processes of a task, also those that left its process group.

Every process a task starts carries ``MAHAVISHNU_TASK_ID`` in its environment. That, not ``PR_SET_PDEATHSIG``, is how
what a killed worker group left behind is found: the death signal reaches only the direct child, follows the thread that
started it, and would cost a helper program at every start, while a sweep by environment also finds grandchildren in
sessions of their own. The agent calls ``end_marked`` for the tasks of a group that died.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

#: The variable that marks every process of a task.
TASK_ID_VARIABLE = "MAHAVISHNU_TASK_ID"

#: Pause between two looks at the process table while waiting for killed processes to go, in seconds.
_POLL = 0.05

#: Set in containers. What runs there ends with its container: a signal sent past its first process would make some
#: programs give up their orderly end.
CONTAINER_VARIABLE = "MAHAVISHNU_CONTAINER"

_LINUX = sys.platform == "linux"
_MARK = b"\0" + TASK_ID_VARIABLE.encode() + b"="
_CONTAINER_MARK = b"\0" + CONTAINER_VARIABLE.encode() + b"="


@dataclass(frozen=True, slots=True)
class Seen:
    """A process as it was seen: with its start time it cannot be taken for a later one with the same id."""

    pid: int
    started: str
    task_id: str | None = None

    def signal(self, number: int) -> None:
        """Send a signal, unless the process is gone or another one has its id by now."""
        try:
            if self.alive():
                os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def alive(self) -> bool:
        """Tell whether it still runs; a zombie does not."""
        return _started(self.pid) == self.started


class ProcessTable:
    """Looks at the marked processes of this machine; looks asked for at the same time share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = float("-inf")
        self._snapshot: tuple[Seen, ...] = ()

    def marked(self, task_ids: Collection[str] | None = None) -> list[Seen]:
        """Return the running processes that carry one of these task ids (None: any), this process left out."""
        asked = time.monotonic()
        with self._lock:
            if self._began <= asked:
                self._began = time.monotonic()
                self._snapshot = tuple(_marked_processes())
            snapshot = self._snapshot
        return [seen for seen in snapshot if task_ids is None or seen.task_id in task_ids]


@functools.cache
def process_table() -> ProcessTable:
    """Return the table all runs of this process share, so that a hundred cancels at once cost a few looks."""
    return ProcessTable()


def signal_group(group: int, number: int) -> bool:
    """Send a signal (0: none, only look) to a process group and tell whether it has members, zombies included."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS answers so for a group of zombies only; on Linux it means processes of another user.
        return _LINUX
    return True


def group_of(pid: int) -> int | None:
    """Return the process group of a process, or None when it is gone."""
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def descendants(pid: int) -> list[Seen]:
    """Return the running processes below this one, whatever their group, session and environment."""
    found: list[Seen] = []
    waiting = [pid]
    while waiting:
        for child in _children(waiting.pop()):
            started = _started(child)
            if started is not None:
                found.append(Seen(child, started=started))
            waiting.append(child)
    return found


def end_marked(task_ids: Collection[str], *, grace: float = 0.0, patience: float = 2.0) -> list[int]:
    """End every process that carries one of these task ids and return the ids of those that would not go.

    TERM comes first when ``grace`` (seconds) is more than 0, KILL after it, for at most ``patience`` seconds.
    """
    table = process_table()
    number, deadline = signal.SIGKILL, time.monotonic() + patience
    if grace > 0:
        number, deadline = signal.SIGTERM, time.monotonic() + grace
    while left := table.marked(task_ids):
        for seen in left:
            seen.signal(number)
        if time.monotonic() > deadline:
            if number == signal.SIGKILL:
                return [seen.pid for seen in left]
            number, deadline = signal.SIGKILL, time.monotonic() + patience
            continue
        time.sleep(_POLL)
    return []


def _marked_processes() -> Iterator[Seen]:
    if not _LINUX:
        yield from _portable_marked()
        return
    own = str(os.getpid())
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == own:
            continue
        task_id = _linux_mark(name)
        started = _started(int(name)) if task_id is not None else None
        if started is not None:
            yield Seen(int(name), started=started, task_id=task_id)


def _linux_mark(pid: str) -> str | None:
    try:
        environment = b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    _, found, rest = environment.partition(_MARK)
    if _CONTAINER_MARK in environment:
        return None
    return rest.partition(b"\0")[0].decode("utf-8", "replace") if found else None


def _started(pid: int) -> str | None:
    """Return the start time of a running process, or None when it is gone or a zombie."""
    if not _LINUX:
        return _portable_started(pid)
    try:
        # The name in the second field may hold anything, so the fields are counted from its closing bracket.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _children(pid: int) -> list[int]:
    if not _LINUX:
        return _portable_children(pid)
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    except OSError:
        return found
    return found


def _portable_marked() -> Iterator[Seen]:
    import psutil

    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        task_id = None if CONTAINER_VARIABLE in environment else environment.get(TASK_ID_VARIABLE)
        started = _portable_started(process.pid) if task_id is not None else None
        if started is not None and process.pid != os.getpid():
            yield Seen(process.pid, started=started, task_id=task_id)


def _portable_started(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return None


def _portable_children(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []
