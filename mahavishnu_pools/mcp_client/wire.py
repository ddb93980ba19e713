"""One request to an MCP server and its answer, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client.answers import NotAnAnswer, is_answer, message_of, reason_of
from mahavishnu_pools.mcp_client.sse import EventReader

#: Seconds to wait for a connection; a machine that is there answers far sooner, also across an ocean.
CONNECT_SECONDS = 5.0

#: Bytes that one answer may take.
MAX_ANSWER_BYTES = 32 * 1024 * 1024

#: Bytes read of an answer that is no success.
MAX_REFUSAL_BYTES = 64 * 1024

#: Seconds a server gets to end a stream after its answer; then the connection is given up, the answer counts.
STREAM_END_SECONDS = 0.1

#: Requests under way at once; a call that a slow tool holds up counts as long as it lasts. More wait for their turn.
MAX_AT_ONCE = 256

#: Connections kept for later requests, and for how many seconds.
MAX_IDLE = 64
KEEP_SECONDS = 30.0

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}

#: After these the request has certainly not reached the server.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the JSON-RPC message of a success, else ``reason``, the server's words."""

    status: int
    headers: Mapping[str, str]
    message: Mapping[str, Any] | None = None
    reason: str = ""


class Wire:
    """HTTP to one server. Errors say whether the request may have reached it (``maybe_ran``)."""

    def __init__(self, url: str, *, token: str | None, ca_file: str | None) -> None:
        self._url = _checked(url)
        #: The URL without user, password and query, as it may be shown.
        self.shown = str(self._url.copy_with(username=None, password=None, query=None, fragment=None))
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "mahavishnu-pools"}
        if token:
            self._headers["Authorization"] = f"Bearer {_checked_token(token)}"
        self._ca_file = ca_file
        # One client for each request under way: the pool inside a client looks at all its connections, with a system
        # call for each, whenever a request begins or ends, so 50 at once on one client take five times as long.
        self._idle: list[httpx.AsyncClient] = []
        self._turn = asyncio.Semaphore(MAX_AT_ONCE)
        self._trust: ssl.SSLContext | None = None
        self._closed = False

    async def post(self, message: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        """Send a JSON-RPC message and return the answer to it; notifications have none.

        Raises:
            RemoteUnavailable: no answer came, or rubbish.
        """
        content = json.dumps(message, allow_nan=False).encode()
        request = httpx.Request("POST", self._url, content=content, headers={**self._headers, **headers})
        return await self._send(request, message.get("id"))

    async def get(self, path: str) -> Reply:
        """Read another page of the same server, such as ``/health``; its JSON is in ``message``."""
        base = self._url.path.rstrip("/").removesuffix("/mcp")
        url = self._url.copy_with(path=base + path, query=None)
        return await self._send(httpx.Request("GET", url, headers=self._headers), None)

    async def delete(self, headers: Mapping[str, str]) -> None:
        """Tell the server that a session is over; whether it hears does not matter."""
        request = httpx.Request("DELETE", self._url, headers={**self._headers, **headers})
        with contextlib.suppress(errors.RemoteUnavailable):
            await self._send(request, None)

    async def close(self) -> None:
        """Close the connections; what is under way may end."""
        self._closed = True
        while self._idle:
            await self._idle.pop().aclose()

    def unavailable(self, what: str, *, maybe_ran: bool = False) -> errors.RemoteUnavailable:
        """Build the error; ``what`` goes on after "The MCP server at URL"."""
        return errors.RemoteUnavailable(f"The MCP server at {self.shown} {what}.", url=self.shown, maybe_ran=maybe_ran)

    async def _send(self, request: httpx.Request, request_id: Any) -> Reply:
        try:
            async with self._turn, self._connection() as client:
                response = await client.send(request, stream=True)
                try:
                    return await self._read(response, request_id)
                finally:
                    await response.aclose()
        except _NOT_SENT as exc:
            raise self.unavailable(f"cannot be reached ({_why(exc)})") from exc
        except httpx.HTTPError as exc:
            raise self.unavailable(f"broke the connection ({_why(exc)})", maybe_ran=True) from exc
        except NotAnAnswer as exc:
            raise self.unavailable(f"answered {exc}", maybe_ran=True) from exc

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[httpx.AsyncClient]:
        if self._closed:
            raise self.unavailable("was asked by a client that is closed")
        client = self._idle.pop() if self._idle else self._new()
        try:
            yield client
        finally:
            await self._put_back(client)

    async def _put_back(self, client: httpx.AsyncClient) -> None:
        if self._closed or len(self._idle) >= MAX_IDLE:
            await client.aclose()
        else:
            self._idle.append(client)

    def _new(self) -> httpx.AsyncClient:
        if self._trust is None:
            self._trust = _trusted(self._url.scheme, self._ca_file)
        return httpx.AsyncClient(
            verify=self._trust,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_SECONDS),
            trust_env=self._url.host not in _LOOPBACK,
        )

    async def _read(self, response: httpx.Response, request_id: Any) -> Reply:
        if response.status_code >= 300:
            reason = response.headers.get("location") or reason_of(await _body(response, MAX_REFUSAL_BYTES, cut=True))
            return Reply(response.status_code, response.headers, reason=reason)
        if request_id is None:
            return await _read_freely(response)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            message = await _streamed(response, request_id)
        else:
            body = await _body(response, MAX_ANSWER_BYTES)
            message = message_of(body)
            if not is_answer(message, request_id):
                raise NotAnAnswer(f"something else than was asked for: {reason_of(body)}")
        return Reply(response.status_code, response.headers, message)


async def _read_freely(response: httpx.Response) -> Reply:
    body = await _body(response, MAX_REFUSAL_BYTES, cut=True)
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return Reply(response.status_code, response.headers, reason=reason_of(body) or "nothing")
    if not isinstance(message, dict):
        return Reply(response.status_code, response.headers, reason=reason_of(body))
    return Reply(response.status_code, response.headers, message)


async def _body(response: httpx.Response, limit: int, *, cut: bool = False) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            if cut:
                break
            raise NotAnAnswer(f"more than {limit} bytes")
    return bytes(body[:limit])


async def _streamed(response: httpx.Response, request_id: int) -> dict[str, Any]:
    reader, size = EventReader(), 0
    chunks = response.aiter_bytes()
    async for chunk in chunks:
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise NotAnAnswer(f"more than {MAX_ANSWER_BYTES} bytes")
        for event in reader.feed(chunk):
            message = message_of(event)
            if is_answer(message, request_id):
                await _rest(response)
                return message
    raise NotAnAnswer("half a stream: it ended before the answer")


async def _rest(response: httpx.Response) -> None:
    # A connection whose stream was read to its end can be used again. The answer is there; trouble after it is none.
    with contextlib.suppress(httpx.HTTPError, httpx.StreamError, TimeoutError):
        async with asyncio.timeout(STREAM_END_SECONDS):
            async for _ in response.stream:  # type: ignore[union-attr]
                continue


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as exc:
        raise errors.InvalidField.of("url", "is no URL", "Give one such as http://127.0.0.1:8678/mcp.") from exc
    if parsed.scheme not in ("http", "https") or not parsed.host:
        problem = "does not begin with http:// or https:// and a host"
        raise errors.InvalidField.of("url", problem, "Give one such as http://127.0.0.1:8678/mcp.")
    return parsed


def _checked_token(token: str) -> str:
    # Whoever sends it would complain with its value.
    if not token.isascii() or not token.isprintable() or " " in token:
        remedy = "Correct it; often a line end was added."
        raise errors.InvalidField.of("token", "has a space, a line end or a character that is not ASCII", remedy)
    return token


def _trusted(scheme: str, ca_file: str | None) -> ssl.SSLContext:
    if scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used; loading the system's certificates takes time
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as exc:
        problem = f"the certificates in {ca_file} cannot be read ({exc})"
        raise errors.InvalidField.of("ca_file", problem, "Name a PEM file.") from exc


def _why(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
