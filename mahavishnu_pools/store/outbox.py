"""Calls about the outbox of outcomes and the sinks it is delivered to."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mahavishnu_pools.store.calls import Argument, Call, OutboxLimits, pairs

#: The sinks, in the order of delivery.
SINKS = ("session_buddy", "akosha")

#: Before the first entry.
START = "0-0"

#: Seconds a deliverer has a sink without a sign of life.
HOLD_SECONDS = 6.0

#: Seconds after the first failure until a sink is tried again, doubled by each further one, and the most.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0

#: Records a sink refused that are kept, the newest, and for how many seconds.
ASIDE_MOST, ASIDE_SECONDS = 1000, 30 * 86400.0

#: Characters of an error that are kept.
_ERROR_MOST = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """One outcome. Numbers have no gaps but for outcomes that were dropped; ``fields`` are what the scripts noted."""

    entry: str
    number: int
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SinkState:
    """How far a sink is. ``ready`` is False while it is left alone after failures.

    ``taken`` is the last entry it took, ``dropped`` what was cut off or could not be noted before it had it, ``aside``
    what it refused and is kept for another try, ``refused`` all it ever refused.
    """

    cursor: str
    number: int
    taken: str | None
    pending: int
    delivered: int
    dropped: int
    aside: int
    refused: int
    failures: int
    error: str | None
    last_success: datetime | None
    ready: bool


def read_outbox(after: str, *, most: int) -> Call[list[Entry]]:
    """Read at most so many entries behind a cursor, fewer when they are large."""
    return Call("outbox_read", (after, most, int(OutboxLimits().seconds * 1000)), _entries)


def read_entry(entry: str) -> Call[Entry | None]:
    """Read one entry; None when it is no more there."""
    return Call("outbox_entry", (entry,), lambda reply: next(iter(_entries(reply)), None))


def read_outbox_id() -> Call[str]:
    """Read the random name of this outbox, which another server, or this one after it was emptied, does not have."""

    def parse(reply: str) -> str:
        return reply

    return Call("outbox_id", (secrets.token_hex(8),), parse)


def _entries(reply: list[Any]) -> list[Entry]:
    entries = [(entry, pairs(flat)) for entry, flat in reply]
    return [Entry(entry, int(fields.pop("n", 0)), fields) for entry, fields in entries]


def take_sink(sink: str, *, owner: str) -> Call[bool]:
    """Have a sink for one deliverer, who keeps it by confirming or taking it again; False: another one has it."""
    return Call("sink_take", (sink, owner, int(HOLD_SECONDS * 1000)), bool)


def release_sink(sink: str, *, owner: str) -> Call[bool]:
    """Give a sink back."""
    return Call("sink_release", (sink, owner), bool)


@dataclass(frozen=True, slots=True)
class Refused:
    """A record, as JSON, that a sink refused, and why."""

    memory_id: str
    reason: str
    record: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What a sink has confirmed behind the cursor ``before``, up to the entry ``cursor`` with its ``number``.

    ``taken`` is the last entry it took (empty: none), ``aside`` what it refused.
    """

    before: str
    cursor: str
    number: int
    delivered: int
    dropped: int = 0
    taken: str = ""
    aside: Sequence[Refused] = ()


def confirm(sink: str, progress: Progress, *, owner: str) -> Call[bool]:
    """Move a sink's cursor; False when another one has the sink now."""
    p, hold = progress, int(HOLD_SECONDS * 1000)
    moved: tuple[Argument, ...] = (p.before, p.cursor, p.number, p.delivered, p.dropped, p.taken)
    told = [part for one in p.aside for part in (one.memory_id, one.reason[:_ERROR_MOST], one.record)]
    arguments = (sink, owner, hold, *moved, ASIDE_MOST, int(ASIDE_SECONDS * 1000), *told)
    return Call("sink_confirm", arguments, bool)


def fail(sink: str, error: str, *, owner: str) -> Call[bool]:
    """Note that a sink cannot be delivered to now; False when another one has the sink."""
    return Call("sink_fail", (sink, owner, error[:_ERROR_MOST], FIRST_PAUSE, LONGEST_PAUSE), bool)


def read_sinks(*sinks: str) -> Call[list[SinkState]]:
    """Read the states of sinks, in the order asked."""

    def parse(reply: list[Any]) -> list[SinkState]:
        last, now = int(reply[0]), float(reply[1])
        return [_state(pairs(flat), int(aside), int(first), last, now) for flat, aside, first in reply[2:]]

    return Call("sink_state", sinks, parse)


def _state(h: dict[str, str], aside: int, first: int, last: int, now: float) -> SinkState:
    """Return a state; ``first`` is the number of the first entry behind the cursor (-1: there is none)."""
    number, success = int(h.get("number", 0)), h.get("last_success")
    gone = max(0, (first - 1 if first >= 0 else last) - number)
    return SinkState(
        cursor=h.get("cursor", START),
        number=number,
        taken=h.get("taken"),
        pending=max(0, last - number - gone),
        delivered=int(h.get("delivered", 0)),
        dropped=int(h.get("dropped", 0)) + gone,
        aside=aside,
        refused=int(h.get("aside", 0)),
        failures=int(h.get("failures", 0)),
        error=h.get("error"),
        last_success=datetime.fromtimestamp(float(success), UTC) if success else None,
        ready=now >= float(h.get("not_before", 0)),
    )
