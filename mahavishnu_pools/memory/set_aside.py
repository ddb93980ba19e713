"""The records that servers refused while they took others: listed, sent again, forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.memory.delivering import BATCH, Synced
from mahavishnu_pools.memory.holding import BUSY, held
from mahavishnu_pools.memory.sinks.interface import Sink
from mahavishnu_pools.schemas.memory import MemoryRecord
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.outbox import START
from mahavishnu_pools.store.set_aside import Aside, drop_aside, read_aside


async def list_aside(store: AsyncStore, sinks: Sequence[str]) -> list[dict[str, Any]]:
    """Return the refused records of sinks, the oldest first, each with its sink, reason and content.

    Raises:
        RedisUnavailable: they cannot be read.
    """
    found = []
    for sink in sinks:
        async for page in _pages(store, sink):
            found += [_shown(sink, one) for one in page]
    return found


async def retry_aside(store: AsyncStore, sink: Sink) -> Synced:
    """Send a sink its refused records again; what it takes is forgotten here, what it refuses stays.

    Raises:
        RedisUnavailable: they cannot be read.
    """
    taken = 0
    async with held(store, sink.name, patient=True) as owner:
        if owner is None:
            return Synced(error=BUSY)
        try:
            async for page in _pages(store, sink.name):
                found = await sink.deliver([_record(one) for one in page])
                there = [one.entry for one in page if one.memory_id not in {**found.refused, **found.left}]
                if there:
                    taken += await store.run(drop_aside(sink.name, there, delivered=True))
        except (errors.RemoteUnavailable, errors.RemoteRefused) as exc:
            return Synced(taken, error=exc.message)
    return Synced(taken)


async def purge_aside(store: AsyncStore, sinks: Sequence[str]) -> int:
    """Forget the refused records of sinks; return how many there were.

    Raises:
        RedisUnavailable: they cannot be reached.
    """
    gone = 0
    for sink in sinks:
        async for page in _pages(store, sink):
            gone += await store.run(drop_aside(sink, [one.entry for one in page], delivered=False))
    return gone


async def _pages(store: AsyncStore, sink: str) -> AsyncIterator[list[Aside]]:
    after = START
    while page := await store.run(read_aside(sink, after, most=BATCH)):
        yield page
        after = page[-1].entry


def _record(one: Aside) -> MemoryRecord:
    return MemoryRecord.model_validate_json(one.record)


def _shown(sink: str, one: Aside) -> dict[str, Any]:
    record = _record(one)
    return {
        "sink": sink,
        "memory_id": one.memory_id,
        "task_id": record.metadata.get("task_id"),
        "pool_id": record.metadata.get("pool_id"),
        "reason": one.reason,
        "set_aside_at": one.moment.isoformat(),
        "content": record.content,
        "metadata": record.metadata,
    }
