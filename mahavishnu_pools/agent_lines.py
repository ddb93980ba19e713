"""How pieces of a task's log are shown: events of AI programs as a line each, all else as it was printed. Pure."""

from __future__ import annotations

from mahavishnu_pools.schemas.agent_event import (
    AGENT,
    RAW,
    AgentEvent,
    AgentFile,
    AgentFinished,
    AgentStarted,
    AgentText,
    AgentThinking,
    AgentToolCall,
    AgentToolResult,
    AgentUsage,
    read_events,
)

#: Characters of a session's id that are shown.
_ID = 8


def shown(stream: str, text: str, *, raw: bool = False, thinking: bool = False) -> str:
    """Return a piece of a log as people read it, empty when it is not for them.

    With ``raw`` an AI program's own lines stand for its events. ``thinking`` shows what it thought, too.
    """
    if stream == RAW:
        return text if raw else ""
    if stream != AGENT:
        return text
    if raw:
        return ""
    found = (event for event in read_events(text) if thinking or event.kind != "thinking")
    return "".join(f"{line_of(event)}\n" for event in found)


def event_lines(stream: str, text: str, *, thinking: bool = False) -> str:
    """Return the events in a piece of a log as JSON, a line each; empty when it holds none."""
    if stream != AGENT:
        return ""
    found = (event for event in read_events(text) if thinking or event.kind != "thinking")
    return "".join(f"{event.model_dump_json(exclude_none=True)}\n" for event in found)


def line_of(event: AgentEvent) -> str:
    """Return an event as a line for people; what was said may have several."""
    if isinstance(event, (AgentText, AgentThinking)):
        mark = "… " if event.kind == "thinking" else ""
        return f"{'│ ' if event.sub else ''}{mark}{event.text}"
    if isinstance(event, AgentToolCall):
        return f"{'│ ' if event.sub else ''}→ {event.tool}{': ' + event.input if event.input else ''}"
    if isinstance(event, AgentToolResult):
        size = f"{event.size:,} characters" if event.size else "nothing"
        tool = event.tool or "a tool"
        return f"  ✓ {tool}: {size}" if event.ok else f"  ✗ {tool} failed: {size}"
    if isinstance(event, AgentFile):
        return f"  ✎ {event.path}"
    if isinstance(event, AgentStarted):
        return _joined("▶ Session", (event.session_id or "")[:_ID], event.model and f"with {event.model}")
    if isinstance(event, AgentUsage):
        return f"  {_tokens(event)}"
    return _finished(event)


def _finished(event: AgentFinished) -> str:
    parts = (
        f"{event.turns} {'turn' if event.turns == 1 else 'turns'}" if event.turns is not None else "",
        _tokens(event),
        f"${event.cost_usd:.4f}" if event.cost_usd is not None else "",
        f"{event.seconds:.1f} s" if event.seconds is not None else "",
    )
    facts = ", ".join(part for part in parts if part)
    head = "■ Finished" if event.ok else f"■ Failed: {event.error or 'it does not say why'}"
    return f"{head} ({facts})" if facts else head


def _tokens(event: AgentUsage | AgentFinished) -> str:
    if event.input_tokens is None or event.output_tokens is None:
        return ""
    return f"{event.input_tokens:,} tokens in, {event.output_tokens:,} out"


def _joined(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)
