"""Delivers the outbox to one sink: what is confirmed is behind the cursor, and one deliverer is at work at a time.

A record is set aside only when its sink refuses it and takes another one. A sink that refuses everything is out
of order, however politely it says so: it is left alone for a while, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mahavishnu_pools import errors
from mahavishnu_pools.memory.holding import BUSY, held
from mahavishnu_pools.memory.records import record_of
from mahavishnu_pools.memory.sinks.interface import ABOUT_CONTENT, Delivery, Sink, none_taken
from mahavishnu_pools.schemas.memory import MemoryRecord
from mahavishnu_pools.store import outbox
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.outbox import Entry, Progress, Refused, SinkState

#: Records delivered in one call: what may be sent twice to a server that cannot tell.
BATCH = 50

#: Tries of a record that its sink refuses while it takes others, before the record is set aside.
TRIES = 3

#: Records behind a refused one that are tried to find out whether the sink takes any.
_PROBES = 3


@dataclass(frozen=True, slots=True)
class Synced:
    """What one delivery did: the records confirmed, the pools they are of, and why it stopped (None: it is through)."""

    confirmed: int = 0
    pools: frozenset[str] = frozenset()
    error: str | None = None


async def deliver_all(store: AsyncStore, sink: Sink, *, force: bool = False) -> Synced:
    """Deliver what waits, unless another one does. A sink that failed is left alone for a while.

    With ``force`` it is not left alone, and a delivery of somebody else is waited for, as long as one that was killed
    may seem to live.

    Raises:
        RedisUnavailable: the outbox cannot be read.
    """
    async with held(store, sink.name, patient=force) as owner:
        if owner is None:
            return Synced(error=BUSY if force else None)
        return await _Delivery(store, sink, owner).run(force=force)


class _Delivery:
    def __init__(self, store: AsyncStore, sink: Sink, owner: str) -> None:
        self._store, self._sink, self._owner = store, sink, owner
        self._size = BATCH
        self._confirmed = 0
        self._pools: set[str] = set()

    async def run(self, *, force: bool) -> Synced:
        (state,) = await self._store.run(outbox.read_sinks(self._sink.name))
        if not (state.ready or force):
            return Synced(error=state.error)
        try:
            while await self._batch():
                pass
        except (errors.RemoteUnavailable, errors.RemoteRefused) as exc:
            await self._store.run(outbox.fail(self._sink.name, exc.message, owner=self._owner))
            return Synced(self._confirmed, frozenset(self._pools), exc.message)
        return Synced(self._confirmed, frozenset(self._pools))

    async def _batch(self) -> bool:
        """Deliver one batch; False when nothing is left, or another one delivers now."""
        (state,) = await self._store.run(outbox.read_sinks(self._sink.name))
        entries = await self._store.run(outbox.read_outbox(state.cursor, most=self._size))
        if not entries:
            return False
        if not await self._store.run(outbox.take_sink(self._sink.name, owner=self._owner)):
            return False
        records = [record_of(entry.fields) for entry in entries]
        found = await self._deliver(records)
        settled = next((at for at, one in enumerate(records) if one.memory_id in found.left), len(records))
        if settled == 0 and len(records) > 1:  # one of them may be to blame, or all of them are too large together
            self._size = max(1, len(records) // 4)
            return True
        if settled == 0:
            refused = await self._refused_alone(state, records[0], found)
            return await self._confirm(state, entries, records, refused)
        self._size = min(BATCH, self._size * 2)
        refused = await self._still_refused(records, found.refused)
        return await self._confirm(state, entries[:settled], records[:settled], refused)

    async def _deliver(self, records: Sequence[MemoryRecord]) -> Delivery:
        try:
            return await self._sink.deliver(records)
        except errors.RemoteRefused as exc:
            if exc.details().get("status") not in ABOUT_CONTENT:
                raise
            return none_taken(records, exc.message)

    async def _still_refused(self, records: Sequence[MemoryRecord], refused: Mapping[str, str]) -> Mapping[str, str]:
        """Try records again that were refused while others were taken; return those that are refused every time."""
        for _ in range(TRIES - 1):
            again = [one for one in records if one.memory_id in refused]
            if not again:
                break
            found = await self._deliver(again)
            refused = {**found.refused, **found.left}
        return refused

    async def _refused_alone(self, state: SinkState, record: MemoryRecord, found: Delivery) -> Mapping[str, str]:
        """Return the record when it is refused for good, nothing when it was taken at last.

        Raises:
            RemoteUnavailable: nothing shows that the sink takes any record.
        """
        if not await self._takes_others(state):
            raise errors.RemoteUnavailable(f"{self._sink.name} refuses every record: {_reason(found)}")
        return await self._still_refused([record], found.left)

    async def _takes_others(self, state: SinkState) -> bool:
        known = await self._store.run(outbox.read_entry(state.taken)) if state.taken else None
        if known is not None:
            return await self._sink.takes_again(record_of(known.fields))
        following = await self._store.run(outbox.read_outbox(state.cursor, most=1 + _PROBES))
        for entry in following[1:]:
            if await self._sink.takes_again(record_of(entry.fields)):
                return True
        return False

    async def _confirm(
        self,
        state: SinkState,
        entries: Sequence[Entry],
        records: Sequence[MemoryRecord],
        refused: Mapping[str, str],
    ) -> bool:
        last = entries[-1]
        taken = [(entry, one) for entry, one in zip(entries, records, strict=True) if one.memory_id not in refused]
        aside = [one for one in records if one.memory_id in refused]
        progress = Progress(
            before=state.cursor,
            cursor=last.entry,
            number=last.number,
            delivered=len(taken),
            dropped=max(0, last.number - state.number - len(entries)),
            taken=taken[-1][0].entry if taken else "",
            aside=[Refused(one.memory_id, refused[one.memory_id], one.model_dump_json()) for one in aside],
        )
        if not await self._store.run(outbox.confirm(self._sink.name, progress, owner=self._owner)):
            return False
        self._confirmed += len(taken)
        self._pools.update(str(one.metadata["pool_id"]) for _, one in taken)
        return True


def _reason(found: Delivery) -> str:
    return next(iter(found.left.values()), "it gave no reason")[:300]
