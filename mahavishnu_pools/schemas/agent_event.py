"""What an AI program did while it ran, as events: its session, words, tools, files, tokens, and its end."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from mahavishnu_pools.schemas.base import MappingValue

#: The stream of a task's log that holds these events, one a line as JSON; and that of the program's own lines.
AGENT, RAW = "agent", "raw"


class AgentStarted(MappingValue):
    """Its session began, or goes on; ``tools`` are those it may use."""

    kind: Literal["started"] = "started"
    session_id: str | None = None
    model: str | None = None
    tools: tuple[str, ...] = ()


class AgentText(MappingValue):
    """It said something; a long text comes in several. ``sub``: one of its sub-agents said it."""

    kind: Literal["text"] = "text"
    text: str
    sub: bool = False


class AgentThinking(MappingValue):
    """It thought something; shown only to who asks for it."""

    kind: Literal["thinking"] = "thinking"
    text: str
    sub: bool = False


class AgentToolCall(MappingValue):
    """It called a tool; ``input`` is the beginning of what it gave to it, without what looks like a secret."""

    kind: Literal["tool_call"] = "tool_call"
    call_id: str
    tool: str
    input: str = ""
    sub: bool = False


class AgentToolResult(MappingValue):
    """A tool answered; ``size`` is the length of the answer in characters."""

    kind: Literal["tool_result"] = "tool_result"
    call_id: str
    tool: str | None = None
    ok: bool
    size: int


class AgentFile(MappingValue):
    """A tool has written a file; ``path`` is relative to the directory the task runs in, or absolute outside of it."""

    kind: Literal["file"] = "file"
    path: str


class AgentUsage(MappingValue):
    """Tokens that this run has used so far."""

    kind: Literal["usage"] = "usage"
    input_tokens: int
    output_tokens: int


class AgentFinished(MappingValue):
    """It ended by itself. Cost is in US dollars; what the program does not tell is None."""

    kind: Literal["finished"] = "finished"
    ok: bool
    turns: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    seconds: float | None = None
    error: str | None = None


AgentEvent = Annotated[
    AgentStarted | AgentText | AgentThinking | AgentToolCall | AgentToolResult | AgentFile | AgentUsage | AgentFinished,
    Field(discriminator="kind"),
]

_EVENT: TypeAdapter[AgentEvent] = TypeAdapter(AgentEvent)


def read_events(text: str) -> list[AgentEvent]:
    """Return the events in the lines of a log's stream ``agent``; what cannot be read is left out."""
    found: list[AgentEvent] = []
    for line in text.split("\n"):
        try:
            found.append(_EVENT.validate_json(line))
        except ValidationError:
            continue  # half a line beside a cut, or an event of a later version
    return found
