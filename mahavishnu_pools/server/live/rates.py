"""How many tasks end in a minute, from counts that only grow. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

#: Seconds that are looked back.
WINDOW = 60.0

#: Seconds between two counts below which no rate is told.
SHORTEST = 3.0


@dataclass(frozen=True, slots=True)
class Ends:
    """How many tasks of a pool ended, and how many of those without success."""

    all: int
    bad: int


class Rates:
    """Remembers counts for a minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Mapping[str, Ends]]] = deque()

    def note(self, at: float, ends: Mapping[str, Ends]) -> None:
        """Remember the counts of pools at a time (seconds), which is not before the last one."""
        self._seen.append((at, ends))
        while at - self._seen[0][0] > WINDOW:
            self._seen.popleft()

    def of(self, pool_id: str) -> tuple[float, float] | None:
        """Return (ended, ended without success) per minute; None: it was not looked long enough."""
        last_at, last = self._seen[-1]
        first = next(((at, ends[pool_id]) for at, ends in self._seen if pool_id in ends), None)
        if first is None or last_at - first[0] < SHORTEST:
            return None
        minutes = (last_at - first[0]) / 60
        now = last[pool_id]
        return round((now.all - first[1].all) / minutes, 1), round((now.bad - first[1].bad) / minutes, 1)
