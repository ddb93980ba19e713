"""The MCP client against servers that do everything wrong: each ends in a clear error, in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import McpClient

Answer = Callable[[dict[str, Any]], bytes]


def http(status: int, body: bytes | str, *, kind: str = "application/json", extra: str = "") -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(raw)}\r\n{extra}\r\n"
    return head.encode() + raw


def result(message: dict[str, Any], value: Any) -> bytes:
    return http(200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}))


def text(message: dict[str, Any], said: str, **more: Any) -> bytes:
    return result(message, {"content": [{"type": "text", "text": said}], **more})


@dataclass
class FaultServer:
    """Answers the handshake properly and calls as ``fault`` says; b"" cuts the connection."""

    fault: Answer
    port: int = 0
    version: str = "2025-06-18"
    sessions: int = 0
    methods: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def answer(self, message: dict[str, Any]) -> bytes:
        method = message.get("method", "")
        if method == "initialize":
            self.sessions += 1
            body = {"jsonrpc": "2.0", "id": message["id"], "result": {"protocolVersion": self.version}}
            return http(200, json.dumps(body), extra=f"mcp-session-id: s{self.sessions}\r\n")
        if method.startswith("notifications/") or not method:
            return http(202, "")
        return self.fault(message)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                message = json.loads(body) if body else {}
                self.methods.append(message.get("method", ""))
                self.headers.append(headers)
                answer = self.answer(message)
                writer.write(answer)
                await writer.drain()
                if not answer or b"content-length" not in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(fault: Answer) -> AsyncIterator[FaultServer]:
    server = FaultServer(fault)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def stream(body: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}".encode()


HTML = "<!doctype html><html><head><title>Bad Gateway</title></head></html>"
UNUSABLE: dict[str, tuple[Answer, str]] = {
    "a 500": (lambda _: http(500, '{"error": "disk full"}'), "500: disk full"),
    "a gateway's page": (lambda _: http(502, HTML, kind="text/html"), r"502: an HTML page \(Bad Gateway\)"),
    "a page as a success": (lambda _: http(200, HTML, kind="text/html"), "no JSON: an HTML page"),
    "nothing": (lambda _: http(200, ""), "answered nothing"),
    "accepted and no answer": (lambda _: http(202, ""), "answered nothing"),
    "rubbish": (lambda _: http(200, b'{"jsonrpc": \xff\xfe'), "no JSON"),
    "NaN": (lambda m: http(200, f'{{"jsonrpc":"2.0","id":{m["id"]},"result":NaN}}'), "no JSON"),
    "nesting": (lambda _: http(200, "[" * 100_000), "no JSON"),
    "a list": (lambda _: http(200, "[1, 2]"), "no JSON-RPC"),
    "another's answer": (lambda _: http(200, '{"jsonrpc":"2.0","id":9999,"result":{}}'), "something else"),
    "a result of no kind": (lambda m: result(m, [1]), "no object"),
    "contents of no kind": (lambda m: result(m, {"content": "hello"}), "list of contents"),
    "half a stream": (lambda _: stream('event: message\ndata: {"jsonrpc": "2.0", "id'), "half a stream"),
    "a stream of news alone": (lambda _: stream('data: {"jsonrpc":"2.0","method":"notifications/x"}\n\n'), "half a"),
    "half a body": (lambda _: b'HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{"json'.replace(b"c", b"C", 1), "broke"),
    "a cut": (lambda _: b"", "broke the connection"),
    "no HTTP": (lambda _: b"SSH-2.0-OpenSSH_9.2\r\n", "broke the connection"),
    "an error of its own": (
        lambda m: http(200, json.dumps({"jsonrpc": "2.0", "id": m["id"], "error": {"code": -32603, "message": "oh"}})),
        "error of its own: oh",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_an_answer_that_cannot_be_used_is_an_error_that_says_what_came(name: str) -> None:
    fault, said = UNUSABLE[name]

    async with serving(fault) as server, McpClient(server.url, timeout=5) as client:
        with pytest.raises(errors.RemoteUnavailable, match=said) as caught:
            await client.call("store", {})

    assert caught.value.maybe_ran is True
    assert server.url in str(caught.value)
    assert server.methods.count("tools/call") == 1


REFUSED: dict[str, tuple[Answer, str]] = {
    "a wrong token": (lambda _: http(401, '{"error":"invalid_token"}'), "Check the token"),
    "no right": (lambda _: http(403, ""), "Check the token"),
    "another place": (lambda _: http(307, "", extra="location: /mcp/\r\n"), "/mcp/"),
    "bad arguments": (lambda _: http(422, '{"detail": "no such field"}'), "422: no such field"),
    "an unknown method": (
        lambda m: http(200, json.dumps({"jsonrpc": "2.0", "id": m["id"], "error": {"code": -32601, "message": "no"}})),
        "refused the request: no",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_says_why(name: str) -> None:
    fault, said = REFUSED[name]

    async with serving(fault) as server, McpClient(server.url, token="secret-token", timeout=5) as client:
        with pytest.raises(errors.RemoteRefused, match=said) as caught:
            await client.call("store", {})

    assert "secret-token" not in str(caught.value)


@pytest.mark.parametrize("said", ["❌ Failed to execute task: ", "  ⚠️ Pool p1 not found"])
async def test_a_failure_dressed_as_success_is_a_failed_answer(said: str) -> None:
    async with serving(lambda m: text(m, said)) as server, McpClient(server.url) as client:
        assert (await client.call("execute", {})).failed


async def test_a_tool_error_is_a_failed_answer() -> None:
    async with serving(lambda m: text(m, "oh", isError=True)) as server, McpClient(server.url) as client:
        answer = await client.call("execute", {})

    assert (answer.failed, answer.text, answer.value) == (True, "oh", None)


async def test_a_lost_session_is_replaced_once_for_all_calls_and_none_runs_twice() -> None:
    known = {"s1"}

    def fault(message: dict[str, Any]) -> bytes:
        if server.headers[-1].get("mcp-session-id") not in known:
            return http(404, '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}')
        ran.append(message["params"]["name"])
        return text(message, "ok")

    ran: list[str] = []
    async with serving(fault) as server, McpClient(server.url) as client:
        await client.call("first", {})
        known.clear()
        known.add("s2")

        answers = await asyncio.gather(*(client.call(f"t{n}", {}) for n in range(10)))

    assert all(answer.text == "ok" for answer in answers)
    assert sorted(ran) == sorted(["first", *(f"t{n}" for n in range(10))])
    assert server.sessions == 2


async def test_a_server_that_forgets_every_session_is_given_up() -> None:
    async with serving(lambda _: http(404, "")) as server, McpClient(server.url) as client:
        with pytest.raises(errors.RemoteUnavailable, match="forgets every session") as caught:
            await client.call("store", {})

    assert caught.value.maybe_ran is False


async def test_a_server_nobody_listens_at_is_unavailable_and_nothing_ran() -> None:
    async with serving(lambda _: b"") as server:
        url = server.url

    async with McpClient(url, timeout=5) as client:
        with pytest.raises(errors.RemoteUnavailable, match="cannot be reached") as caught:
            await client.call("store", {})

    assert caught.value.maybe_ran is False


async def test_a_password_in_the_url_is_never_shown() -> None:
    async with McpClient("http://user:hunter2@127.0.0.1:1/mcp?key=hunter3") as client:
        with pytest.raises(errors.RemoteUnavailable) as caught:
            await client.call("store", {})

    assert "hunter" not in str(caught.value)
    assert "hunter" not in str(caught.value.details())


async def test_arguments_that_are_no_json_are_refused_before_anything_is_sent() -> None:
    async with serving(lambda m: text(m, "ok")) as server, McpClient(server.url) as client:
        with pytest.raises(errors.InvalidField, match="arguments"):
            await client.call("store", {"number": float("nan")})

    assert "tools/call" not in server.methods


async def test_health_that_is_no_json_is_an_error() -> None:
    async with McpClient("http://127.0.0.1:1/mcp") as client:
        with pytest.raises(errors.RemoteUnavailable):
            await client.health()


@pytest.mark.parametrize("version", ["", "2025-\u00fc", "a\r\nx-other: b", "x" * 1000])
async def test_a_version_that_can_be_no_header_is_an_error_that_says_what_came(version: str) -> None:
    async with serving(lambda m: text(m, "ok")) as server, McpClient(server.url, timeout=5) as client:
        server.version = version
        with pytest.raises(errors.RemoteUnavailable, match="version that is none"):
            await client.call("store", {})

    assert server.methods == ["initialize"]


@pytest.mark.parametrize("token", ["hunter2\n", "hunter2 hunter3", "hunter\u00fc"])
def test_a_token_that_can_be_no_header_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(errors.InvalidField, match="token") as caught:
        McpClient("http://127.0.0.1:1/mcp", token=token)

    assert "hunter" not in str(caught.value)


async def test_a_schema_that_is_none_is_read_as_an_empty_one() -> None:
    listed = {"tools": [{"name": "one", "inputSchema": "rubbish"}, {"name": "two", "inputSchema": [1]}, {"name": 3}]}
    async with serving(lambda m: result(m, listed)) as server, McpClient(server.url) as client:
        assert dict(await client.tools()) == {"one": {}, "two": {}}


@pytest.mark.parametrize("url", ["", "ftp://host/mcp", "localhost:8678", "http://"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(errors.InvalidField, match="url"):
        McpClient(url)
