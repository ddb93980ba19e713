"""Makes typed events of what claude and qwen tell of themselves, and sums a run up. Pure and tolerant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools.memory.records import masked
from mahavishnu_pools.schemas.agent_event import (
    AgentEvent,
    AgentFile,
    AgentFinished,
    AgentStarted,
    AgentText,
    AgentThinking,
    AgentToolCall,
    AgentToolResult,
    AgentUsage,
)
from mahavishnu_pools.wording import whole

from .cli_output import API_ERROR
from .usage import usage_of

#: Output formats that are understood here.
UNDERSTOOD = frozenset({"claude-json", "qwen-json"})

#: Characters of a text in one event; as JSON it fits into one entry of a log, however odd its characters are.
TEXT_MOST = 2_500

#: Characters shown of what a tool was given, and looked at for that.
INPUT_SHOWN, INPUT_READ = 200, 2_000

#: Names longer than this are cut (tools, models, ids), and paths (characters).
NAME_MOST, PATH_MOST = 100, 300

#: So many different tools, files, and calls whose answer is awaited are remembered of a run.
TOOLS_MOST, FILES_MOST, OPEN_MOST = 50, 100, 1_000

#: Messages that may still come again, with other parts.
MESSAGES_MOST = 100

#: What says best what a tool was called for, the best one first.
_TELLING = ("command", "file_path", "notebook_path", "absolute_path", "path", "pattern", "url", "query", "description")

#: Tools that write files, and the inputs that name the file.
_WRITERS = frozenset({"write", "edit", "multiedit", "notebookedit", "write_file", "replace"})
_PATHS = ("file_path", "notebook_path", "absolute_path", "path")


class AgentRecord:
    """Takes the events of one run as its program writes them. ``cwd`` is the directory it runs in."""

    def __init__(self, cwd: str) -> None:
        self._cwd = PurePosixPath(cwd)
        self._calls: dict[str, tuple[str, str | None]] = {}
        self._tools: dict[str, int] = {}
        self._files: dict[str, None] = {}
        self._usage: dict[str, tuple[int, int]] = {}
        self._used_before = (0, 0)
        self._ended: AgentFinished | None = None
        self._about: dict[str, JsonValue] = {}

    def read(self, event: dict[str, Any]) -> list[AgentEvent] | None:
        """Return what an event tells, which may be nothing; None when it is of an unknown kind."""
        kind = event.get("type")
        if kind == "system":
            return [self._started(event)] if event.get("subtype") == "init" else None
        if kind in ("assistant", "user"):
            said = _content(event)
            return None if said is None else list(self._message(event, said))
        if kind == "result":
            self._ended = self._finished(event)
            return [self._ended]
        return None

    def summary(self) -> dict[str, JsonValue]:
        """Return what goes into a result's metadata; what is not known is left out."""
        tokens = self._tokens()
        ended = self._ended
        if ended is not None and ended.input_tokens is not None and ended.output_tokens is not None:
            tokens = (ended.input_tokens, ended.output_tokens)
        found: dict[str, JsonValue] = {
            **self._about,
            "tools": {**self._tools},
            "files": list(self._files),
            "tokens": {"input": tokens[0], "output": tokens[1]} if any(tokens) else None,
            "cost_usd": ended.cost_usd if ended else None,
            "turns": ended.turns if ended else None,
        }
        return {name: value for name, value in found.items() if value}

    def _started(self, event: dict[str, Any]) -> AgentStarted:
        given = event.get("tools")
        if isinstance(event.get("cwd"), str) and event["cwd"].startswith("/"):
            self._cwd = PurePosixPath(event["cwd"])  # as the program sees it, without links or through them
        tools = tuple(_name(tool) for tool in given[:TOOLS_MOST]) if isinstance(given, list) else ()
        session, model = _text(event.get("session_id")), _text(event.get("model"))
        self._about |= {name: value for name, value in (("session_id", session), ("model", model)) if value}
        return AgentStarted(session_id=session, model=model, tools=tools)

    def _message(self, event: dict[str, Any], said: list[Any]) -> Iterator[AgentEvent]:
        sub = isinstance(event.get("parent_tool_use_id"), str)
        for part in said:
            if not isinstance(part, dict):
                continue
            kind = part.get("type")
            if kind == "tool_result":
                yield from self._answered(part)
            elif event["type"] == "assistant" and kind == "tool_use":
                yield self._called(part, sub)
            elif event["type"] == "assistant" and kind in ("text", "thinking"):
                yield from _spoken(part, kind, sub)
        if event["type"] == "assistant" and (used := self._used(event["message"])):
            yield used

    def _called(self, part: dict[str, Any], sub: bool) -> AgentToolCall:
        call_id, tool, given = _name(part.get("id")), _name(part.get("name")), part.get("input")
        if tool in self._tools or len(self._tools) < TOOLS_MOST:
            self._tools[tool] = self._tools.get(tool, 0) + 1
        if len(self._calls) < OPEN_MOST:
            self._calls[call_id] = (tool, self._file(tool, given))
        return AgentToolCall(call_id=call_id, tool=tool, input=_shown(given, self._cwd), sub=sub)

    def _answered(self, part: dict[str, Any]) -> Iterator[AgentEvent]:
        call_id = _name(part.get("tool_use_id"))
        tool, path = self._calls.pop(call_id, (None, None))
        good = part.get("is_error") is not True
        yield AgentToolResult(call_id=call_id, tool=tool, ok=good, size=_size(part.get("content")))
        if good and path is not None:
            if len(self._files) < FILES_MOST:
                self._files[path] = None
            yield AgentFile(path=path)

    def _file(self, tool: str, given: Any) -> str | None:
        if tool.lower() not in _WRITERS or not isinstance(given, dict):
            return None
        named = next((given[name] for name in _PATHS if isinstance(given.get(name), str) and given[name]), None)
        if named is None:
            return None
        path = PurePosixPath(named)
        inside = path.is_relative_to(self._cwd) and ".." not in path.parts
        return whole(masked(str(path.relative_to(self._cwd) if inside else path)[:PATH_MOST]))

    def _used(self, message: Any) -> AgentUsage | None:
        """Note what a message used; it comes again with each of its parts, so it counts once by its id."""
        usage = message.get("usage")
        known = usage_of({"usage": usage}) if isinstance(usage, dict) else {}
        name = _name(message.get("id"))
        now = (int(known.get("input", 0)), int(known.get("output", 0)))
        if not known or self._usage.get(name) == now:
            return None
        self._usage[name] = now
        if len(self._usage) > MESSAGES_MOST:
            before = self._usage.pop(next(iter(self._usage)))
            self._used_before = (self._used_before[0] + before[0], self._used_before[1] + before[1])
        read, written = self._tokens()
        return AgentUsage(input_tokens=read, output_tokens=written)

    def _tokens(self) -> tuple[int, int]:
        used = (self._used_before, *self._usage.values())
        return sum(one[0] for one in used), sum(one[1] for one in used)

    def _finished(self, event: dict[str, Any]) -> AgentFinished:
        used = usage_of(event)
        read, written = int(used.get("input", 0)), int(used.get("output", 0))
        given = event.get("result")
        said = given if isinstance(given, str) else ""
        good = event.get("is_error") is not True and event.get("subtype", "success") == "success"
        good = good and not said.lstrip().startswith(API_ERROR)
        error = None if good else whole(said.strip()[:INPUT_SHOWN]) or _text(event.get("subtype"))
        return AgentFinished(
            ok=good,
            turns=_count(event.get("num_turns")),
            input_tokens=read if read or written else None,
            output_tokens=written if read or written else None,
            cost_usd=used.get("usd"),
            seconds=None if (took := _count(event.get("duration_ms"))) is None else took / 1000,
            error=error,
        )


def _content(event: dict[str, Any]) -> list[Any] | None:
    message = event.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, list) else None


def _spoken(part: dict[str, Any], kind: str, sub: bool) -> Iterator[AgentEvent]:
    text = part.get(kind)
    if not isinstance(text, str) or not text.strip():
        return
    make = AgentText if kind == "text" else AgentThinking
    for piece in _pieces(whole(text).strip("\n")):
        yield make(text=piece, sub=sub)


def _pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of bounded size, which end at line ends where there are any."""
    at = 0
    while len(text) - at > TEXT_MOST:
        end = text.rfind("\n", at + 1, at + TEXT_MOST)
        end = end if end > at else at + TEXT_MOST
        yield text[at:end]
        at = end + 1 if text[end] == "\n" else end
    yield text[at:]


def _shown(given: Any, cwd: PurePosixPath) -> str:
    """Return what says best what a tool was called for, short and without secrets."""
    named = [given[name] for name in _TELLING if isinstance(given.get(name), str)] if isinstance(given, dict) else []
    text = named[0] if named else json.dumps(given, ensure_ascii=False) if given else ""
    text = text[:INPUT_READ]
    if len(cwd.parts) > 1:
        text = text.replace(f"{cwd}/", "")
    text = " ".join(masked(whole(text)).split())
    return text if len(text) <= INPUT_SHOWN else text[: INPUT_SHOWN - 1] + "…"


def _size(content: Any) -> int:
    if isinstance(content, str):
        return len(content)
    if isinstance(content, list):
        return sum(_size(part.get("text", "")) for part in content if isinstance(part, dict))
    return 0


def _count(value: Any) -> int | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12
    return int(value) if good else None


def _name(value: Any) -> str:
    return _text(value) or "?"


def _text(value: Any) -> str | None:
    return whole(value[:NAME_MOST]) if isinstance(value, str) and value else None
