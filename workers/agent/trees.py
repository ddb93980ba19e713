"""Finds and ends the process trees of worker groups, also what left its parent, group and session.

Programs that a group starts carry its marks in their environment. A group that was killed cannot end them, so the
controller does, before it hands the group's claims back: nothing may run twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from mahavishnu_pools.process_logs import POOL_VARIABLE

from .group_process import AGENT_VARIABLE, LEASE_VARIABLE

logger = logging.getLogger(__name__)

#: Pause between two looks at processes that were told to end, in seconds.
_POLL = 0.03

#: How long killed processes may take to go, in seconds.
_PATIENCE = 5.0

#: Start times are told relative to the time of boot, which is itself only known to about a second.
_SAME_START = 2.0

_VARIABLES = {POOL_VARIABLE, LEASE_VARIABLE, AGENT_VARIABLE}


@dataclass(frozen=True, slots=True)
class Mark:
    """What a group's programs carry. ``shared``: another group of the pool lives here, so the lease must be told."""

    pool_id: str
    lease: str
    agent_id: str
    shared: bool = False

    def fits(self, marks: dict[str, str]) -> bool:
        """Tell whether a process with these marks belongs to the group."""
        if marks.get(POOL_VARIABLE) != self.pool_id or marks.get(AGENT_VARIABLE) != self.agent_id:
            return False
        return marks.get(LEASE_VARIABLE) == self.lease or (LEASE_VARIABLE not in marks and not self.shared)


@dataclass(frozen=True, slots=True)
class Marked:
    """A process with the marks of some group."""

    process: psutil.Process
    marks: dict[str, str]


class Sweeper:
    """Looks at the marks of all processes; looks asked for at the same time share one."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._began = float("-inf")
        self._seen: list[Marked] = []

    async def find(self, mark: Mark) -> list[psutil.Process]:
        """Return the living processes with a group's marks."""
        asked = time.monotonic()
        async with self._lock:
            if self._began < asked:
                self._began = time.monotonic()
                self._seen = await asyncio.to_thread(lambda: list(_marked()))
        return [seen.process for seen in self._seen if mark.fits(seen.marks) and is_alive(seen.process)]

    async def end(self, root: psutil.Process | None, mark: Mark) -> bool:
        """Kill a group and everything it started; False when something would not go."""
        deadline = time.monotonic() + _PATIENCE
        tree = [] if root is None else await asyncio.to_thread(_tree, root)
        kill(tree)
        while (left := [*filter(is_alive, tree), *await self.find(mark)]) and time.monotonic() < deadline:
            kill(left)
            await wait_gone(left, seconds=_POLL * 4)
        if left:
            logger.error("Processes would not end: %s", sorted({process.pid for process in left}))
        return not left


def same_process(pid: int, started: float) -> psutil.Process | None:
    """Return the living process with this pid and start time, None when it is gone."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if abs(process.create_time() - started) < _SAME_START and is_alive(process):
            return process
    return None


def is_alive(process: psutil.Process) -> bool:
    """Tell whether exactly this process still runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def kill(processes: Iterable[psutil.Process]) -> None:
    """Send KILL to exactly these processes."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


async def wait_gone(processes: Iterable[psutil.Process], *, seconds: float) -> bool:
    """Wait until none of the processes lives; False when the time is over first."""
    deadline = time.monotonic() + seconds
    left = list(processes)
    while left := [process for process in left if is_alive(process)]:
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL)
    return True


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return [root]


def _marked() -> Iterator[Marked]:
    for pid, marks in _linux_marks() if sys.platform == "linux" else _portable_marks():
        if pid != os.getpid():
            with contextlib.suppress(psutil.Error):
                yield Marked(psutil.Process(pid), marks)


def _linux_marks() -> Iterator[tuple[int, dict[str, str]]]:
    needle = POOL_VARIABLE.encode() + b"="
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                environment = Path(f"/proc/{name}/environ").read_bytes()
                if needle in environment:
                    pairs = (part.partition("=") for part in environment.decode("utf-8", "replace").split("\0"))
                    yield int(name), {variable: value for variable, _, value in pairs if variable in _VARIABLES}


def _portable_marks() -> Iterator[tuple[int, dict[str, str]]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if POOL_VARIABLE in environment:
                yield process.pid, {name: environment[name] for name in _VARIABLES if name in environment}
