"""The client: one session with a server, shared by many calls at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client.answers import NotAnAnswer, ToolAnswer, tool_answer
from mahavishnu_pools.mcp_client.judging import Judge
from mahavishnu_pools.mcp_client.session import Session, Sessions, message
from mahavishnu_pools.mcp_client.wire import Reply, Wire

#: Sessions tried for one request before a server counts as one that keeps none.
SESSION_TRIES = 3

#: Pages of the list of tools that are read.
MAX_PAGES = 100

#: Seconds for messages whose arrival does not matter: that a call is given up, that a session is over.
FAREWELL_SECONDS = 1.0


class _SessionLost(Exception):
    """The server does not know the session; the request did not run."""


class McpClient:
    """Calls the tools of one MCP server. It connects on first use and belongs to the event loop that used it first.

    A session the server no longer knows is replaced; calls are repeated only when they surely did not run. An answer
    that never comes is an error after ``timeout`` seconds, connecting included.

    Raises:
        InvalidField: the URL, the token or the file of certificates cannot be used.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = 30.0, ca_file: str | None = None
    ) -> None:
        self._wire = Wire(url, token=token, ca_file=ca_file)
        self._judge = Judge(self._wire)
        self._timeout = timeout
        self._sessions = Sessions(self._wire, self._judge)
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
        session = self._sessions.current
        if session is not None and session.tools is not None:
            return session.tools
        found: dict[str, Mapping[str, Any]] = {}
        cursor: Any = None
        for _ in range(MAX_PAGES):
            page = await self._request("tools/list", {"cursor": cursor} if cursor else {}, self._timeout)
            found.update(self._judge.schemas(page))
            cursor = page.get("nextCursor")
            if not cursor:
                break
        tools = MappingProxyType(found)
        if self._sessions.current is not None:
            self._sessions.current.tools = tools
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
        self._judge.check(reply)
        if reply.message is None:
            raise self._wire.unavailable(f"answered to a question for its health: {reply.reason}")
        return dict(reply.message)

    async def close(self) -> None:
        """End the session and the connections. A second call does nothing."""
        session, self._sessions.current = self._sessions.current, None
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
                    session = await self._sessions.opened()
                    asked = True
                    try:
                        return await self._ask(method, params, session)
                    except _SessionLost:
                        asked = False
                        self._sessions.drop(session)
        except TimeoutError as exc:
            raise self._wire.unavailable(f"did not answer within {seconds:g} s", maybe_ran=asked) from exc
        raise self._wire.unavailable("forgets every session at once")

    async def _ask(self, method: str, params: Mapping[str, Any], session: Session) -> Mapping[str, Any]:
        request_id = next(self._sessions.ids)
        try:
            reply = await self._wire.post(message(method, params, request_id), session.headers)
        except (TypeError, ValueError, RecursionError) as exc:
            raise errors.InvalidField.of("arguments", f"are no JSON ({exc})", "Give JSON values.") from exc
        except asyncio.CancelledError:
            self._give_up(request_id, session)
            raise
        if "mcp-session-id" in session.headers and _knows_no_session(reply):
            raise _SessionLost
        return self._judge.result(reply)

    def _give_up(self, request_id: int, session: Session) -> None:
        farewell = message("notifications/cancelled", {"requestId": request_id, "reason": "nobody waits any more"})

        async def tell() -> None:
            with contextlib.suppress(errors.MahavishnuError, TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._wire.post(farewell, session.headers)

        task = asyncio.get_running_loop().create_task(tell())
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)


def _knows_no_session(reply: Reply) -> bool:
    return reply.status == 404 or (reply.status == 400 and "session" in reply.reason.lower())
