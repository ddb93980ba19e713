"""Session-Buddy as a sink: the embedded server, or the real one in either of its forms, told apart by their tools."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools.mcp_client import ToolAnswer
from mahavishnu_pools.memory.sinks.interface import Delivery, Tools, nothing_fits, refusals, text_with_ids
from mahavishnu_pools.schemas.memory import MemoryRecord

_SERVER = "Session-Buddy"

#: What is stored with, the best first.
_STORING = ("batch_store_memories", "store_memory", "store_conversation", "store_reflection")

#: What is searched with, the best first, and what each calls the query.
_SEARCHING = {"search_memory": "query", "search_conversations": "query", "search_by_concept": "concept"}

#: Where a hit begins in an answer that is text for people, and the line its own text begins at.
_HIT = re.compile(r"^\d+\. ", re.MULTILINE)
_TEXT = "📝 "

#: What ``text_with_ids`` wrote into a text.
_MARK = re.compile(r"\b(pool_id|pool_type|task_id|status|memory_id):(\S+)")

#: The project that conversations belong to.
_PROJECT = "mahavishnu_pools"


class SessionBuddySink:
    """Delivers by the best tool the server has; real servers keep no metadata, so these stand in the text."""

    name = "session_buddy"

    def __init__(self, client: Tools) -> None:
        self._client = client

    async def deliver(self, records: Sequence[MemoryRecord]) -> Delivery:
        """Store records; see ``Sink``."""
        tools = await self._client.tools()
        tool = next((name for name in _STORING if name in tools), None)
        if tool is None:
            raise nothing_fits(_SERVER, _STORING)
        if tool == "batch_store_memories":
            memories: list[JsonValue] = [_memory(record) for record in records]
            return Delivery(refusals(await self._client.call(tool, {"memories": memories}), server=_SERVER))
        refused = {}
        for record in records:
            answer = await self._client.call(tool, _arguments(tool, record))
            if answer.failed:
                refused[record.memory_id] = answer.text[:300]
        return Delivery(refused)

    async def search(self, query: str, *, limit: int) -> list[dict[str, Any]]:
        """Find records; see ``Sink``."""
        tools = await self._client.tools()
        tool = next((name for name in _SEARCHING if name in tools), None)
        if tool is None:
            return []
        return _found(await self._client.call(tool, {_SEARCHING[tool]: query, "limit": min(limit, 100)}))


def _memory(record: MemoryRecord) -> dict[str, JsonValue]:
    return dict(record.model_dump(mode="json"))


def _arguments(tool: str, record: MemoryRecord) -> Mapping[str, JsonValue]:
    if tool == "store_memory":
        return _memory(record)
    if tool == "store_conversation":
        return {"content": text_with_ids(record), "project": _PROJECT}
    return {"content": text_with_ids(record)}


def _found(answer: ToolAnswer) -> list[dict[str, Any]]:
    if answer.failed:
        return []
    results = answer.value.get("results") if isinstance(answer.value, dict) else None
    if isinstance(results, list):
        return [dict(one) for one in results if isinstance(one, dict)]
    return [_hit(text) for text in _HIT.split(answer.text)[1:]]


def _hit(text: str) -> dict[str, Any]:
    """Return a hit of an answer for people: its own text, and the ids that stand in it."""
    content = (text.partition(_TEXT)[2] or text).strip()
    marks = dict(_MARK.findall(content.partition("\n")[0]))
    memory_id = marks.pop("memory_id", None)
    return {"content": content, "metadata": marks, **({"memory_id": memory_id} if memory_id else {})}
