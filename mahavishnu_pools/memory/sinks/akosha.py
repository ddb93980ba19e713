"""Akosha as a sink: the embedded server, or the real one, which wants embeddings and keeps no metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.memory.sinks.interface import Delivery, Tools, not_stored, nothing_fits, refusals, text_with_ids
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
            memories = await self._embedded(records)
        answer = await self._client.call(_STORE, {"memories": list(memories)})
        return Delivery(refusals(answer, server=_SERVER))

    async def search(self, query: str, *, limit: int) -> list[dict[str, Any]]:
        """Return nothing."""
        return []

    async def _embedded(self, records: Sequence[MemoryRecord]) -> list[dict[str, JsonValue]]:
        texts = [text_with_ids(record) for record in records]
        answer = await self._client.call(_EMBED, {"texts": list(texts)})
        vectors = answer.value.get("embeddings") if isinstance(answer.value, dict) else None
        if answer.failed:
            raise not_stored(_SERVER, answer)
        if not isinstance(vectors, list) or len(vectors) != len(texts):
            raise errors.RemoteUnavailable(f"{_SERVER} gave no embedding for each text.")
        together = zip(records, texts, vectors, strict=True)
        return [{**_memory(record, text), "embedding": vector} for record, text, vector in together]


def _memory(record: MemoryRecord, text: str) -> dict[str, JsonValue]:
    moment = record.timestamp.isoformat()
    metadata: dict[str, JsonValue] = {**record.metadata, "source": _SYSTEM, "created_at": moment}
    return {"memory_id": record.memory_id, "text": text, "metadata": metadata}
