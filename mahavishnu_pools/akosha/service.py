"""Akosha's tools, as MCP clients see them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from mahavishnu_pools.akosha.analytics import GroupBy, figures, found_patterns, metrics
from mahavishnu_pools.akosha.archive import MAX_BATCH, MAX_TEXT, Archive, Memory
from mahavishnu_pools.akosha.executions import Execution
from mahavishnu_pools.mcp_serving import Answer, Service, Tool
from mahavishnu_pools.memory.index import Filters

#: Numbers of an embedding, as in the real Akosha.
DIMENSIONS = 384

#: Hours that statistics look back when nothing else is said, and the most.
DEFAULT_HOURS, MAX_HOURS = 7 * 24.0, 366 * 24.0


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Batch(_Arguments):
    memories: list[dict[str, Any]] = Field(max_length=MAX_BATCH, description="Each as store_memory takes it.")


class _Search(_Arguments):
    query: str = Field(description='Words that must all be there, "a phrase", begin*; empty finds the newest.')
    limit: int = Field(default=10, ge=1, le=1000)
    system_id: str | None = Field(default=None, description="The metadata's source must be this one.")
    pool_id: str | None = None
    pool_type: str | None = None
    status: str | None = None
    task_id: str | None = None


class _Period(_Arguments):
    hours: float = Field(default=DEFAULT_HOURS, gt=0, le=MAX_HOURS, description="How far to look back.")


class _Metrics(_Period):
    group_by: GroupBy = "pool_id"


class _Patterns(_Period):
    recent_hours: float = Field(
        default=24.0, gt=0, le=MAX_HOURS, description="Pools are compared: these hours with those before."
    )


class _Text(_Arguments):
    text: str = Field(max_length=MAX_TEXT)


class _Texts(_Arguments):
    texts: list[str] = Field(max_length=MAX_BATCH)


def service_of(archive: Archive, *, tokens: Collection[str] = (), now: Callable[[], datetime] | None = None) -> Service:
    """Return the service over an archive; ``now`` is the clock (None: the system's)."""
    tools = _Tools(archive, now or (lambda: datetime.now(UTC)))
    listed = (
        ("store_memory", "Store one memory; the same id is stored once.", Memory, tools.store),
        ("batch_store_memories", f"Store up to {MAX_BATCH} memories.", _Batch, tools.store_batch),
        ("search_all_systems", "Search the memories of all systems and pools.", _Search, tools.search),
        ("aggregate_metrics", "Counts, failure rates and durations of groups of tasks.", _Metrics, tools.metrics),
        ("find_patterns", "Recurring errors, pools that got worse, trends, anomalies.", _Patterns, tools.patterns),
        ("get_global_analytics", "Figures of all pools together.", _Period, tools.analytics),
        ("generate_embedding", "A vector of word hashes, for clients that want one.", _Text, tools.embedding),
        ("generate_batch_embeddings", "Vectors of word hashes.", _Texts, tools.embeddings),
    )
    return Service(
        name="akosha",
        version=metadata.version("mahavishnu-pools"),
        tools=[Tool(name, text, arguments, call) for name, text, arguments, call in listed],
        instructions="Memory of all pools: store memories, search them, find patterns across pools.",
        tokens=tokens,
        health=lambda: {"memories": archive.count()},
    )


class _Tools:
    """What each tool does; the archive blocks, so it is used in threads."""

    def __init__(self, archive: Archive, now: Callable[[], datetime]) -> None:
        self._archive = archive
        self._now = now

    async def store(self, memory: Memory) -> Answer:
        new = await asyncio.to_thread(self._archive.store, memory)
        text = f"Stored memory {memory.memory_id}." if new else f"Memory {memory.memory_id} was stored already."
        return Answer(text, {"status": "stored", "memory_id": memory.memory_id, "already_stored": not new})

    async def store_batch(self, batch: _Batch) -> Answer:
        report = await asyncio.to_thread(self._archive.store_batch, batch.memories)
        text = (
            f"{report['stored']} of {report['total']} memories are stored, {report['already_stored']} of them before."
        )
        return Answer(text, report)

    async def search(self, asked: _Search) -> Answer:
        filters = Filters(
            pool_id=asked.pool_id,
            pool_type=asked.pool_type,
            status=asked.status,
            task_id=asked.task_id,
            metadata={"source": asked.system_id} if asked.system_id else {},
        )
        hits = await asyncio.to_thread(self._archive.search, asked.query, limit=asked.limit, filters=filters)
        found: list[JsonValue] = [{**hit.model_dump(mode="json"), "text": hit.content} for hit in hits]
        lines = [f"{number}. {hit.content[:200]}" for number, hit in enumerate(hits, 1)]
        return Answer("\n".join((f"Found {len(hits)} memories.", *lines)), {"total": len(hits), "results": found})

    async def metrics(self, asked: _Metrics) -> Answer:
        def count(executions: list[Execution]) -> dict[str, Any]:
            return {"group_by": asked.group_by, "groups": metrics(executions, group_by=asked.group_by)}

        value = await self._over(asked.hours, count)
        return Answer(f"{len(value['groups'])} groups in the last {asked.hours:g} hours.", value)

    async def patterns(self, asked: _Patterns) -> Answer:
        until = self._now()
        since, recent = until - timedelta(hours=asked.hours), until - timedelta(hours=asked.recent_hours)

        def find(executions: list[Execution]) -> dict[str, Any]:
            return found_patterns(executions, since=since, recent_since=recent, until=until)

        value = await self._over(asked.hours, find, until=until)
        lines = [f"{name}: {len(found)}" for name, found in value.items() if isinstance(found, list)]
        return Answer("; ".join(lines), value)

    async def analytics(self, asked: _Period) -> Answer:
        def count(executions: list[Execution]) -> dict[str, Any]:
            pools = {one.pool_id for one in executions if one.pool_id}
            return {"memories": self._archive.count(), "pools": len(pools), "tasks": figures(executions)}

        value = await self._over(asked.hours, count)
        return Answer(f"{value['tasks']['count']} tasks on {value['pools']} pools.", value)

    async def embedding(self, asked: _Text) -> Answer:
        vector = await asyncio.to_thread(embedding_of, asked.text)
        return Answer("A vector of word hashes.", {"embedding": [*vector], "mode": "fallback"})

    async def embeddings(self, asked: _Texts) -> Answer:
        vectors: list[JsonValue] = await asyncio.to_thread(lambda: [[*embedding_of(text)] for text in asked.texts])
        return Answer(f"{len(vectors)} vectors of word hashes.", {"embeddings": vectors, "mode": "fallback"})

    async def _over(
        self, hours: float, compute: Callable[[list[Execution]], dict[str, Any]], *, until: datetime | None = None
    ) -> dict[str, Any]:
        end = until or self._now()
        since = end - timedelta(hours=hours)

        def work() -> dict[str, Any]:
            executions = self._archive.executions(since=since, until=end + timedelta(microseconds=1))
            return {
                "from": since.isoformat(),
                "to": end.isoformat(),
                "looked_at": len(executions),
                **compute(executions),
            }

        return await asyncio.to_thread(work)


def embedding_of(text: str) -> list[float]:
    """Return a unit vector made of the hashes of a text's words: like texts are near, meaning is not in it."""
    vector = [0.0] * DIMENSIONS
    for word in text.lower().split():
        number = int.from_bytes(blake2b(word.encode("utf-8", "replace"), digest_size=8).digest())
        vector[number % DIMENSIONS] += 1.0 if number >> 63 else -1.0
    length = math.sqrt(math.fsum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
