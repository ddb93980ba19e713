"""A small HTTP/1.1 server on asyncio that can do what servers should not: cut connections, answer late or never."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    peer: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass
class Response:
    """An answer; with ``stream`` its pieces follow as they come, and ``cut`` ends the connection before any of it."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None
    cut: bool = False


class Cut(Exception):
    """Ends a stream without its end."""


Handler = Callable[[Request], Awaitable[Response]]


class HttpServer:
    """With ``tls`` it asks clients for a certificate; the name in it is the ``peer`` of their requests."""

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        self._handler, self._tls = handler, tls
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=4 * 1024 * 1024, backlog=1024, reuse_address=True, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection."""
        assert self._server is not None
        self._server.close()
        self.cut_all()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def cut_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            while (request := await _read(reader)) is not None:
                request.peer = _peer(writer)
                response = await self._handler(request)
                if response.cut:
                    writer.transport.abort()
                    return
                await _write(writer, response)
        except (ConnectionError, asyncio.IncompleteReadError, Cut, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._open.discard(writer)
            with contextlib.suppress(Exception):
                writer.close()


def _peer(writer: asyncio.StreamWriter) -> str:
    shown = writer.get_extra_info("peercert") or {}
    return next((value for part in shown.get("subject", ()) for name, value in part if name == "commonName"), "")


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = b""
    with contextlib.suppress(asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
    if not head:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): text.strip() for name, _, text in (one.partition(":") for one in lines if one)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    if headers.get("transfer-encoding") == "chunked":
        body = await _chunked(reader)
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method, unquote(parts.path), query, headers, body)


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).strip() or b"0", 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def _write(writer: asyncio.StreamWriter, response: Response) -> None:
    phrase = HTTPStatus(response.status).phrase
    head = {"Content-Type": "application/json", **response.headers}
    data = b""
    if response.stream is None:
        data = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
        head["Content-Length"] = str(len(data))
    else:
        head["Transfer-Encoding"] = "chunked"
    lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{name}: {text}" for name, text in head.items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
    await writer.drain()
    if response.stream is not None:
        async for piece in response.stream:
            if writer.is_closing():
                raise ConnectionError
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
