"""Calls about the outbox of outcomes and the sinks it is delivered to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mahavishnu_pools.store.calls import Call, pairs

#: The sinks, in the order of delivery.
SINKS = ("session_buddy", "akosha")

#: Before the first entry.
START = "0-0"

#: Seconds an entry is kept, delivered or not.
KEPT_SECONDS = 7 * 86400.0

#: Seconds a deliverer has a sink without a sign of life.
HOLD_SECONDS = 60.0

#: Seconds after the first failure until a sink is tried again, doubled by each further one, and the most.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0

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
    """How far a sink is. ``ready`` is False while it is left alone after failures; ``aside`` counts refused records."""

    cursor: str
    number: int
    pending: int
    delivered: int
    dropped: int
    aside: int
    failures: int
    error: str | None
    last_success: datetime | None
    ready: bool


def read_outbox(after: str, *, most: int) -> Call[list[Entry]]:
    """Read at most so many entries behind a cursor, fewer when they are large."""

    def parse(reply: list[Any]) -> list[Entry]:
        entries = [(entry, pairs(flat)) for entry, flat in reply]
        return [Entry(entry, int(fields.pop("n", 0)), fields) for entry, fields in entries]

    return Call("outbox_read", (after, most, int(KEPT_SECONDS * 1000)), parse)


def take_sink(sink: str, *, owner: str) -> Call[bool]:
    """Have a sink for one deliverer, who keeps it by confirming or taking it again; False: another one has it."""
    return Call("sink_take", (sink, owner, int(HOLD_SECONDS * 1000)), bool)


def release_sink(sink: str, *, owner: str) -> Call[bool]:
    """Give a sink back."""
    return Call("sink_release", (sink, owner), bool)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a sink has confirmed behind the cursor ``before``, up to the entry ``cursor`` with its ``number``."""

    before: str
    cursor: str
    number: int
    delivered: int
    dropped: int = 0
    aside: int = 0


def confirm(sink: str, progress: Progress, *, owner: str) -> Call[bool]:
    """Move a sink's cursor; False when another one has the sink now."""
    p, hold = progress, int(HOLD_SECONDS * 1000)
    arguments = (sink, owner, hold, p.before, p.cursor, p.number, p.delivered, p.dropped, p.aside)
    return Call("sink_confirm", arguments, bool)


def fail(sink: str, error: str, *, owner: str) -> Call[bool]:
    """Note that a sink cannot be delivered to now; False when another one has the sink."""
    return Call("sink_fail", (sink, owner, error[:_ERROR_MOST], FIRST_PAUSE, LONGEST_PAUSE), bool)


def read_sinks(*sinks: str) -> Call[list[SinkState]]:
    """Read the states of sinks, in the order asked."""

    def parse(reply: list[Any]) -> list[SinkState]:
        last, now = int(reply[0]), float(reply[1])
        return [_state(pairs(flat), last, now) for flat in reply[2:]]

    return Call("sink_state", sinks, parse)


def _state(h: dict[str, str], last: int, now: float) -> SinkState:
    number, success = int(h.get("number", 0)), h.get("last_success")
    return SinkState(
        cursor=h.get("cursor", START),
        number=number,
        pending=max(0, last - number),
        delivered=int(h.get("delivered", 0)),
        dropped=int(h.get("dropped", 0)),
        aside=int(h.get("aside", 0)),
        failures=int(h.get("failures", 0)),
        error=h.get("error"),
        last_success=datetime.fromtimestamp(float(success), UTC) if success else None,
        ready=now >= float(h.get("not_before", 0)),
    )
