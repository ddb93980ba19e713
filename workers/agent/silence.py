"""Decides when a lease of somebody else may be reaped. Pure: the times are given.

A missing lease key proves nothing by itself: Redis may have been away or frozen, or this reaper. Only who has itself
seen the key missing in one uninterrupted row of quick polls for a whole lease acts.
"""

from __future__ import annotations

from collections.abc import Collection

#: Polls further apart than this many seconds do not make a row.
LONGEST_GAP = 1.0

#: A poll that took longer than this many seconds does not count: Redis or this process was stuck.
SLOWEST_ANSWER = 0.5


class SilenceWatch:
    """Counts for how long each lease was seen missing. ``ttl`` is the lifetime of a lease in seconds."""

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._missing_since: dict[str, float] = {}
        self._last: float | None = None

    def failed(self) -> None:
        """Note a poll that was not answered: every count begins anew."""
        self._missing_since.clear()
        self._last = None

    def poll(self, missing: Collection[str], *, asked: float, answered: float) -> list[str]:
        """Take what a poll saw missing and return the leases that may be reaped now. Times are monotonic."""
        if answered - asked > SLOWEST_ANSWER or (self._last is not None and asked - self._last > LONGEST_GAP):
            self.failed()
        if answered - asked > SLOWEST_ANSWER:
            return []
        self._last = answered
        self._missing_since = {lease: self._missing_since.get(lease, answered) for lease in missing}
        return [lease for lease, since in self._missing_since.items() if asked - since >= self._ttl]
