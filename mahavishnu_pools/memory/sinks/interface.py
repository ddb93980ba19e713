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


@dataclass(frozen=True, slots=True)
class Delivery:
    """The records a server refused, by their id with its reason; all others of the call are stored there."""

    refused: Mapping[str, str] = field(default_factory=dict)


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
        """Store records; when it returns, those that are not refused are stored.

        Raises:
            RemoteUnavailable, RemoteRefused: it cannot be used now; any of the records may be stored there.
        """
        ...

    async def search(self, query: str, *, limit: int) -> list[dict[str, Any]]:
        """Return what is found, best first: ``content``, and ``memory_id`` and ``metadata`` where they are kept."""
        ...


def text_with_ids(record: MemoryRecord) -> str:
    """Return the content with the metadata a server does not keep."""
    told = {name: record.metadata.get(name) for name in IN_TEXT}
    marks = " ".join(f"{name}:{value}" for name, value in told.items() if value not in (None, ""))
    return f"{marks} memory_id:{record.memory_id}\n{record.content}"


def nothing_fits(server: str, wanted: Sequence[str]) -> errors.RemoteRefused:
    """Return the error for a server without any of the tools that are looked for."""
    return errors.RemoteRefused(f"{server} has none of the tools {', '.join(wanted)}. Correct its URL in the settings.")


def not_stored(server: str, answer: ToolAnswer) -> errors.RemoteUnavailable:
    """Return the error for a tool that reports a failure of all it was given."""
    return errors.RemoteUnavailable(f"{server} did not store the records: {answer.text[:300] or 'it gave no reason'}")


def refusals(answer: ToolAnswer, *, server: str) -> dict[str, str]:
    """Return the errors of a batch by record id; an id that is stored already is none.

    Raises:
        RemoteUnavailable: the answer is no report of a batch.
    """
    value = answer.value
    if answer.failed or not isinstance(value, dict) or value.get("status") not in ("completed", "partial", "failed"):
        raise not_stored(server, answer)
    listed = value.get("errors") or []
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    told = {str(one.get("memory_id")): str(one.get("error")) for one in found}
    if value["status"] == "failed" and not told:
        raise not_stored(server, answer)
    return {memory_id: reason for memory_id, reason in told.items() if not is_duplicate(reason)}


def is_duplicate(reason: str) -> bool:
    """Tell whether an error says that the id is there already, which is what delivery is for."""
    return "duplicate key" in reason.lower()
