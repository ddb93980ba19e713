"""What servers answer: read from bytes, and told from rubbish."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

#: What the text of a failure begins with on servers that report failures as successes.
FAILURE_SIGNS = ("❌", "⚠")

#: Characters of a server's own words that an error repeats.
MAX_REASON = 300


class NotAnAnswer(Exception):
    """What came is no JSON-RPC answer; the message completes "the server answered …"."""


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a tool answered.

    ``value`` is the structured content, taken out of ``{"result": …}`` where a server wraps it; None: there is none.
    ``failed`` is true for a tool error, and for a text that begins with ❌ or ⚠️, as Session-Buddy reports failures.
    """

    text: str
    value: JsonValue | None
    failed: bool


def message_of(body: bytes) -> dict[str, Any]:
    """Return the JSON-RPC message in some bytes.

    Raises:
        NotAnAnswer: they hold none.
    """
    if not body.strip():
        raise NotAnAnswer("nothing")
    try:
        message = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as exc:
        raise NotAnAnswer(f"something that is no JSON: {reason_of(body)}") from exc
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise NotAnAnswer(f"JSON that is no JSON-RPC message: {reason_of(body)}")
    return message


def is_answer(message: Mapping[str, Any], request_id: int) -> bool:
    """Tell whether a message answers a request; errors may come without an id."""
    given = message.get("id")
    return ("result" in message and given == request_id) or ("error" in message and given in (request_id, None))


def tool_answer(result: Mapping[str, Any]) -> ToolAnswer:
    """Return the answer of a tool from the result of ``tools/call``.

    Raises:
        NotAnAnswer: it is no result of a tool.
    """
    parts = result.get("content", [])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise NotAnAnswer("a result without a list of contents")
    text = "\n".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")
    value = result.get("structuredContent")
    if isinstance(value, dict) and set(value) == {"result"}:
        value = value["result"]
    failed = result.get("isError") is True or text.lstrip().startswith(FAILURE_SIGNS)
    return ToolAnswer(text=text, value=value, failed=failed)


def reason_of(body: bytes) -> str:
    """Return what a server says in an answer that is no success, short and in one line; empty when it says nothing."""
    text = body[: 20 * MAX_REASON].decode("utf-8", errors="replace").strip()
    if text[:1] == "<":
        title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        text = f"an HTML page{f' ({title[1]})' if title else ''}"
    else:
        text = _said_in_json(text) or text
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON else line[:MAX_REASON] + "…"


def _said_in_json(text: str) -> str | None:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for name in ("error", "error_description", "message", "detail"):
        if isinstance(said, dict) and said.get(name):
            said = said[name]
    return said if isinstance(said, str) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
