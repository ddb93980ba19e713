"""News of worker groups: one JSON line each, through a pipe that outlives every controller."""

from __future__ import annotations

import json
import logging
import os
import select
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

#: A detail longer than this many characters is cut, so that one that matters still fits into a line.
_LONGEST_TEXT = 200

#: A line that has not ended after so many bytes is none of ours, which are written whole.
_LONGEST_LINE = 64 * 1024


@dataclass(frozen=True, slots=True)
class News:
    """What one group said."""

    pool_id: str
    pid: int
    event: str
    detail: dict[str, Any]


class NewsWriter:
    """A group's end of the pipe. A line is written whole or not at all; a full pipe (no controller) loses it."""

    def __init__(self, fd: int, *, pool_id: str) -> None:
        self._fd = fd
        self._pool_id = pool_id

    def __call__(self, event: str, detail: dict[str, Any]) -> None:
        """Tell the controller."""
        line = self._line(event, detail)
        if len(line) > select.PIPE_BUF:
            line = self._line(event, {name: _cut(value) for name, value in detail.items()})
        if len(line) > select.PIPE_BUF:
            line = self._line(event, {})
        try:
            os.write(self._fd, line)
        except (BlockingIOError, BrokenPipeError) as exc:
            logger.warning("News %r of pool %s could not be told: %s", event, self._pool_id, exc)

    def _line(self, event: str, detail: dict[str, Any]) -> bytes:
        record = {"pool_id": self._pool_id, "pid": os.getpid(), "event": event, "detail": detail}
        return json.dumps(record, default=str).encode() + b"\n"


class NewsReader:
    """The controller's end: makes news of received pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[News]:
        """Take the next piece and return the news that are complete now; a damaged line is logged and left out."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        found = []
        for line in lines:
            try:
                found.append(_read(line))
            except (ValueError, TypeError, KeyError, RecursionError) as exc:
                logger.warning("A line of news cannot be read: %s", exc)
        return found


def _read(line: bytes) -> News:
    raw = json.loads(line)
    pool_id, pid, event, detail = raw["pool_id"], raw["pid"], raw["event"], raw["detail"]
    if not (isinstance(pool_id, str) and type(pid) is int and isinstance(event, str) and isinstance(detail, dict)):
        raise ValueError("a field has another type")
    return News(pool_id, pid, event, detail)


def _cut(value: Any) -> Any:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else value
