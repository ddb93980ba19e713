"""End processes: TERM, wait, KILL with all descendants. Only exactly the processes that are meant are touched."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mahavishnu_pools.embedded.identity import ProcessId, identify, is_alive, send_signal
from mahavishnu_pools.embedded.parts import STACK_VARIABLE
from mahavishnu_pools.embedded.state import StackState

logger = logging.getLogger(__name__)

#: How often a process that was told to end is looked at, in seconds.
POLL = 0.02

#: Time between TERM and KILL for processes that a dead part left behind, in seconds.
LEFTOVER_SECONDS = 2.0

#: How often they are looked for: a process may start another one while it is being ended.
LEFTOVER_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Ending:
    """A process to end, and the seconds between TERM and KILL."""

    name: str
    process: ProcessId
    seconds: float


def endings_of(state: StackState, *, drain_seconds: float, names: Iterable[str] | None = None) -> list[Ending]:
    """Return what must be ended to stop a stack's parts, in the right order; ``names`` limits it to some parts."""
    wanted = None if names is None else set(names)
    return [
        Ending(part.name, part.process, part.stop_seconds + (drain_seconds if part.drains else 0.0))
        for part in sorted(state.parts, key=lambda part: part.stop_order)
        if part.process is not None and (wanted is None or part.name in wanted)
    ]


def end_in_order(endings: Sequence[Ending], *, hurried: Callable[[], bool] = lambda: False) -> None:
    """End processes one after the other; ``hurried`` becoming true cuts the waiting short."""
    for ending in endings:
        if not send_signal(ending.process, signal.SIGTERM):
            continue
        # A frozen process would hold TERM back for ever.
        send_signal(ending.process, signal.SIGCONT)
        deadline = time.monotonic() + ending.seconds
        if not _wait_gone([ending.process], deadline=deadline, hurried=hurried):
            logger.warning(
                "%s did not end in time and is killed", ending.name, extra={"action": "stop", "part": ending.name}
            )
            _kill_tree(ending.process)


def end_leftovers(data_dir: Path) -> int:
    """End everything that still carries the mark of a stack's data directory and return how many that were.

    This process and those above it are spared. What they start meanwhile is ended in another round.
    """
    ended = 0
    for _ in range(LEFTOVER_ROUNDS):
        left = _marked(str(data_dir))
        if not left:
            break
        ended += len(left)
        for process in left:
            send_signal(process, signal.SIGTERM)
        if not _wait_gone(left, deadline=time.monotonic() + LEFTOVER_SECONDS):
            for process in left:
                send_signal(process, signal.SIGKILL)
            _wait_gone(left, deadline=time.monotonic() + LEFTOVER_SECONDS)
    return ended


def _wait_gone(processes: Iterable[ProcessId], *, deadline: float, hurried: Callable[[], bool] = lambda: False) -> bool:
    while any(is_alive(process) for process in processes):
        if time.monotonic() >= deadline or hurried():
            return False
        time.sleep(POLL)
    return True


def _kill_tree(process: ProcessId) -> None:
    import psutil

    family = [process]
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(process.pid).children(recursive=True)
        family += [found for child in children if (found := identify(child.pid)) is not None]
    for member in family:
        send_signal(member, signal.SIGKILL)
    _wait_gone(family, deadline=time.monotonic() + LEFTOVER_SECONDS)


def _marked(mark: str) -> list[ProcessId]:
    import psutil

    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in spared or process.environ().get(STACK_VARIABLE) != mark:
                continue
            identity = identify(process.pid)
            if identity is not None:
                found.append(identity)
    return found
