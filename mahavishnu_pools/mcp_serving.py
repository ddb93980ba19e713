"""Serves tools to MCP clients over streamable HTTP at ``/mcp``, with health at ``/health`` and ``/mcp/health``."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, JsonValue, ValidationError

from mahavishnu_pools import errors
from mahavishnu_pools.refusals import invalid_field

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp_types import CallToolResult
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)

#: Bytes one request may have.
MAX_REQUEST_BYTES = 8 * 1024 * 1024

#: Seconds that calls which run when the server is stopped may go on.
STOP_SECONDS = 10.0

#: Connections that may wait to be accepted.
BACKLOG = 1024

_HEALTH_PATHS = ("/health", "/mcp/health")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool answers: a text for people, and the same as JSON for programs."""

    text: str
    value: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: ``call`` gets a value of the model ``arguments``; an error of this project is told to the client."""

    name: str
    description: str
    arguments: type[BaseModel]
    call: Callable[[Any], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Service:
    """A set of tools under one name; ``health`` adds to what the health addresses answer.

    With a ``token`` every request but those for health must have the header ``Authorization: Bearer <token>``.
    """

    name: str
    version: str
    tools: Sequence[Tool]
    instructions: str = ""
    token: str | None = field(default=None, repr=False)
    health: Callable[[], Mapping[str, JsonValue]] = dict
    max_request_bytes: int = MAX_REQUEST_BYTES


async def serve(
    service: Service, *, host: str = "127.0.0.1", port: int = 0, on_ready: Callable[[str], None] = lambda _: None
) -> None:
    """Serve until SIGTERM or SIGINT; calls that run then have 10 s to end, a second signal ends them at once.

    ``port`` 0 takes a free one. ``on_ready`` gets the URL, such as ``http://127.0.0.1:8678/mcp``, once it answers.

    Raises:
        InvalidField: the address is not loopback and there is no token, or it cannot be used.
        Unavailable: the packages of the extra ``mcp`` are not installed.
    """
    _require_mcp()
    _check_exposure(host, service.token)
    with closing(_listen(host, port)) as listening:
        shown = f"[{host}]" if ":" in host else host
        server = _server(service, host, lambda: on_ready(f"http://{shown}:{listening.getsockname()[1]}/mcp"))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.handle_exit, number, None)
        try:
            await server.serve(sockets=[listening])
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def application(service: Service, *, host: str = "127.0.0.1") -> ASGIApp:
    """Return the ASGI application; on a loopback ``host`` only requests addressed to loopback names are answered.

    Raises:
        Unavailable: the packages of the extra ``mcp`` are not installed.
    """
    _require_mcp()
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def health(_: object) -> JSONResponse:
        told = {"status": "ok", "service": service.name, "version": service.version}
        return JSONResponse({**told, **service.health()})

    app: Starlette = _mcp_server(service).streamable_http_app(
        json_response=True,  # one answer per request: no stream stays open when the server is to stop
        max_request_body_size=service.max_request_bytes,
        custom_starlette_routes=[Route(path, health, methods=["GET"]) for path in _HEALTH_PATHS],
        host="127.0.0.1" if _is_loopback(host) else host,
    )
    return _Guard(app, token=service.token)


def _mcp_server(service: Service) -> Server[Any]:
    import mcp_types
    from mcp.server.lowlevel import Server

    tools = {tool.name: tool for tool in service.tools}
    shown = [
        mcp_types.Tool(name=tool.name, description=tool.description, input_schema=_schema(tool.arguments))
        for tool in service.tools
    ]

    async def list_tools(_: Any, __: Any) -> mcp_types.ListToolsResult:
        return mcp_types.ListToolsResult(tools=shown)

    async def call_tool(_: Any, params: mcp_types.CallToolRequestParams) -> CallToolResult:
        return await _call(tools, params.name, params.arguments or {})

    return Server(
        service.name,
        version=service.version,
        instructions=service.instructions or None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _call(tools: Mapping[str, Tool], name: str, arguments: Mapping[str, Any]) -> CallToolResult:
    try:
        tool = tools.get(name)
        if tool is None:
            raise errors.UnknownChoice.of("tool", name, list(tools))
        answer = await tool.call(_parsed(tool, arguments))
    except errors.MahavishnuError as exc:
        return _failure(exc.message, code=exc.code, details=exc.details())
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

    content = [TextContent(type="text", text=text)]
    return CallToolResult(content=list(content), structured_content=value, is_error=is_error)


def _schema(arguments: type[BaseModel]) -> dict[str, Any]:
    schema = arguments.model_json_schema()
    return {"properties": {}, **{name: value for name, value in schema.items() if name not in ("title", "description")}}


class _Guard:
    """Asks for the token, and for JSON answers alone: nobody waits at ``GET /mcp`` for messages we never send."""

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) if scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        from starlette.responses import JSONResponse

        if scope["path"] in _HEALTH_PATHS:
            return None
        if self._expected is not None:
            given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not hmac.compare_digest(given, self._expected):
                told = {"error": "This server needs its token: send the header 'Authorization: Bearer <token>'."}
                return JSONResponse(told, status_code=401, headers={"WWW-Authenticate": "Bearer"})
        if scope["method"] == "GET" and scope["path"] == "/mcp":
            told = {"error": "This server sends no messages of its own. Use POST."}
            return JSONResponse(told, status_code=405, headers={"Allow": "POST, DELETE"})
        return None


def _server(service: Service, host: str, on_ready: Callable[[], None]) -> Any:
    import uvicorn

    class Served(uvicorn.Server):
        """Tells when it answers, and leaves signals to the caller: uvicorn's own end kills the process by them."""

        def capture_signals(self) -> Any:
            return nullcontext()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                on_ready()

    config = uvicorn.Config(
        application(service, host=host),
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=int(STOP_SECONDS),
    )
    return Served(config)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named, asyncio sends each answer at once (TCP_NODELAY) instead of some 40 ms later.
        listening = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
        return listening
    except (OSError, OverflowError) as exc:
        raise errors.InvalidField.of(
            "port", f"{host}:{port} cannot be listened on ({exc})", "Give another one; 0 takes a free one."
        ) from exc


def _check_exposure(host: str, token: str | None) -> None:
    if token is None and not _is_loopback(host):
        remedy = "Give a token, or listen on 127.0.0.1."
        raise errors.InvalidField.of("host", f"{host} can be reached from other machines and there is no token", remedy)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _require_mcp() -> None:
    missing = [name for name in ("mcp", "uvicorn", "starlette") if find_spec(name) is None]
    if missing:
        text = f"MCP servers need packages that are not installed ({', '.join(missing)}). Install them with: "
        raise errors.Unavailable(f"{text}pip install 'mahavishnu-pools[mcp]'")
