"""How many tasks a group claims beyond those its workers can run at once, so that short ones follow each other at once.

A worker that has ended a task of a millisecond would otherwise wait as long again for the next one. What is read ahead
is little (``SPAN`` of work), and is handed back when it has waited for ``PATIENCE``: a long task holds up nothing.
"""

from __future__ import annotations

import time

#: Seconds of work that are read ahead.
SPAN = 0.04

#: The most tasks that are read ahead.
MOST = 64

#: Seconds that a task read ahead waits for a worker before it is handed back.
PATIENCE = 0.25

#: What was learned counts for so many mean durations after the last task has ended, and for so many seconds at least:
#: workers that have been busy for longer have a long task.
FRESH, FRESH_SECONDS = 4, 0.1

#: How much the newest duration counts in the mean: little when it is shorter, much when it is longer.
_SHORTER, _LONGER = 0.05, 0.5


class ReadAhead:
    """What a group has learned of its tasks. Called by many threads; a lost update of a mean does no harm."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._last = 0.0

    def ran(self, seconds: float) -> None:
        """Take note of how long a task ran."""
        mean, self._last = self._mean, time.monotonic()
        if mean is None:
            self._mean = seconds
        else:
            self._mean = mean + (seconds - mean) * (_LONGER if seconds > mean else _SHORTER)

    def stalled(self) -> None:
        """Take note that tasks were handed back: nothing is read ahead until another one has ended."""
        self._mean = None

    def size(self, workers: int) -> int:
        """Return how many tasks so many workers may hold beyond those they run."""
        mean = self._mean
        if mean is None or time.monotonic() - self._last > max(FRESH_SECONDS, FRESH * mean):
            return 0
        return min(MOST, int(workers * SPAN / max(mean, 1e-6)))
