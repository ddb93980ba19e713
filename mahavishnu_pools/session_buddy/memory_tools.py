"""The memory tools of the server: records are stored once per id and found by words, metadata and time."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field, JsonValue

from mahavishnu_pools.mcp_serving import Answer, Tool
from mahavishnu_pools.memory.index import Filters, Hit, MemoryIndex
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.memory import MemoryRecord

#: Records one batch may have, hits one search may ask for.
MAX_BATCH, MAX_HITS = 1000, 1000

#: Characters one record's content may have.
MAX_CONTENT = 1024 * 1024

#: Characters of a hit that the text shows; the fields have all of it.
SHOWN = 200


class StoreMemory(Value):
    """One record. ``timestamp`` is ISO 8601 with its zone (none: that of the metadata, else now)."""

    memory_id: str = Field(min_length=1, max_length=200)
    content: str = Field(max_length=MAX_CONTENT)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    timestamp: AwareDatetime | None = None

    def record(self) -> MemoryRecord:
        """Return it as it is kept."""
        when = self.timestamp or _told_time(self.metadata) or datetime.now(UTC)
        return MemoryRecord(memory_id=self.memory_id, content=self.content, timestamp=when, metadata=self.metadata)


class StoreMemories(Value):
    """Several records, of which all are stored or none."""

    memories: list[StoreMemory] = Field(max_length=MAX_BATCH)


class StoreConversation(Value):
    """A conversation; the same content in the same project is kept once."""

    content: str = Field(min_length=10, max_length=MAX_CONTENT)
    project: str | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class Search(Value):
    """Words, "several words" or word*; none: the newest. The rest narrows what is found."""

    query: str = ""
    limit: int = Field(default=10, ge=1, le=MAX_HITS)
    pool_id: str | None = None
    pool_type: str | None = None
    status: str | None = None
    task_id: str | None = None
    project: str | None = None
    since: AwareDatetime | None = Field(default=None, description="From this moment on (ISO 8601 with its zone).")
    until: AwareDatetime | None = Field(default=None, description="Before this moment.")
    filters: dict[str, JsonValue] = Field(default_factory=dict, description="Metadata a hit must have.")

    def chosen(self) -> Filters:
        """Return the filters."""
        project = {} if self.project is None else {"project": self.project}
        return Filters(
            pool_id=self.pool_id,
            pool_type=self.pool_type,
            status=self.status,
            task_id=self.task_id,
            since=self.since,
            until=self.until,
            metadata={**self.filters, **project},
        )


class MemoryTools:
    """The tools on one index; its calls run in threads, because SQLite may wait for the disk or another process."""

    def __init__(self, index: MemoryIndex) -> None:
        self._index = index

    def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        searching = "Find records by words, metadata and time."
        return (
            Tool("store_memory", "Store a record once per memory_id.", StoreMemory, self.store),
            Tool("batch_store_memories", "Store up to 1,000 records at once.", StoreMemories, self.store_batch),
            Tool("store_conversation", "Store a conversation.", StoreConversation, self.store_conversation),
            Tool("search_memory", searching, Search, self.search),
            Tool("search_conversations", searching, Search, self.search),
        )

    async def store(self, given: StoreMemory) -> Answer:
        """Store a record."""
        new = await asyncio.to_thread(self._index.put, [given.record()])
        text = "✅ Stored memory" if new else "✅ Already stored: memory"
        return Answer(f"{text} {given.memory_id}", {"memory_id": given.memory_id, "status": "stored", "new": bool(new)})

    async def store_batch(self, given: StoreMemories) -> Answer:
        """Store several records."""
        new = await asyncio.to_thread(self._index.put, [one.record() for one in given.memories])
        total = len(given.memories)
        counts: dict[str, JsonValue] = {"total": total, "stored": total, "new": new, "failed": 0, "errors": []}
        return Answer(f"✅ Stored {total} memories, {new} of them new", {"status": "completed", **counts})

    async def store_conversation(self, given: StoreConversation) -> Answer:
        """Store a conversation."""
        project = {} if given.project is None else {"project": given.project}
        told = json.dumps([given.project, given.content])
        memory_id = hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:32]
        metadata: dict[str, JsonValue] = {"type": "conversation", **given.metadata, **project}
        record = StoreMemory(memory_id=memory_id, content=given.content, metadata=metadata).record()
        new = await asyncio.to_thread(self._index.put, [record])
        text = f"✅ Conversation stored\nConversation ID: {memory_id}"
        return Answer(text, {"conversation_id": memory_id, "memory_id": memory_id, "new": bool(new)})

    async def search(self, given: Search) -> Answer:
        """Find records."""
        hits = await asyncio.to_thread(self._index.search, given.query, limit=given.limit, filters=given.chosen())
        lines = [f"Found {len(hits)} memories"]
        lines += [f"{number}. {_line(hit)}" for number, hit in enumerate(hits, start=1)]
        results: list[JsonValue] = [hit.model_dump(mode="json") for hit in hits]
        return Answer("\n".join(lines), {"query": given.query, "count": len(hits), "results": results})


def _told_time(metadata: dict[str, JsonValue]) -> datetime | None:
    """Return the record's own time, when its metadata tell it with a zone."""
    told = metadata.get("timestamp")
    try:
        when = datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return None
    return when if when is not None and when.tzinfo is not None else None


def _line(hit: Hit) -> str:
    content = " ".join(hit.content.split())
    return f"[{hit.timestamp:%Y-%m-%d %H:%M}] {content[:SHOWN]}{'…' if len(content) > SHOWN else ''}"
