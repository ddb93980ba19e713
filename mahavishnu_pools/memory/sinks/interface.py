"""What a sink is: a place that confirms records one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import ToolAnswer
from mahavishnu_pools.schemas.memory import MemoryRecord

#: Metadata that go into the text where a server keeps none.
IN_TEXT = ("pool_id", "pool_type", "task_id", "status", "duration_seconds", "cwd")

#: HTTP statuses of a refusal that may be about what was sent (200: one of JSON-RPC's own), not about who sends it.
ABOUT_CONTENT = frozenset({200, 400, 413, 422})


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was not stored, by the records' ids with a reason; all other records of the call are stored.

    ``refused`` was refused although another one was taken after it or with it. Of ``left`` nothing shows that the
    server takes any at the moment; those are the last ones of the call, or all.
    """

    refused: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)


class Tools(Protocol):
    """What a sink needs of an MCP client."""

    async def tools(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the server's tools by name."""
        ...

    async def call(self, tool: str, arguments: Mapping[str, JsonValue]) -> ToolAnswer:
        """Call a tool."""
        ...


class Sink(Protocol):
    """One server. ``name`` is that of its cursor."""

    name: str

    async def deliver(self, records: Sequence[MemoryRecord]) -> Delivery:
        """Store records.

        Raises:
            RemoteUnavailable, RemoteRefused: it cannot be used now; any of the records may be stored there.
        """
        ...

    async def takes_again(self, record: MemoryRecord) -> bool:
        """Store a record that may be there already; False where that would make two of it, or it was not taken.

        Raises:
            RemoteUnavailable, RemoteRefused: it cannot be used now.
        """
        ...

    async def search(self, query: str, *, limit: int) -> list[dict[str, Any]]:
        """Return what is found, best first: ``content``, and ``memory_id`` and ``metadata`` where they are kept.

        Raises:
            RemoteUnavailable, RemoteRefused: it cannot be used now.
        """
        ...


def text_with_ids(record: MemoryRecord) -> str:
    """Return the content with the metadata a server does not keep; the id first, because hits may be cut."""
    told = {name: record.metadata.get(name) for name in IN_TEXT}
    marks = " ".join(f"{name}:{value}" for name, value in told.items() if value not in (None, ""))
    return f"memory_id:{record.memory_id} {marks}\n{record.content}"


def nothing_fits(server: str, wanted: Sequence[str]) -> errors.RemoteRefused:
    """Return the error for a server without any of the tools that are looked for."""
    return errors.RemoteRefused(f"{server} has none of the tools {', '.join(wanted)}. Correct its URL in the settings.")


def none_taken(records: Sequence[MemoryRecord], reason: str) -> Delivery:
    """Return the delivery of which nothing is stored."""
    return Delivery(left=dict.fromkeys((one.memory_id for one in records), reason or "it gave no reason"))


def batch_delivery(answer: ToolAnswer, records: Sequence[MemoryRecord], *, server: str) -> Delivery:
    """Return what the report of a batch says; an id that is stored already is delivered.

    Raises:
        RemoteUnavailable: the answer is no report of a batch.
    """
    if answer.failed:
        return none_taken(records, answer.text[:300])
    value = answer.value
    if not isinstance(value, dict) or value.get("status") not in ("completed", "partial", "failed"):
        text = f"{server} did not say whether it stored the records: {answer.text[:300] or 'it gave no answer'}"
        raise errors.RemoteUnavailable(text)
    listed = value.get("errors") or []
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    told = {str(one.get("memory_id")): str(one.get("error")) for one in found}
    if value["status"] == "failed" and not told:
        return none_taken(records, answer.text[:300])
    refused = {memory_id: reason for memory_id, reason in told.items() if not is_duplicate(reason)}
    if all(one.memory_id in refused for one in records):
        return Delivery(left=refused)
    return Delivery(refused=refused)


def is_duplicate(reason: str) -> bool:
    """Tell whether an error says that the id is there already, which is what delivery is for."""
    return "duplicate key" in reason.lower()
