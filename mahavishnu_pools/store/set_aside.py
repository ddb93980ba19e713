"""Calls about the records that sinks refused while they took others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mahavishnu_pools.store.calls import Call, pairs
from mahavishnu_pools.store.outbox import ASIDE_SECONDS


@dataclass(frozen=True, slots=True)
class Aside:
    """A record, as JSON, that a sink refused at a moment, and why."""

    entry: str
    memory_id: str
    reason: str
    record: str
    moment: datetime


def read_aside(sink: str, after: str, *, most: int) -> Call[list[Aside]]:
    """Read at most so many of a sink's refused records behind one of them, the oldest first."""

    def parse(reply: list[Any]) -> list[Aside]:
        return [_aside(entry, pairs(flat)) for entry, flat in reply]

    return Call("aside_read", (sink, after, most, int(ASIDE_SECONDS * 1000)), parse)


def drop_aside(sink: str, entries: Sequence[str], *, delivered: bool) -> Call[int]:
    """Forget records, because the sink has them now, or nobody wants them; return how many there were."""
    return Call("aside_drop", (sink, int(delivered), *entries), int)


def _aside(entry: str, fields: dict[str, str]) -> Aside:
    moment = datetime.fromtimestamp(int(entry.partition("-")[0]) / 1000, UTC)
    return Aside(entry, fields["memory_id"], fields["reason"], fields["record"], moment)
