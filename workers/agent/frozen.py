"""Tells frozen worker groups from living ones by their ticks. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: A pause of the watcher itself longer than this many seconds says nothing about the groups: they may have been paused
#: together with it (a suspended laptop, a frozen container), so it looks at them anew.
LONGEST_PAUSE = 2.0


@dataclass(slots=True)
class _Seen:
    tick: int
    since: float


class TickWatch:
    """Remembers when each group's tick last moved. ``frozen_after`` is in seconds."""

    def __init__(self, frozen_after: float) -> None:
        self._frozen_after = frozen_after
        self._seen: dict[int, _Seen] = {}
        self._looked: float | None = None

    def look(self, ticks: Mapping[int, int], *, now: float, excused: bool = False) -> set[int]:
        """Take the ticks by pid and return the pids of groups whose tick has stood still for too long.

        While they are ``excused``, because the server they wait for is silent, nothing counts.
        """
        asleep = excused or (self._looked is not None and now - self._looked > LONGEST_PAUSE)
        self._looked = now
        self._forget(self._seen.keys() - ticks.keys())
        for pid, tick in ticks.items():
            seen = self._seen.get(pid)
            if seen is None or seen.tick != tick or asleep:
                self._seen[pid] = _Seen(tick, since=now)
        return {pid for pid, seen in self._seen.items() if now - seen.since >= self._frozen_after}

    def _forget(self, pids: Iterable[int]) -> None:
        for pid in list(pids):
            del self._seen[pid]
