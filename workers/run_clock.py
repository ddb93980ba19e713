"""How long a task runs in its thread, for those who plan what runs next."""

from __future__ import annotations

import resource
import time

#: Whose use of the processor is told; systems without it tell none of a thread alone.
_THREAD: int | None = getattr(resource, "RUSAGE_THREAD", None)


#: Seconds in which it does not matter who had the processor; to ask takes as long as a tenth of a short task.
SHORT = 0.001


class RunClock:
    """Runs from when it is made, in one thread.

    A thread that never waited has only used the processor: what the clock shows beyond that, other processes had it. On
    a machine with too much to do that is most of the time, and says nothing about the task.
    """

    __slots__ = ("_began", "_processor", "_waits")

    def __init__(self) -> None:
        self._waits, self._processor, self._began = _waits(), time.thread_time(), time.monotonic()

    def seconds(self) -> float:
        """Return how long the task has been running."""
        passed = time.monotonic() - self._began
        if passed <= SHORT:
            return passed
        processor = time.thread_time() - self._processor
        return min(passed, processor) if _waits() == self._waits else passed


def _waits() -> float:
    """Return how often this thread has waited for something; where that is not known it always seems to have."""
    return resource.getrusage(_THREAD).ru_nvcsw if _THREAD is not None else time.monotonic()
