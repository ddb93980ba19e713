"""Calls about the live logs of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from mahavishnu_pools.schemas.agent_event import AGENT, AgentEvent, read_events
from mahavishnu_pools.store.calls import Argument, Call

#: Pieces read in one call.
READ_MOST = 500

#: Before the first piece of a log.
START = "0-0"


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A piece of a task's output. ``stream`` is stdout, stderr or system (a remark of ours); ``entry`` orders pieces.

    Of AI programs whose lines are understood, those are in ``raw``, and what they tell in ``agent``: ``events``.
    ``after_cut`` is True for the first piece behind a place where output was left out.
    """

    entry: str
    stream: str
    text: str
    after_cut: bool = False

    @property
    def events(self) -> list[AgentEvent]:
        """Return what an AI program did, empty for other output."""
        return read_events(self.text) if self.stream == AGENT else []


def write_log(task_id: str, pieces: Sequence[tuple[str, str]], *, ttl: float) -> Call[list[str]]:
    """Append (stream, text) pieces to a task's log, kept ``ttl`` seconds after the last one; returns the entries' ids.

    The call may be repeated until the next one for this log.
    """
    flat: list[Argument] = [task_id, int(ttl * 1000), token_hex(6)]
    for stream, text in pieces:
        flat.extend((stream, text))
    return Call("log_write", tuple(flat), list)


def drop_log(task_id: str, entries: Sequence[str], *, mark_after: str | None) -> Call[bool]:
    """Remove entries from the middle of a log; ``mark_after`` is where the cut begins (None: it is marked already)."""
    return Call("log_drop", (task_id, "1" if mark_after else "0", *entries), bool)


def read_log(task_id: str, *, after: str = START) -> Call[list[LogPiece]]:
    """Read at most ``READ_MOST`` pieces of a task's log that come after an entry."""

    def parse(reply: list[Any]) -> list[LogPiece]:
        cut, pieces = reply[0], []
        seen = after
        for entry, stream, text in reply[1:]:
            crossed = bool(cut) and entry_order(seen) < entry_order(cut) <= entry_order(entry)
            pieces.append(LogPiece(entry, stream, text, after_cut=crossed))
            seen = entry
        return pieces

    return Call("log_read", (task_id, after, READ_MOST), parse)


def entry_order(entry: str) -> tuple[int, ...]:
    """Return what orders the entries of a stream."""
    return tuple(int(part) for part in entry.split("-"))
