"""Delivers the outbox to one sink: what is confirmed is behind the cursor, and one deliverer is at work at a time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from mahavishnu_pools import errors
from mahavishnu_pools.memory.records import record_of
from mahavishnu_pools.memory.sinks.interface import Delivery, Sink
from mahavishnu_pools.schemas.memory import MemoryRecord
from mahavishnu_pools.store import outbox
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.outbox import Entry, Progress, SinkState

#: Records delivered in one call: what may be sent twice to a server that cannot tell.
BATCH = 50

#: Tries of a record that its sink refuses while it takes others, before the record is set aside.
TRIES = 3

#: Seconds between two signs of life of a deliverer.
_SIGN_SECONDS = outbox.HOLD_SECONDS / 4


@dataclass(frozen=True, slots=True)
class Synced:
    """What one delivery did: the records confirmed, the pools they are of, and why it stopped (None: it is through)."""

    confirmed: int = 0
    pools: frozenset[str] = frozenset()
    error: str | None = None


async def deliver_all(store: AsyncStore, sink: Sink, *, force: bool = False) -> Synced:
    """Deliver what waits, unless another one does. A sink that failed is left alone for a while, without ``force``.

    Raises:
        RedisUnavailable: the outbox cannot be read.
    """
    owner = secrets.token_hex(8)
    if not await store.run(outbox.take_sink(sink.name, owner=owner)):
        return Synced()
    alive = asyncio.create_task(_keep(store, sink, owner))
    try:
        return await _Delivery(store, sink, owner).run(force=force)
    finally:
        alive.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await alive
        await store.run(outbox.release_sink(sink.name, owner=owner))


async def _keep(store: AsyncStore, sink: Sink, owner: str) -> None:
    while True:
        await asyncio.sleep(_SIGN_SECONDS)
        with contextlib.suppress(errors.RedisUnavailable):  # the next sign, or the confirmation, finds out
            await store.run(outbox.take_sink(sink.name, owner=owner))


class _Delivery:
    def __init__(self, store: AsyncStore, sink: Sink, owner: str) -> None:
        self._store, self._sink, self._owner = store, sink, owner
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
        entries = await self._store.run(outbox.read_outbox(state.cursor, most=BATCH))
        if not entries:
            return False
        if not await self._store.run(outbox.take_sink(self._sink.name, owner=self._owner)):
            return False
        records = [record_of(entry.fields) for entry in entries]
        refused = await self._delivered(records, state)
        if len(refused) == len(records):  # only its first one was tried often enough
            entries, records, refused = entries[:1], records[:1], refused[:1]
        return await self._confirm(state, entries, [one for one in records if one.memory_id not in refused])

    async def _delivered(self, records: Sequence[MemoryRecord], state: SinkState) -> list[str]:
        """Return the ids of records that are set aside."""
        found = await self._sink.deliver(records)
        waiting = [one for one in records if one.memory_id in found.refused]
        if waiting and len(waiting) == len(records):
            # Nothing shows that the sink takes others: it may be out of order. After some time the first is to blame.
            if state.failures < TRIES:
                raise errors.RemoteUnavailable(_told(self._sink.name, found))
            return [one.memory_id for one in records]
        for _ in range(TRIES - 1):
            if waiting:
                found = await self._sink.deliver(waiting)
                waiting = [one for one in waiting if one.memory_id in found.refused]
        return [one.memory_id for one in waiting]

    async def _confirm(self, state: SinkState, entries: Sequence[Entry], taken: Sequence[MemoryRecord]) -> bool:
        last = entries[-1]
        progress = Progress(
            before=state.cursor,
            cursor=last.entry,
            number=last.number,
            delivered=len(taken),
            dropped=max(0, last.number - state.number - len(entries)),
            aside=len(entries) - len(taken),
        )
        if not await self._store.run(outbox.confirm(self._sink.name, progress, owner=self._owner)):
            return False
        self._confirmed += len(taken)
        self._pools.update(str(one.metadata["pool_id"]) for one in taken)
        return True


def _told(name: str, found: Delivery) -> str:
    return f"{name} refuses every record, the first for: {next(iter(found.refused.values()), 'no reason')[:300]}"
