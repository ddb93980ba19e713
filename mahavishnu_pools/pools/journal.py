"""Reads the journal: the newest events that match, and those to come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from mahavishnu_pools.schemas.event import Event
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.events import KINDS, READ_MOST, order, read_newer, read_older, wait_for_events

#: Seconds of one waiting; then it is looked anew, also after a lost connection.
_WAIT = 2.0

#: Seconds after a look that brought nothing: less would be a busy loop while the server cannot be waited at.
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted: of a pool (id or name; None: all), of types (patterns like ``task_*``; none: all)."""

    pool: str | None = None
    types: tuple[str, ...] = ()

    def takes(self, event: Event) -> bool:
        """Tell whether an event is wanted."""
        if self.pool is not None and self.pool not in (event.pool_id, event.pool):
            return False
        return not self.types or any(fnmatchcase(event.type, pattern) for pattern in self.types)


async def newest(store: AsyncStore, wanted: EventFilter, *, since: datetime | None, limit: int) -> list[Event]:
    """Return the newest events that match, at most ``limit``, the oldest first."""
    found: list[Event] = []
    for kind in KINDS:
        found.extend(await _newest_of(store, kind, wanted, since, limit))
    return sorted(found, key=order)[-limit:]


async def _newest_of(
    store: AsyncStore, kind: str, wanted: EventFilter, since: datetime | None, limit: int
) -> list[Event]:
    found: list[Event] = []
    before = "+"
    while True:
        some = await store.run(read_older(kind, before=before, since=since))
        found.extend(filter(wanted.takes, some))
        if len(some) < READ_MOST or len(found) >= limit:
            return found[:limit]
        before = _entry(some[-1])


async def coming(
    store: AsyncStore, wanted: EventFilter, *, after: Iterable[Event] | None = None
) -> AsyncIterator[Event]:
    """Yield events as they come, without end: those behind the given ones (None: from now on) in their order.

    What falls out of the journal before it was read is missed.
    """
    places = await _ends(store) if after is None else _places(after)
    while True:
        pieces = [await store.run(read_newer(kind, after=places[kind])) for kind in KINDS]
        # While there is more of one kind, what is later than its piece waits: it would come before its time.
        ends_at = min((order(piece[-1]) for piece in pieces if len(piece) >= READ_MOST), default=None)
        some = [event for piece in pieces for event in piece if ends_at is None or order(event) <= ends_at]
        if not some:
            await wait_for_events(store, places, seconds=_WAIT)
            await asyncio.sleep(_PAUSE)
            continue
        for event in sorted(some, key=order):
            places[_kind(event)] = _entry(event)
            if wanted.takes(event):
                yield event


async def ends(store: AsyncStore) -> list[Event]:
    """Return the last event of each kind: the place to follow from what was read up to now."""
    last = [(await store.run(read_older(kind)))[:1] for kind in KINDS]
    return [event for some in last for event in some]


async def _ends(store: AsyncStore) -> dict[str, str]:
    return _places(await ends(store))


def _places(events: Iterable[Event]) -> dict[str, str]:
    places = dict.fromkeys(KINDS, "0-0")
    for event in sorted(events, key=order):
        places[_kind(event)] = _entry(event)
    return places


def _kind(event: Event) -> str:
    return event.event_id.partition(":")[0]


def _entry(event: Event) -> str:
    return event.event_id.partition(":")[2]
