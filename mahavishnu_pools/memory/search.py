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


class Hits(list[dict[str, Any]]):
    """What was found, best first; ``notes`` say in sentences what could not be asked."""

    def __init__(self, hits: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(hits)
        self.notes: list[str] = []


def index_of(settings: Settings) -> MemoryIndex:
    """Return this machine's index for the settings' namespace."""
    return MemoryIndex(settings.data_dir / "memory" / f"{settings.namespace or 'default'}.db")


async def catch_up(store: AsyncStore, index: MemoryIndex) -> int:
    """Take what is new in the outbox into the index; return how many records were new.

    Raises:
        RedisUnavailable: the outbox cannot be read; what was read before is in the index.
        Unavailable: the index cannot be used.
    """
    # A server that is another one, or was emptied, has another outbox, whose entries may be older than the last one's.
    outbox_id: str = await store.run(outbox.read_outbox_id())
    name = f"outbox {store.prefix}{outbox_id}"
    after, new = await asyncio.to_thread(index.cursor, name) or outbox.START, 0
    while entries := await store.run(outbox.read_outbox(after, most=_CAUGHT_UP)):
        after = entries[-1].entry
        records = [record_of(entry.fields) for entry in entries]
        new += await asyncio.to_thread(index.put, records, cursor=(name, after))
    return new


async def search_all(
    index: MemoryIndex, sinks: Sequence[Sink], query: str, *, limit: int, filters: Filters | None = None
) -> Hits:
    """Return the best records: those of the index, then what only servers know.

    Servers that are down add nothing but a note. They are not asked when there are filters, which they may not know.

    Raises:
        InvalidField: the limit is below 1.
        Unavailable: the index cannot be used.
    """
    asked = sinks if filters in (None, Filters()) else ()
    remote = asyncio.gather(*(_asked(sink, query, limit) for sink in asked))
    try:
        hits = await asyncio.to_thread(index.search, query, limit=limit, filters=filters)
    except BaseException:
        remote.cancel()
        raise
    found = Hits(_shown(hit.model_dump(mode="json"), "local") for hit in hits)
    for sink, answer in zip(asked, await remote, strict=True):
        if isinstance(answer, str):
            found.notes.append(f"{sink.name} could not be asked: {answer}")
        else:
            _add_unknown(found, answer, sink.name)
    del found[limit:]
    return found


def _add_unknown(found: Hits, hits: Iterable[dict[str, Any]], source: str) -> None:
    """Add the hits that are not there yet; servers without metadata may have the record's id in its text."""
    ids = {one["memory_id"] for one in found if one["memory_id"]}
    for hit in hits:
        named = hit.get("memory_id") or next(
            (one for one in ids if f"memory_id:{one}" in str(hit.get("content"))), None
        )
        if named not in ids:
            found.append(_shown(hit, source))
        if named is not None:
            ids.add(named)


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


async def _asked(sink: Sink, query: str, limit: int) -> list[dict[str, Any]] | str:
    """Return a server's hits, or why there are none."""
    try:
        async with asyncio.timeout(REMOTE_SECONDS):
            return await sink.search(query, limit=limit)
    except (errors.RemoteUnavailable, errors.RemoteRefused) as exc:
        return exc.message
    except TimeoutError:
        return f"It did not answer within {REMOTE_SECONDS:g} s."
