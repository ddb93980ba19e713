"""Session-Buddy as a sink: the embedded server, or the real one in either of its forms, told apart by their tools."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import ToolAnswer
from mahavishnu_pools.memory.sinks.interface import (
    ABOUT_CONTENT,
    Delivery,
    Tools,
    batch_delivery,
    nothing_fits,
    text_with_ids,
)
from mahavishnu_pools.schemas.memory import MemoryRecord

_SERVER = "Session-Buddy"

_BATCH = "batch_store_memories"

#: What is stored with, the best first.
_STORING = (_BATCH, "store_memory", "store_conversation", "store_reflection")

#: Those that store a record once however often it is sent.
_ONCE = (_BATCH, "store_memory")

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
        tool = await self._tool()
        if tool != _BATCH:
            return await self._one_by_one(tool, records)
        memories: list[JsonValue] = [_memory(record) for record in records]
        return batch_delivery(await self._client.call(tool, {"memories": memories}), records, server=_SERVER)

    async def takes_again(self, record: MemoryRecord) -> bool:
        """Store a record again, where the server stores it once; see ``Sink``."""
        if await self._tool() not in _ONCE:
            return False
        found = await self.deliver([record])
        return not found.refused and not found.left

    async def search(self, query: str, *, limit: int) -> list[dict[str, Any]]:
        """Find records; see ``Sink``."""
        tools = await self._client.tools()
        tool = next((name for name in _SEARCHING if name in tools), None)
        if tool is None:
            return []
        return _found(await self._client.call(tool, {_SEARCHING[tool]: query, "limit": min(limit, 100)}))

    async def _tool(self) -> str:
        tools = await self._client.tools()
        tool = next((name for name in _STORING if name in tools), None)
        if tool is None:
            raise nothing_fits(_SERVER, _STORING)
        return tool

    async def _one_by_one(self, tool: str, records: Sequence[MemoryRecord]) -> Delivery:
        """Store records in their order; what was refused before the last one that was taken is refused for itself."""
        told: dict[str, str] = {}
        last_taken = -1
        for at, record in enumerate(records):
            try:
                reason = await self._refusal(tool, record)
            except (errors.RemoteUnavailable, errors.RemoteRefused) as exc:
                if last_taken < 0:
                    raise
                told.update(dict.fromkeys((one.memory_id for one in records[at:]), exc.message))
                break
            if reason is None:
                last_taken = at
            else:
                told[record.memory_id] = reason
        before = {one.memory_id for one in records[: last_taken + 1]}
        refused = {memory_id: reason for memory_id, reason in told.items() if memory_id in before}
        return Delivery(refused, {name: reason for name, reason in told.items() if name not in before})

    async def _refusal(self, tool: str, record: MemoryRecord) -> str | None:
        try:
            answer = await self._client.call(tool, _arguments(tool, record))
        except errors.RemoteRefused as exc:
            if exc.details().get("status") not in ABOUT_CONTENT:
                raise
            return exc.message
        return (answer.text[:300] or "it gave no reason") if answer.failed else None


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
        return [_usable(one) for one in results if isinstance(one, dict)]
    return [_hit(text) for text in _HIT.split(answer.text)[1:]]


def _usable(hit: Mapping[str, Any]) -> dict[str, Any]:
    """Return a hit without ids and metadata that are none."""
    memory_id, metadata = hit.get("memory_id"), hit.get("metadata")
    return {
        **hit,
        "memory_id": memory_id if isinstance(memory_id, str) else None,
        "content": str(hit.get("content") or ""),
        "metadata": metadata if isinstance(metadata, dict) else {},
    }


def _hit(text: str) -> dict[str, Any]:
    """Return a hit of an answer for people: its own text, and the ids that stand in it."""
    content = (text.partition(_TEXT)[2] or text).strip()
    marks = dict(_MARK.findall(content.partition("\n")[0]))
    memory_id = marks.pop("memory_id", None)
    return {"content": content, "metadata": marks, **({"memory_id": memory_id} if memory_id else {})}
