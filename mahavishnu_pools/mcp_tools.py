"""Tools for MCP clients: what one is, what it answers, and how a call becomes an answer whatever goes wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, JsonValue, ValidationError

from mahavishnu_pools import errors
from mahavishnu_pools.refusals import invalid_field
from mahavishnu_pools.wording import whole, whole_value

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server
    from mcp_types import CallToolResult

logger = logging.getLogger(__name__)

#: Bytes one request may have.
MAX_REQUEST_BYTES = 8 * 1024 * 1024

#: What a tool with a documented result answers instead when it was refused or failed.
ERROR_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object"},
            },
            "required": ["code", "message", "details"],
        }
    },
    "required": ["error"],
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool answers: a text for people, and the same as JSON for programs."""

    text: str
    value: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who waits for an answer.

    ``wants_progress`` tells whether ``report(progress, message)`` reaches somebody. ``gave_up`` tells, when a call is
    cancelled, whether the client asked for that; otherwise its connection or the server ended.
    """

    report: Callable[[float, str], Awaitable[None]]
    gave_up: Callable[[], bool]
    wants_progress: bool = False


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: ``call`` gets a value of the model ``arguments``; an error of this project is told to the client.

    ``result`` is the model of the JSON it answers (None: not documented). ``attended`` tools get the ``Caller`` as
    well. ``reads`` tells clients that it changes nothing.
    """

    name: str
    description: str
    arguments: type[BaseModel]
    call: Callable[..., Awaitable[Answer]]
    result: type[BaseModel] | None = None
    attended: bool = False
    reads: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What is shown at a path beside the tools: status, media type and body. ``tokens``: one is needed, none: open."""

    read: Callable[[], Awaitable[tuple[int, str, bytes]]]
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """A set of tools under one name; ``health`` adds to what the health addresses answer, in a thread.

    With a ``token``, or several in ``tokens``, every request but those for health and ``pages`` must have the header
    ``Authorization: Bearer <token>`` with one of them. ``routes`` makes further routes of starlette; those at ``free``
    need no token. ``streams`` lets answers be streams, which progress needs.
    ``stopping`` is set when the server was told to stop. ``reword`` puts an error's message into a client's words.
    """

    name: str
    version: str
    tools: Sequence[Tool]
    instructions: str = ""
    token: str | None = field(default=None, repr=False)
    health: Callable[[], Mapping[str, JsonValue]] = dict
    max_request_bytes: int = MAX_REQUEST_BYTES
    tokens: Collection[str] = field(default=(), repr=False)
    pages: Mapping[str, Page] = field(default_factory=dict, repr=False)
    routes: Callable[[], Sequence[Any]] = field(default=tuple, repr=False)
    free: tuple[str, ...] = ()
    streams: bool = False
    stopping: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    reword: Callable[[str], str] = str

    @property
    def accepted(self) -> Collection[str]:
        """Return every token that lets somebody in, as it is at each look; none: nobody is asked."""
        return self.tokens if self.token is None else (*self.tokens, self.token)


def mcp_server(service: Service) -> Server[Any]:
    """Return the tools of a service as a server of the official SDK, which must be installed."""
    import mcp_types
    from mcp.server.lowlevel import Server

    tools = {tool.name: tool for tool in service.tools}
    shown = [
        mcp_types.Tool(
            name=tool.name,
            description=tool.description,
            input_schema=input_schema(tool),
            output_schema=output_schema(tool),
            annotations=mcp_types.ToolAnnotations(read_only_hint=True) if tool.reads else None,
        )
        for tool in service.tools
    ]

    async def list_tools(_: Any, __: Any) -> mcp_types.ListToolsResult:
        return mcp_types.ListToolsResult(tools=shown)

    async def call_tool(context: ServerRequestContext, params: mcp_types.CallToolRequestParams) -> CallToolResult:
        caller = _caller(context, service.stopping)
        return await _call(tools, params.name, params.arguments or {}, caller, service.reword)

    return Server(
        service.name,
        version=service.version,
        instructions=service.instructions or None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def input_schema(tool: Tool) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments."""
    return {"properties": {}, **_untitled(tool.arguments.model_json_schema())}


def output_schema(tool: Tool) -> dict[str, Any] | None:
    """Return the JSON schema of what a tool answers, an error included; None: it has no documented one."""
    if tool.result is None:
        return None
    schema = _untitled(tool.result.model_json_schema(mode="serialization"))
    shared = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
    # An error is an answer too, and some clients hold every answer against the schema.
    return {"type": "object", "anyOf": [schema, dict(ERROR_SCHEMA)], **shared}


def _caller(context: ServerRequestContext, stopping: asyncio.Event) -> Caller:
    from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

    session = context.session

    async def report(progress: float, message: str) -> None:
        await session.report_progress(progress, None, message)

    def gave_up() -> bool:
        # The SDK shows handlers only that they are cancelled; why, it keeps to itself.
        if session._request_outbound.cancel_requested.is_set():
            return True
        # Over HTTP the newest protocol cancels by closing the answer's stream; it has no other message for that.
        by_closing = context.request is not None and context.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS
        return by_closing and not stopping.is_set()

    return Caller(report, gave_up, wants_progress=(context.meta or {}).get("progress_token") is not None)


async def _call(
    tools: Mapping[str, Tool], name: str, arguments: Mapping[str, Any], caller: Caller, reword: Callable[[str], str]
) -> CallToolResult:
    try:
        tool = tools.get(name)
        if tool is None:
            raise errors.UnknownChoice.of("tool", name, list(tools))
        given = _parsed(tool, arguments)
        answer = await (tool.call(given, caller) if tool.attended else tool.call(given))
    except errors.MahavishnuError as exc:
        return _failure(reword(exc.message), code=exc.code, details=exc.details())
    except Exception:  # the border to the client: it gets an answer whatever goes wrong here
        logger.exception("Tool %s failed", name, extra={"action": "tool_failed", "tool": name})
        return _failure(f"{name} failed in the server. Its log says why.", code="error", details={})
    return _result(answer.text, dict(answer.value), is_error=False)


def _parsed(tool: Tool, arguments: Mapping[str, Any]) -> BaseModel:
    try:
        return tool.arguments.model_validate(arguments)
    except ValidationError as exc:
        known = ", ".join(tool.arguments.model_fields) or "none"
        raise invalid_field(exc, remedy=f"The arguments of {tool.name} are: {known}.") from exc


def _failure(message: str, *, code: str, details: Mapping[str, Any]) -> CallToolResult:
    return _result(message, {"error": {"code": code, "message": message, "details": dict(details)}}, is_error=True)


def _result(text: str, value: dict[str, Any], *, is_error: bool) -> CallToolResult:
    from mcp_types import CallToolResult, TextContent

    # What is no text anywhere would end the connection instead of an answer.
    content, said = [TextContent(type="text", text=whole(text))], cast(dict[str, Any], whole_value(value))
    return CallToolResult(content=list(content), structured_content=said, is_error=is_error)


def _untitled(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in ("title", "description")}
