"""Takes an AI program's lines as they come: into the task's log, its record and its answer."""

from __future__ import annotations

import logging
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools.schemas.agent_event import AGENT, RAW, AgentEvent

from .agent_record import AgentRecord
from .capture import cut_text
from .cli_output import AnswerReader, read_event
from .interface import LogSink

#: A program's own line is cut in its middle beyond this (bytes): what tools answered may be as long as files are.
LINE_MOST = 256 * 1024

logger = logging.getLogger(__name__)


class AgentLog:
    """One run of a program. A line that is understood is kept as it is and told as events, any other is its output."""

    def __init__(self, reader: AnswerReader, *, log: LogSink, cwd: str) -> None:
        self._reader = reader
        self._log = log
        self._record = AgentRecord(cwd)

    def feed(self, line: str) -> None:
        """Take one line."""
        event = read_event(line)
        events = None
        if event is not None:
            self._reader.take(event)
            events = self._events(event)
        if events is None:
            self._log.write("stdout", f"{line}\n".encode("utf-8", "replace"))
            return
        # The events first: a log that has much to write takes no more for a moment, and they say what matters.
        for one in events:
            self._log.write(AGENT, f"{one.model_dump_json(exclude_none=True)}\n".encode())
        self._log.write(RAW, f"{cut_text(line, limit=LINE_MOST)}\n".encode())

    def summary(self) -> dict[str, JsonValue]:
        """Return what the run did, for the result's metadata."""
        return self._record.summary()

    def _events(self, event: dict[str, Any]) -> list[AgentEvent] | None:
        try:
            return self._record.read(event)
        except Exception:  # the border of strangers' events: whatever is in one, it is output, and the task goes on
            logger.debug("An event of an AI program is not understood", exc_info=True)
            return None
