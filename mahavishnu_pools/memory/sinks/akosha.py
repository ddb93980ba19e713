"""Akosha as a sink: the embedded server, or the real one, which wants embeddings and keeps no metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import ToolAnswer
from mahavishnu_pools.memory.sinks.interface import (
    Delivery,
    Tools,
    batch_delivery,
    none_taken,
    nothing_fits,
    text_with_ids,
)
from mahavishnu_pools.schemas.memory import MemoryRecord

_SERVER = "Akosha"

_STORE, _EMBED = "batch_store_memories", "generate_batch_embeddings"

#: A tool that only the embedded server has; it keeps metadata and needs no embeddings.
_OURS = "find_patterns"

#: What the records' system is called there.
_SYSTEM = "mahavishnu_pools"


class AkoshaSink:
    """Delivers in batches; an id that is there already is delivered. Its search is not used: the real one is a mock."""

    name = "akosha"

    def __init__(self, client: Tools) -> None:
        self._client = client

    async def deliver(self, records: Sequence[MemoryRecord]) -> Delivery:
        """Store records; see ``Sink``."""
        tools = await self._client.tools()
        if _STORE not in tools:
            raise nothing_fits(_SERVER, (_STORE,))
        if _OURS in tools:
            memories = [_memory(record, record.content) for record in records]
        else:
            texts = [text_with_ids(record) for record in records]
            answer = await self._client.call(_EMBED, {"texts": list(texts)})
            if answer.failed:
                return none_taken(records, answer.text[:300])
            vectors = _vectors(answer, len(texts))
            together = zip(records, texts, vectors, strict=True)
            memories = [{**_memory(record, text), "embedding": vector} for record, text, vector in together]
        answer = await self._client.call(_STORE, {"memories": list(memories)})
        return batch_delivery(answer, records, server=_SERVER)

    async def takes_again(self, record: MemoryRecord) -> bool:
        """Store a record again; see ``Sink``."""
        found = await self.deliver([record])
        return not found.refused and not found.left

    async def search(self, query: str, *, limit: int) -> list[dict[str, Any]]:
        """Return nothing."""
        return []


def _vectors(answer: ToolAnswer, wanted: int) -> list[JsonValue]:
    vectors = answer.value.get("embeddings") if isinstance(answer.value, dict) else None
    if not isinstance(vectors, list) or len(vectors) != wanted:
        raise errors.RemoteUnavailable(f"{_SERVER} gave no embedding for each text.")
    return vectors


def _memory(record: MemoryRecord, text: str) -> dict[str, JsonValue]:
    moment = record.timestamp.isoformat()
    metadata: dict[str, JsonValue] = {**record.metadata, "source": _SYSTEM, "created_at": moment}
    return {"memory_id": record.memory_id, "text": text, "metadata": metadata}
