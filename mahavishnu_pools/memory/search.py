"""Search over the memories of all pools: the machine's own index, caught up from the outbox, and what servers add."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.memory.index import Filters, MemoryIndex
from mahavishnu_pools.memory.records import record_of
from mahavishnu_pools.memory.sinks.interface import Sink
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import outbox
from mahavishnu_pools.store.client import AsyncStore

#: Entries the index takes in one transaction.
_CAUGHT_UP = 500

#: Seconds a server may take; who is slower is left out.
REMOTE_SECONDS = 2.0


def index_of(settings: Settings) -> MemoryIndex:
    """Return this machine's index for the settings' namespace."""
    return MemoryIndex(settings.data_dir / "memory" / f"{settings.namespace or 'default'}.db")


async def catch_up(store: AsyncStore, index: MemoryIndex) -> int:
    """Take what is new in the outbox into the index; return how many records were new.

    Raises:
        RedisUnavailable: the outbox cannot be read; what was read before is in the index.
        Unavailable: the index cannot be used.
    """
    # Another server has another outbox, and its entries may be older than those of the last one.
    name = f"outbox {store.prefix}"
    after, new = await asyncio.to_thread(index.cursor, name) or outbox.START, 0
    while entries := await store.run(outbox.read_outbox(after, most=_CAUGHT_UP)):
        after = entries[-1].entry
        records = [record_of(entry.fields) for entry in entries]
        new += await asyncio.to_thread(index.put, records, cursor=(name, after))
    return new


async def search_all(
    index: MemoryIndex, sinks: Sequence[Sink], query: str, *, limit: int, filters: Filters | None = None
) -> list[dict[str, Any]]:
    """Return the best records: those of the index, then what only servers know. Servers that are down add nothing.

    Raises:
        InvalidField: the limit is below 1.
        Unavailable: the index cannot be used.
    """
    remote = asyncio.gather(*(_asked(sink, query, limit) for sink in sinks)) if filters in (None, Filters()) else None
    try:
        hits = await asyncio.to_thread(index.search, query, limit=limit, filters=filters)
    except BaseException:
        if remote is not None:
            remote.cancel()
        raise
    found = [_shown(hit.model_dump(mode="json"), "local") for hit in hits]
    for sink, hits_there in zip(sinks, await remote if remote is not None else (), strict=False):
        found.extend(_unknown(hits_there, found, sink.name))
    return found[:limit]


def _unknown(hits: Iterable[dict[str, Any]], found: Sequence[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    """Return the hits that are not there yet; servers without metadata have the record's id in its text."""
    ids = {one["memory_id"] for one in found if one.get("memory_id")}
    return [
        _shown(hit, source)
        for hit in hits
        if hit.get("memory_id") not in ids and not any(f"memory_id:{one}" in str(hit.get("content")) for one in ids)
    ]


def _shown(hit: dict[str, Any], source: str) -> dict[str, Any]:
    metadata = hit.get("metadata") or {}
    return {
        "memory_id": hit.get("memory_id"),
        "pool_id": metadata.get("pool_id"),
        "task_id": metadata.get("task_id"),
        "content": hit.get("content", ""),
        "score": hit.get("score"),
        "timestamp": hit.get("timestamp"),
        "source": source,
        "metadata": metadata,
    }


async def _asked(sink: Sink, query: str, limit: int) -> list[dict[str, Any]]:
    try:
        async with asyncio.timeout(REMOTE_SECONDS):
            return await sink.search(query, limit=limit)
    except (errors.RemoteUnavailable, errors.RemoteRefused, TimeoutError):
        return []
