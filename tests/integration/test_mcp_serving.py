"""Serving tools over MCP: tokens, limits, health, and a clean stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.mcp_serving import Answer, Service, Tool, serve
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.token_file import TokenFile, finish, read_tokens, rotate
from tests.waiting import eventually

# A server in a process of its own, for what signals do to it. It prints its URL when it answers.
PROGRAM = """
import asyncio
from mahavishnu_pools.mcp_serving import Answer, Service, Tool, serve
from mahavishnu_pools.schemas.base import Value

class Nap(Value):
    seconds: float

async def nap(arguments):
    print("napping", flush=True)
    await asyncio.sleep(arguments.seconds)
    return Answer("rested")

service = Service("test", version="1", tools=[Tool("nap", description="", arguments=Nap, call=nap)])
asyncio.run(serve(service, on_ready=lambda url: print(url, flush=True)))
print("ended", flush=True)
"""


class Text(Value):
    text: str
    times: int = 1


class Nothing(Value):
    pass


async def echo(arguments: Text) -> Answer:
    return Answer(arguments.text * arguments.times, {"text": arguments.text, "times": arguments.times})


async def refuse(_: Nothing) -> Answer:
    raise errors.PoolNotFound.of("nope", ["p1"])


async def crash(_: Nothing) -> Answer:
    raise RuntimeError("the inner workings")


TOOLS = (
    Tool("echo", description="Say it again.", arguments=Text, call=echo),
    Tool("refuse", description="", arguments=Nothing, call=refuse),
    Tool("crash", description="", arguments=Nothing, call=crash),
)


@asynccontextmanager
async def serving(**fields: object) -> AsyncIterator[str]:
    service = Service(**{"name": "test", "version": "1.2", "tools": TOOLS, **fields})  # type: ignore[arg-type]
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(service, on_ready=ready.set_result))
    await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
    yield await ready
    os.kill(os.getpid(), signal.SIGTERM)
    await task


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def test_tools_are_listed_with_their_arguments_and_answer_text_and_value() -> None:
    async with serving() as url, McpClient(url) as client:
        tools = await client.tools()
        answer = await client.call("echo", {"text": "ho ", "times": 2})

    assert tools["echo"]["required"] == ["text"]
    assert tools["refuse"]["type"] == "object"
    assert (answer.text, answer.value, answer.failed) == ("ho ho ", {"text": "ho ", "times": 2}, False)


async def test_the_official_client_works() -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async with (
        serving() as url,
        streamable_http_client(url) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        result = await session.call_tool("echo", {"text": "hello"})

    assert result.structured_content == {"text": "hello", "times": 1}


async def test_what_goes_wrong_is_a_tool_error_that_says_what_to_do() -> None:
    async with serving() as url, McpClient(url) as client:
        refused = await client.call("refuse", {})
        unknown = await client.call("nope", {})
        missing = await client.call("echo", {})
        extra = await client.call("echo", {"text": "a", "colour": "red"})

    assert [answer.failed for answer in (refused, unknown, missing, extra)] == [True] * 4
    assert "Pools that exist: p1" in refused.text
    assert refused.value["error"]["code"] == "pool_not_found"
    assert "Use one of: crash, echo, refuse" in unknown.text
    assert missing.text == "text: is missing. The arguments of echo are: text, times."
    assert "colour: is unknown" in extra.text


async def test_the_inner_workings_of_a_crash_stay_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as url, McpClient(url) as client:
        answer = await client.call("crash", {})
        after = await client.call("echo", {"text": "a"})

    assert answer.text == "crash failed in the server. Its log says why."
    assert "the inner workings" in caplog.text
    assert not after.failed


async def test_health_answers_at_both_addresses_without_the_token() -> None:
    async with serving(token="t0ps3cret", health=lambda: {"pools": 2}) as url, httpx.AsyncClient() as client:
        told = [(await client.get(url.removesuffix("/mcp") + path)).json() for path in ("/health", "/mcp/health")]

    assert told == [{"status": "ok", "service": "test", "version": "1.2", "pools": 2}] * 2


async def test_with_a_token_nobody_else_gets_in() -> None:
    async with serving(token="t0ps3cret") as url:
        async with McpClient(url, token="t0ps3cret") as client:
            assert (await client.call("echo", {"text": "in"})).text == "in"
        for token in (None, "wrong"):
            async with McpClient(url, token=token) as client:
                with pytest.raises(errors.RemoteRefused):
                    await client.call("echo", {"text": "in"})


async def test_a_token_is_changed_while_the_server_runs_and_nobody_is_locked_out(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("older")

    async def lets_in(url: str, token: str) -> bool:
        async with McpClient(url, token=token) as client:
            try:
                return not (await client.call("echo", {"text": "in"})).failed
            except errors.RemoteRefused:
                return False

    async with serving(tokens=TokenFile(file)) as url:
        before = await lets_in(url, "older")
        rotate(file)
        newer = read_tokens(file)[0]
        together = (await lets_in(url, "older"), await lets_in(url, newer))
        finish(file)
        apart = (await lets_in(url, "older"), await lets_in(url, newer))

    assert (before, together, apart) == (True, (True, True), (False, True))


async def test_requests_that_are_too_large_or_no_json_are_refused_and_the_server_goes_on() -> None:
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with serving(max_request_bytes=10_000) as url, httpx.AsyncClient(headers=headers) as client:
        large = await client.post(url, content=json.dumps({"x": "y" * 20_000}))
        rubbish = await client.post(url, content=b"{nonsense")
        listening = await client.get(url)
        async with McpClient(url) as other:
            answer = await other.call("echo", {"text": "on"})

    assert (large.status_code, rubbish.status_code, listening.status_code) == (413, 400, 405)
    assert answer.text == "on"


async def test_another_site_s_name_for_loopback_is_refused() -> None:
    async with serving() as url, httpx.AsyncClient() as client:
        answer = await client.post(url, headers={"Host": "evil.example"}, json={})

    assert answer.status_code == 421


async def test_an_address_for_everybody_needs_a_token() -> None:
    with pytest.raises(errors.InvalidField, match="there is no token"):
        await serve(Service("test", version="1", tools=TOOLS), host="0.0.0.0")


async def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(errors.InvalidField, match=f"127.0.0.1:{port} cannot be listened on"):
            await serve(Service("test", version="1", tools=TOOLS), port=port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_calls_end(program: subprocess.Popen[str], number: signal.Signals) -> None:
    url = await asyncio.to_thread(line, program)
    async with McpClient(url) as client:
        call = asyncio.create_task(client.call("nap", {"seconds": 0.5}))
        assert await asyncio.to_thread(line, program) == "napping"
        program.send_signal(number)

        assert (await call).text == "rested"

    assert await asyncio.to_thread(line, program) == "ended"
    assert program.wait(30) == 0


async def test_a_second_signal_ends_at_once(program: subprocess.Popen[str]) -> None:
    url = await asyncio.to_thread(line, program)
    async with McpClient(url) as client:
        call = asyncio.create_task(client.call("nap", {"seconds": 60}))
        assert await asyncio.to_thread(line, program) == "napping"
        program.send_signal(signal.SIGTERM)
        eventually(lambda: _refuses(url))
        program.send_signal(signal.SIGINT)

        with pytest.raises(errors.RemoteUnavailable):
            await call

    assert program.wait(30) == 0


def _refuses(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.split(":")[2].split("/")[0]))) != 0
