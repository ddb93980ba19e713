"""Plans which waiting tasks go from which pool to which. Pure.

The tasks of a pool are known by their **lots**: those that wait in the same place and can be run by the same pools.
Of a lot the newest go, so that no task that stays gets a later turn by it.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mahavishnu_pools.schemas.pool import PoolSelector

#: Tells which pools could run a lot of a pool: (pool id, lot) to pool ids.
Able = Callable[[str, str], Collection[str]]

#: Chooses one of several pools (never none) with the help of their loads.
Pick = Callable[[Sequence[str], Callable[[str], float]], str]


@dataclass(frozen=True, slots=True)
class Stand:
    """How a pool stands: ``fixed`` tasks run there or cannot be moved, ``lots`` are (place, lot) with their numbers."""

    pool_id: str
    workers: int
    fixed: int
    lots: Mapping[tuple[str, str], int]

    @property
    def tasks(self) -> int:
        """Return how many tasks it has in all."""
        return self.fixed + sum(self.lots.values())

    @property
    def load(self) -> float:
        """Return (running + queued) ÷ workers."""
        return self.tasks / max(1, self.workers)


@dataclass(frozen=True, slots=True)
class Shift:
    """A number of tasks of one lot that go from a place of one pool to the same place of another."""

    source: str
    target: str
    place: str
    lot: str
    count: int


@dataclass(frozen=True, slots=True)
class _Parcel:
    """Tasks of one lot, wherever the plan has put them by now."""

    origin: str
    place: str
    lot: str


@dataclass(slots=True)
class _Pile:
    """What a pool has while the plan is made."""

    workers: int
    tasks: int
    parcels: dict[_Parcel, int] = field(default_factory=dict)
    most: dict[_Parcel, int] = field(default_factory=dict)

    @property
    def load(self) -> float:
        return self.tasks / self.workers

    def by_share_left(self) -> list[_Parcel]:
        """Return the parcels, those first of which the least part has gone: each priority gives its share."""
        left = [parcel for parcel, count in self.parcels.items() if count]
        return sorted(left, key=lambda one: (-self.parcels[one] / self.most[one], one.place, one.lot))

    def change(self, parcel: _Parcel, count: int) -> None:
        self.tasks += count
        self.parcels[parcel] = self.parcels.get(parcel, 0) + count
        self.most[parcel] = max(self.most.get(parcel, 0), self.parcels[parcel])


class Plan:
    """A plan in the making. ``able`` must name pools that are among the ``stands``."""

    def __init__(self, stands: Sequence[Stand], able: Able, pick: Pick) -> None:
        self._able = able
        self._pick = pick
        self._piles: dict[str, _Pile] = {}
        for stand in stands:
            pile = self._piles[stand.pool_id] = _Pile(max(1, stand.workers), stand.fixed)
            for (place, lot), count in stand.lots.items():
                pile.change(_Parcel(stand.pool_id, place, lot), count)

    def load(self, pool_id: str) -> float:
        """Return the load a pool has when the plan is carried out."""
        return self._piles[pool_id].load

    def shifts(self) -> list[Shift]:
        """Return what has to be moved, by source and place, the highest priority first."""
        found = [
            Shift(parcel.origin, pool_id, parcel.place, parcel.lot, count)
            for pool_id, pile in self._piles.items()
            for parcel, count in pile.parcels.items()
            if count and parcel.origin != pool_id
        ]
        return sorted(found, key=lambda one: (one.source, one.place, one.target, one.lot))

    def clear(self, pool_id: str) -> Counter[str]:
        """Have everything leave a pool; returns the number of tasks, by lot, that no other pool can run."""
        stuck: Counter[str] = Counter()
        pile = self._piles[pool_id]
        for parcel in sorted(pile.parcels, key=lambda one: (one.place, one.lot)):
            targets = self._others(pool_id, parcel)
            if not targets:
                stuck[parcel.lot] += pile.parcels[parcel]
                continue
            while left := pile.parcels[parcel]:
                target = self._pick(targets, self.load)
                self._shift(pool_id, target, parcel, max(1, left // (4 * len(targets))))
        return stuck

    def even_out(self, sources: Collection[str]) -> None:
        """Move tasks of the sources until no move helps: one helps when the target ends below the source's load."""
        while (found := next(self._helpful(sources), None)) is not None:
            self._shift(*found)

    def _helpful(self, sources: Collection[str]) -> Iterator[tuple[str, str, _Parcel, int]]:
        """Yield the move to make next: from the fullest pool that has one."""
        for pool_id in sorted(sources, key=lambda one: (-self.load(one), one)):
            for parcel in self._piles[pool_id].by_share_left():
                targets = [one for one in self._others(pool_id, parcel) if self._gain(pool_id, one) > 0]
                if targets:
                    target = self._pick(targets, self.load)
                    yield pool_id, target, parcel, self._step(pool_id, target, parcel)

    def _others(self, pool_id: str, parcel: _Parcel) -> list[str]:
        return sorted(set(self._able(parcel.origin, parcel.lot)) - {pool_id})

    def _gain(self, source: str, target: str) -> float:
        """Return by how much the target would stay below the source if it got one task; an exact number above 0."""
        a, b = self._piles[source], self._piles[target]
        return a.tasks * b.workers - (b.tasks + 1) * a.workers

    def _step(self, source: str, target: str, parcel: _Parcel) -> int:
        """Return how many tasks to move at once: the parcel's share in a small part of what would make both even."""
        a, b = self._piles[source], self._piles[target]
        even = (a.tasks * b.workers - b.tasks * a.workers) // (a.workers + b.workers)
        return max(1, even * a.parcels[parcel] // (2 * len(self._piles) * sum(a.parcels.values())))

    def _shift(self, source: str, target: str, parcel: _Parcel, count: int) -> None:
        count = min(count, self._piles[source].parcels[parcel])
        self._piles[source].change(parcel, -count)
        self._piles[target].change(parcel, count)


def picker(strategy: PoolSelector) -> Pick:
    """Return how a strategy chooses the pools that moved tasks go to."""
    if strategy is PoolSelector.ROUND_ROBIN:
        return _in_turn()
    if strategy is PoolSelector.RANDOM:
        return lambda targets, _: random.choice(targets)
    return lambda targets, load: min(targets, key=load)


def _in_turn() -> Pick:
    last: dict[str, int] = {}
    turns = itertools.count(1)

    def pick(targets: Sequence[str], _: Callable[[str], float]) -> str:
        chosen = min(targets, key=lambda one: last.get(one, 0))
        last[chosen] = next(turns)
        return chosen

    return pick


def window_of(waiting: Sequence[str | None], wanted: Mapping[str, int]) -> int:
    """Return how many of the newest messages hold so many of each lot (``waiting``: the lot of each, newest first)."""
    left = {lot: count for lot, count in wanted.items() if count > 0}
    if not left:
        return 0
    for index, lot in enumerate(waiting):
        if lot in left:
            left[lot] -= 1
            if not left[lot]:
                del left[lot]
        if not left:
            return index + 1
    return len(waiting)
