"""The client: one session with a server, shared by many calls at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Self

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client.answers import NotAnAnswer, ToolAnswer, tool_answer
from mahavishnu_pools.mcp_client.wire import Reply, Wire

#: The protocol's version we ask for; servers may answer with another, which is then used.
PROTOCOL_VERSION = "2025-06-18"

#: Sessions tried for one request before a server counts as one that keeps none.
SESSION_TRIES = 3

#: Pages of the list of tools that are read.
MAX_PAGES = 100

#: Seconds for messages whose arrival does not matter: that a call is given up, that a session is over.
FAREWELL_SECONDS = 1.0

#: HTTP statuses of a server that may well answer later.
_LATER = {408, 425, 429}

#: JSON-RPC errors of a server that failed; the others refuse the request.
_SERVER_FAILED = range(-32099, -31999)
_INTERNAL_ERROR = -32603


class _SessionLost(Exception):
    """The server does not know the session; the request did not run."""


@dataclass(eq=False, slots=True)
class _Session:
    headers: dict[str, str]
    tools: Mapping[str, Mapping[str, Any]] | None = None


class McpClient:
    """Calls the tools of one MCP server. It connects on first use and belongs to the event loop that used it first.

    A session the server no longer knows is replaced; calls are repeated only when they surely did not run. An answer
    that never comes is an error after ``timeout`` seconds, connecting included.

    Raises:
        InvalidField: the URL or the file of certificates cannot be used.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = 30.0, ca_file: str | None = None
    ) -> None:
        self._wire = Wire(url, token=token, ca_file=ca_file)
        self._timeout = timeout
        self._session: _Session | None = None
        self._opening = asyncio.Lock()
        self._ids = itertools.count(1)
        self._farewells: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def tools(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the server's tools, each with the JSON schema of its arguments; asked once for each session.

        Raises:
            RemoteUnavailable: the server cannot be used now.
            RemoteRefused: it does not let us in.
        """
        session = self._session
        if session is not None and session.tools is not None:
            return session.tools
        found: dict[str, Mapping[str, Any]] = {}
        cursor: Any = None
        for _ in range(MAX_PAGES):
            page = await self._request("tools/list", {"cursor": cursor} if cursor else {}, self._timeout)
            found.update(self._schemas(page))
            cursor = page.get("nextCursor")
            if not cursor:
                break
        tools = MappingProxyType(found)
        if self._session is not None:
            self._session.tools = tools
        return tools

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, JsonValue],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # the server is told of calls that are given up
    ) -> ToolAnswer:
        """Call a tool. ``timeout=None`` takes the client's. What the tool reports as failure is in the answer.

        When the time is over or the caller is cancelled, the server is told that nobody waits any more.

        Raises:
            RemoteUnavailable: no usable answer came; ``maybe_ran`` says whether the tool may have run.
            RemoteRefused: the server refused the request (token, URL, unknown tool, arguments); it did not run.
            InvalidField: the arguments are no JSON.
        """
        seconds = self._timeout if timeout is None else timeout
        result = await self._request("tools/call", {"name": tool, "arguments": dict(arguments)}, seconds)
        try:
            return tool_answer(result)
        except NotAnAnswer as exc:
            raise self._wire.unavailable(f"answered {exc}", maybe_ran=True) from exc

    async def health(self) -> dict[str, Any]:
        """Return what the server says of its health: ``/health`` beside ``/mcp``, else ``/mcp/health``.

        Raises:
            RemoteUnavailable: it does not answer, or not with JSON.
            RemoteRefused: it does not let us in, or has no such page.
        """
        try:
            async with asyncio.timeout(self._timeout):
                reply = await self._wire.get("/health")
                if reply.status == 404:
                    reply = await self._wire.get("/mcp/health")
        except TimeoutError as exc:
            raise self._wire.unavailable(f"did not answer within {self._timeout:g} s") from exc
        self._judge(reply)
        if reply.message is None:
            raise self._wire.unavailable(f"answered to a question for its health: {reply.reason}")
        return dict(reply.message)

    async def close(self) -> None:
        """End the session and the connections. A second call does nothing."""
        session, self._session = self._session, None
        for farewell in tuple(self._farewells):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([farewell], timeout=FAREWELL_SECONDS)
        try:
            if session is not None and "mcp-session-id" in session.headers:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FAREWELL_SECONDS):
                        await self._wire.delete(session.headers)
        finally:
            await self._wire.close()

    async def _request(self, method: str, params: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        asked = False
        try:
            async with asyncio.timeout(seconds):
                for _ in range(SESSION_TRIES):
                    session = await self._opened()
                    asked = True
                    try:
                        return await self._ask(method, params, session)
                    except _SessionLost:
                        asked = False
                        self._session = None if self._session is session else self._session
        except TimeoutError as exc:
            raise self._wire.unavailable(f"did not answer within {seconds:g} s", maybe_ran=asked) from exc
        raise self._wire.unavailable("forgets every session at once")

    async def _opened(self) -> _Session:
        if self._session is not None:
            return self._session
        async with self._opening:
            if self._session is None:
                self._session = await self._initialize()
            return self._session

    async def _initialize(self) -> _Session:
        from importlib import metadata

        params = {
            "protocolVersion": PROTOCOL_VERSION,
            "capabilities": {},
            "clientInfo": {"name": "mahavishnu-pools", "version": metadata.version("mahavishnu-pools")},
        }
        reply = await self._wire.post(_message("initialize", params, next(self._ids)), _ACCEPT)
        result = self._result(reply)
        headers = {**_ACCEPT, "mcp-protocol-version": str(result.get("protocolVersion", PROTOCOL_VERSION))}
        if session_id := reply.headers.get("mcp-session-id"):
            headers["mcp-session-id"] = session_id
        self._judge(await self._wire.post(_message("notifications/initialized", {}), headers))
        return _Session(headers)

    async def _ask(self, method: str, params: Mapping[str, Any], session: _Session) -> Mapping[str, Any]:
        request_id = next(self._ids)
        try:
            reply = await self._wire.post(_message(method, params, request_id), session.headers)
        except (TypeError, ValueError, RecursionError) as exc:
            raise errors.InvalidField.of("arguments", f"are no JSON ({exc})", "Give JSON values.") from exc
        except asyncio.CancelledError:
            self._give_up(request_id, session)
            raise
        if "mcp-session-id" in session.headers and _knows_no_session(reply):
            raise _SessionLost
        return self._result(reply)

    def _give_up(self, request_id: int, session: _Session) -> None:
        message = _message("notifications/cancelled", {"requestId": request_id, "reason": "nobody waits any more"})

        async def tell() -> None:
            with contextlib.suppress(errors.MahavishnuError, TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._wire.post(message, session.headers)

        task = asyncio.get_running_loop().create_task(tell())
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)

    def _result(self, reply: Reply) -> Mapping[str, Any]:
        self._judge(reply)
        message = reply.message or {}
        error = message.get("error")
        if error is not None:
            code, text = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, error)
            if code == _INTERNAL_ERROR or code in _SERVER_FAILED:
                raise self._wire.unavailable(f"reports an error of its own: {text}", maybe_ran=True)
            raise self._refused(f"refused the request: {text}", reply.status)
        result = message.get("result")
        if not isinstance(result, dict):
            raise self._wire.unavailable("answered with a result that is no object", maybe_ran=True)
        return result

    def _judge(self, reply: Reply) -> None:
        status, said = reply.status, f": {reply.reason}" if reply.reason else ""
        if status < 300:
            return
        if status >= 500 or status in _LATER:
            raise self._wire.unavailable(f"answered {status}{said}", maybe_ran=status not in _LATER)
        if status in (401, 403):
            raise self._refused(f"does not let us in ({status}{said}). Check the token", status)
        if status < 400:
            raise self._refused(f"says it is elsewhere ({status}{said}). Give that URL", status)
        if status == 404:
            raise self._refused(f"has nothing at this path (404{said}). Check the URL", status)
        raise self._refused(f"refused the request ({status}{said})", status)

    def _refused(self, what: str, status: int) -> errors.RemoteRefused:
        shown = self._wire.shown
        return errors.RemoteRefused(f"The MCP server at {shown} {what}.", url=shown, status=status)

    def _schemas(self, page: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        listed = page.get("tools")
        if not isinstance(listed, list):
            raise self._wire.unavailable("answered with a list of tools that is none")
        named = [tool for tool in listed if isinstance(tool, dict) and isinstance(tool.get("name"), str)]
        return {tool["name"]: tool.get("inputSchema") or {} for tool in named}


_ACCEPT = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def _message(method: str, params: Mapping[str, Any], request_id: int | None = None) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    return message if request_id is None else {**message, "id": request_id}


def _knows_no_session(reply: Reply) -> bool:
    return reply.status == 404 or (reply.status == 400 and "session" in reply.reason.lower())
