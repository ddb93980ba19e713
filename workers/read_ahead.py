"""How many tasks a group claims beyond those its workers can run at once, so that short ones follow each other at once.

A worker that has ended a task of a millisecond would otherwise wait as long again for the next one. What is read ahead
is little (``SPAN`` of work), and is handed back when it has waited for ``PATIENCE``: a long task holds up nothing.
"""

from __future__ import annotations

import time

#: Seconds of work that are read ahead, and what the server takes for so many answers, where that is more.
SPAN, ANSWERS = 0.1, 3

#: The most tasks that are read ahead.
MOST = 128

#: Seconds that a task read ahead waits for a worker before it is handed back, and what the server takes for so many
#: answers, where that is more: whoever else takes it needs them.
PATIENCE, HAND_OVER = 0.25, 2

#: What was learned counts for so many times what a task takes (its run and an answer of the server) after the last one
#: has ended, and for so many seconds at least: workers that have been busy for longer have a long task.
FRESH, FRESH_SECONDS = 4, 0.25

#: So many tasks have ended in a row, without such a pause, before anything is read ahead: few say nothing of the next.
ROW = 8

#: Seconds that a task takes at most whose end is near.
QUICK = 0.002

#: How much the newest duration counts in the mean: little when it is shorter, much when it is longer.
_SHORTER, _LONGER = 0.05, 0.5

#: How much the newest answer counts.
_ANSWER = 0.2


class ReadAhead:
    """What a group has learned of its tasks. Called by many threads; a lost update does no harm."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._answer = 0.0
        self._row = 0
        self._last = 0.0

    def ran(self, seconds: float) -> None:
        """Take note of how long a task ran."""
        if not self._is_fresh():
            self._row = 0
        self._row, self._last = self._row + 1, time.monotonic()
        if self._row == 1:
            self._mean = seconds
        else:
            self._mean += (seconds - self._mean) * (_LONGER if seconds > self._mean else _SHORTER)

    def answered(self, seconds: float) -> None:
        """Take note of how long the server's answer took."""
        self._answer += (seconds - self._answer) * _ANSWER

    def stalled(self) -> None:
        """Take note that tasks were handed back: nothing is read ahead until others have ended."""
        self._row = 0

    @property
    def patience(self) -> float:
        """Return for how many seconds a task read ahead waits for a worker."""
        return max(PATIENCE, HAND_OVER * self._answer)

    @property
    def quick(self) -> bool:
        """Tell whether tasks take so little time that one that runs ends soon."""
        return self._row >= ROW and self._mean <= QUICK and self._is_fresh()

    def size(self, workers: int) -> int:
        """Return how many tasks so many workers may hold beyond those they run."""
        if self._row < ROW or not self._is_fresh():
            return 0
        span = min(PATIENCE, max(SPAN, ANSWERS * self._answer))
        return min(MOST, int(workers * span / max(self._mean, 1e-6)))

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._last <= max(FRESH_SECONDS, FRESH * (self._mean + self._answer))
