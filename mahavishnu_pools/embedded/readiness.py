"""Wait until a stack is ready, and say which part keeps it from being so."""

from __future__ import annotations

import time

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import output
from mahavishnu_pools.embedded.data_dir import DataDir, is_locked
from mahavishnu_pools.embedded.identity import is_alive
from mahavishnu_pools.embedded.state import GOOD, PartState, PartStatus, StackState, read_state

#: A stack whose parts are not ready after this many seconds has failed to start; loading data is not counted.
START_TIMEOUT = 30.0

#: A part that ended this often in a row while it was waited for will not come up; what happened before is not counted.
GIVE_UP_AFTER = 3

_POLL = 0.02


def wait_ready(data: DataDir, failures: dict[str, int]) -> StackState:
    """Wait until all parts of the core are ready; ``failures`` are those in a row of each part from before the waiting.

    Raises:
        StackPartFailed: a part ends again and again, or is not ready in time.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        state = read_state(data.root)
        if state is not None and is_alive(state.supervisor):
            if all(_lives(part) for part in state.parts if part.core):
                return state
            _refuse_hopeless(state, data, failures)
            if any(part.reason and "loading its data" in part.reason for part in state.parts):
                deadline = time.monotonic() + START_TIMEOUT
        elif not is_locked(data.lock_file):
            raise _not_ready(None, data)
        if time.monotonic() > deadline:
            raise _not_ready(state, data)
        time.sleep(_POLL)


def _lives(part: PartState) -> bool:
    # What was written may be older than the death of a process.
    return part.status in GOOD and (part.process is None or is_alive(part.process))


def _refuse_hopeless(state: StackState, data: DataDir, failures: dict[str, int]) -> None:
    for part in (part for part in state.parts if part.core):
        # The supervisor may have begun to count anew.
        earlier = failures[part.name] = min(failures.get(part.name, 0), part.failures)
        if part.status is PartStatus.RESTARTING and part.failures - earlier >= GIVE_UP_AFTER:
            raise _part_failed(part, data)


def _not_ready(state: StackState | None, data: DataDir) -> errors.StackPartFailed:
    late = next((part for part in state.parts if part.core and not _lives(part)), None) if state is not None else None
    if late is not None:
        return _part_failed(late, data)
    said = output.last_words(data.log_file("supervisor"))
    return errors.StackPartFailed(
        f"The supervisor in {data.root} did not report: {said or 'it said nothing'}.", data_dir=str(data.root)
    )


def _part_failed(part: PartState, data: DataDir) -> errors.StackPartFailed:
    log, why = data.log_file(part.name), part.reason or part.last_error or "has ended"
    return errors.StackPartFailed(
        f"The part {part.name!r} of the stack does not come up: it {why}. See {log}.",
        part=part.name,
        log=str(log),
    )
