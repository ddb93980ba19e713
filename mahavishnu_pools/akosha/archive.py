"""What Akosha keeps: memories in one SQLite file, and the tasks they tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from mahavishnu_pools.akosha.executions import Execution, execution_of
from mahavishnu_pools.memory.index import Filters, Hit, MemoryIndex
from mahavishnu_pools.memory.retention import kept_for
from mahavishnu_pools.refusals import invalid_field
from mahavishnu_pools.schemas.memory import POOL_EXECUTION, MemoryRecord

#: Memories of one batch, as the real Akosha limits it.
MAX_BATCH = 1000

#: Characters of one memory.
MAX_TEXT = 200_000

#: Tasks that statistics look at; of more, the newest.
MAX_EXECUTIONS = 50_000

#: Metadata that may hold the moment of a memory, in this order.
_MOMENTS = ("created_at", "timestamp")

_MOMENT: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


class Memory(BaseModel):
    """One memory as clients send it. An embedding is accepted and not kept: search is by words here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_id: str = Field(min_length=1, max_length=200, description="The same id is stored once.")
    text: str = Field(min_length=1, max_length=MAX_TEXT)
    embedding: list[float] | None = Field(default=None, description="Accepted and not needed.")
    metadata: dict[str, JsonValue] | None = None


class Archive:
    """The memories of all systems. Its methods block; a memory that was confirmed survives the end of the process."""

    def __init__(self, path: Path) -> None:
        self._index = MemoryIndex(path)

    def store(self, memory: Memory) -> bool:
        """Store a memory; return whether it is new.

        Raises:
            Unavailable: the file cannot be used; nothing was stored.
        """
        return self._index.put([_record(memory)]) == 1

    def store_batch(self, memories: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Store what can be stored and report as the real Akosha does; ids that were there already count as stored.

        Raises:
            Unavailable: the file cannot be used; nothing was stored.
        """
        records, failures = [], []
        for number, given in enumerate(memories):
            try:
                records.append(_record(Memory.model_validate(given)))
            except ValidationError as exc:
                told = invalid_field(exc, remedy="Nothing of this memory was stored.").message
                failures.append({"memory_id": str(given.get("memory_id") or f"#{number}"), "error": told})
        new = self._index.put(records)
        status = "completed" if not failures else "partial" if records else "failed"
        counts = {"total": len(memories), "stored": len(records), "failed": len(failures)}
        return {"status": status, **counts, "already_stored": len(records) - new, "errors": failures}

    def search(self, query: str, *, limit: int, filters: Filters) -> list[Hit]:
        """Return the best matches of all systems.

        Raises:
            Unavailable: the file cannot be used.
        """
        return self._index.search(query, limit=limit, filters=filters)

    def executions(self, *, since: datetime, until: datetime) -> list[Execution]:
        """Return the tasks that finished in a time, the newest first and at most 50,000.

        Raises:
            Unavailable: the file cannot be used.
        """
        filters = Filters(since=since, until=until, metadata={"type": POOL_EXECUTION})
        hits = self._index.search("", limit=MAX_EXECUTIONS, filters=filters)
        return [execution_of(hit.content, hit.metadata, hit.timestamp) for hit in hits]

    def count(self) -> int:
        """Return how many memories there are.

        Raises:
            Unavailable: the file cannot be used.
        """
        return self._index.count()

    def kept_for(self, days: float) -> AbstractAsyncContextManager[None]:
        """Delete what is older than so many days (0: nothing), now and daily, as long as the block runs."""
        return kept_for(self._index, days)

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        self._index.close()


def _record(memory: Memory) -> MemoryRecord:
    metadata = memory.metadata or {}
    return MemoryRecord(memory_id=memory.memory_id, content=memory.text, timestamp=_moment(metadata), metadata=metadata)


def _moment(metadata: Mapping[str, JsonValue]) -> datetime:
    for name in _MOMENTS:
        value = metadata.get(name)
        if isinstance(value, str):
            try:
                return _MOMENT.validate_python(value)
            except ValidationError:
                continue
    return datetime.now(UTC)
