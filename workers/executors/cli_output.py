"""Reads the event streams of AI programs: one JSON event a line, the answer in the last one.

Pure and tolerant: a line that is no event is skipped, a stream that breaks off leaves what was understood so far.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue

from .interface import Retryable

#: An answer made of many pieces is kept up to this many characters; the final event holds the whole one anyway.
_MAX_PIECES = 1024 * 1024

#: Values of events nested deeper than this are left out.
_DEEPEST = 30

#: How qwen begins an answer that is none: its own exit code and event say that all went well.
API_ERROR = "[API Error:"

_HOPELESS = re.compile(r"(?i)insufficient[_ ]quota|exceeded your current quota|credit balance|billing")
_CAUSES: tuple[tuple[Retryable, re.Pattern[str]], ...] = (
    (
        "rate_limit",
        re.compile(r"(?i)\b429\b|rate[ _-]?limit|too many requests|usage limit reached|resource[_ ]exhausted"),
    ),
    ("overload", re.compile(r"(?i)\b(529|503)\b|overloaded|service unavailable|temporarily unavailable")),
    (
        "connection",
        re.compile(
            r"(?i)ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE|connection (error|refused|reset|closed)"
            r"|fetch failed|socket hang up|network error|\b(502|504)\b|unable to connect"
        ),
    ),
)
_RESETS_AT = re.compile(r"(?i)limit reached\|(\d{10})\b")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of an AI program's answer so far.

    ``recognised`` tells whether any event was understood, ``finished`` whether the final one came. ``error`` is what
    the program says went wrong.
    """

    text: str = ""
    recognised: bool = False
    finished: bool = False
    error: str | None = None
    metadata: dict[str, JsonValue] = field(default_factory=dict)


Step = Callable[[Answer, dict[str, Any]], Answer]


class AnswerReader:
    """Takes an event stream line by line."""

    def __init__(self, output: str) -> None:
        self._step = STEPS[output]
        self.answer = Answer()

    def feed(self, line: str) -> None:
        """Take one line."""
        event = read_event(line)
        if event is not None:
            self.take(event)

    def take(self, event: dict[str, Any]) -> None:
        """Take one event."""
        self.answer = self._step(self.answer, event)


def cause_of(message: str) -> Retryable | None:
    """Return why another attempt may succeed, judged by an error message, or None when it will not."""
    if _HOPELESS.search(message):
        return None
    return next((cause for cause, pattern in _CAUSES if pattern.search(message)), None)


def read_event(line: str) -> dict[str, Any] | None:
    """Return the event in a line, None when there is none."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        event = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None


# ── claude and qwen ──────────────────────────────────────────────────────────────────────────────────────────────────


def _claude_step(answer: Answer, event: dict[str, Any]) -> Answer:
    kind = event["type"]
    if kind == "system":
        return replace(answer, recognised=True, metadata={**answer.metadata, **_named(event, "session_id", "model")})
    if kind == "assistant":
        text = _message_text(event.get("message")) if event.get("parent_tool_use_id") is None else ""
        return replace(answer, recognised=True, text=text or answer.text)
    if kind == "result":
        return _claude_result(answer, event)
    return answer


def _claude_result(answer: Answer, event: dict[str, Any]) -> Answer:
    names = (
        "session_id",
        "num_turns",
        "duration_ms",
        "duration_api_ms",
        "total_cost_usd",
        "usage",
        "modelUsage",
        "stats",
    )
    metadata = {**answer.metadata, **_named(event, *names)}
    said = event.get("result")
    text = said if isinstance(said, str) else answer.text
    error: str | None = None
    if event.get("is_error") is True or str(event.get("subtype", "success")) != "success":
        error = _first_text(said, _message_of(event.get("error")), event.get("errors"), event.get("subtype"))
    elif text.lstrip().startswith(API_ERROR):
        error = text.strip()
    status = event.get("api_error_status")
    if error is not None and isinstance(status, (int, str)):
        metadata["api_error_status"] = status
        error = error if str(status) in error else f"{error} (status {status})"
    resets = _RESETS_AT.search(error or "")
    if resets:
        metadata["limit_resets_at"] = int(resets[1])
    return Answer(text=text, recognised=True, finished=True, error=error, metadata=metadata)


def _message_text(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


# ── codex and gemini (from their documents, not yet observed) ────────────────────────────────────────────────────────


def _codex_step(answer: Answer, event: dict[str, Any]) -> Answer:
    kind = event["type"]
    if kind == "thread.started":
        session = _named(event, "thread_id").get("thread_id")
        return replace(answer, recognised=True, metadata={**answer.metadata, "session_id": session})
    if kind == "item.completed":
        item = event.get("item")
        is_message = (
            isinstance(item, dict) and item.get("type") == "agent_message" and isinstance(item.get("text"), str)
        )
        return replace(answer, recognised=True, text=item["text"] if is_message and item else answer.text)
    if kind == "turn.completed":
        metadata = {**answer.metadata, **_named(event, "usage")}
        return replace(answer, recognised=True, finished=True, error=None, metadata=metadata)
    if kind == "turn.failed":
        return replace(answer, recognised=True, finished=True, error=_first_text(_message_of(event.get("error")), kind))
    if kind == "error":
        # Not the end: the program reports its own new attempts in this way.
        return replace(answer, recognised=True, error=_first_text(event.get("message"), kind))
    return answer


def _gemini_step(answer: Answer, event: dict[str, Any]) -> Answer:
    kind = event["type"]
    if kind == "init":
        return replace(answer, recognised=True, metadata={**answer.metadata, **_named(event, "session_id", "model")})
    if kind == "message" and event.get("role") == "assistant" and isinstance(event.get("content"), str):
        text = answer.text + event["content"] if event.get("delta") else event["content"]
        return replace(answer, recognised=True, text=text[:_MAX_PIECES])
    if kind == "result":
        failed = str(event.get("status", "success")) != "success"
        error = _first_text(_message_of(event.get("error")), answer.error, event.get("status")) if failed else None
        metadata = {**answer.metadata, **_named(event, "stats")}
        return replace(answer, recognised=True, finished=True, error=error, metadata=metadata)
    if kind == "error" and event.get("severity") != "warning":
        return replace(answer, recognised=True, error=_first_text(event.get("message"), kind))
    return answer


#: How each output format goes from one state to the next.
STEPS: dict[str, Step] = {
    "claude-json": _claude_step,
    "qwen-json": _claude_step,
    "codex-json": _codex_step,
    "gemini-json": _gemini_step,
}


def _named(event: dict[str, Any], *names: str) -> dict[str, JsonValue]:
    return {name: event[name] for name in names if event.get(name) is not None and _is_plain(event[name])}


def _is_plain(value: Any, *, depth: int = _DEEPEST) -> bool:
    """Tell whether a value can be stored as JSON: not nested without end, and no infinite number."""
    if isinstance(value, float):
        return math.isfinite(value)
    if not isinstance(value, (list, dict)):
        return True
    inner = value if isinstance(value, list) else value.values()
    return depth > 0 and all(_is_plain(item, depth=depth - 1) for item in inner)


def _message_of(error: Any) -> Any:
    return error.get("message") if isinstance(error, dict) else error


def _first_text(*candidates: Any) -> str:
    for candidate in candidates:
        if isinstance(candidate, list):
            candidate = "; ".join(str(part) for part in candidate)
        if isinstance(candidate, str) and candidate.strip():
            return candidate.strip()
    return "the program reports an error without saying which"
