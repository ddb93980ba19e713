"""Calls about the journal of events, and waiting for new ones."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mahavishnu_pools.schemas.event import Event
from mahavishnu_pools.store import keys
from mahavishnu_pools.store.calls import Call, pairs
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.logs import entry_order
from mahavishnu_pools.store.server import LOST

#: Kinds of events, each in a stream of its own: of pools and nodes, of tasks, and those that programs told.
KINDS = ("pools", "tasks", "programs")

#: Events of programs that are kept.
TOLD_MOST = 10_000

#: Events read in one call.
READ_MOST = 500

#: Fields of an entry that are no details.
_HEAD = ("type", "pool", "name", "task", "data")

#: Details that are numbers; the streams hold texts.
_NUMBERS = frozenset({"seconds", "due", "ends", "before", "after", "workers", "held"})


def read_older(
    kind: str, *, before: str = "+", since: datetime | None = None, most: int = READ_MOST
) -> Call[list[Event]]:
    """Read at most ``most`` events of a kind, the newest first, before an entry (``+``: the last)."""
    end = before if before == "+" else f"({before}"
    start = "-" if since is None else str(int(since.timestamp() * 1000))
    return Call("events_read", (kind, end, start, most, "1"), lambda reply: _events(kind, reply))


def read_newer(kind: str, *, after: str) -> Call[list[Event]]:
    """Read at most ``READ_MOST`` events of a kind behind an entry, the oldest first."""
    return Call("events_read", (kind, f"({after}", "+", READ_MOST, "0"), lambda reply: _events(kind, reply))


def note_event(kind: str, details: Mapping[str, Any], *, pool_id: str = "", task_id: str = "") -> Call[str]:
    """Note an event of a type; returns its id. ``details`` must be JSON."""
    text = json.dumps(details)
    arguments = (secrets.token_hex(8), kind, pool_id, task_id, text, TOLD_MOST)
    return Call("event_note", arguments, lambda reply: f"programs:{reply}")


def note_lost_node(node: str) -> Call[bool]:
    """Note that a node has fallen silent; False when it beats, is unknown, or that was noted since it last did."""
    return Call("node_lost", (node,), bool)


def order(event: Event) -> tuple[int, ...]:
    """Return what orders events of all kinds; they have the time of one server."""
    kind, _, entry = event.event_id.partition(":")
    return (*entry_order(entry), KINDS.index(kind))


async def wait_for_events(store: AsyncStore, after: Mapping[str, str], *, seconds: float) -> None:
    """Wait until there is an event behind one of the entries (by kind), at most so long.

    A lost connection counts as the end of the waiting: the caller looks again and gets the error there.
    """
    streams: dict[Any, Any] = {keys.key("events", prefix=store.prefix, of=kind): entry for kind, entry in after.items()}
    try:
        await store.redis.xread(streams, block=int(min(seconds, store.timeout / 2) * 1000), count=1)
    except LOST:
        return


def _events(kind: str, reply: list[Any]) -> list[Event]:
    return [_event(kind, entry, pairs(flat)) for entry, flat in reply]


def _event(kind: str, entry: str, fields: dict[str, str]) -> Event:
    details: dict[str, Any] = json.loads(fields["data"]) if "data" in fields else {}
    for name, value in fields.items():
        if name not in _HEAD and value != "":
            details[name] = _number(value) if name in _NUMBERS else value
    return Event(
        event_id=f"{kind}:{entry}",
        at=datetime.fromtimestamp(entry_order(entry)[0] / 1000, UTC),
        type=fields["type"],
        pool_id=fields.get("pool") or None,
        pool=fields.get("name") or None,
        task_id=fields.get("task") or None,
        details=details,
    )


def _number(text: str) -> float | int | str:
    try:
        number = float(text)
    except ValueError:  # the status a pool had before
        return text
    return int(number) if number.is_integer() and "." not in text else number
