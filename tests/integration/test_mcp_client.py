"""The MCP client against a server of the official SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import McpClient
from tests.fakes.mcp_server import RealServer
from tests.waiting import eventually_async


@pytest.fixture(params=[False, True], ids=["stream", "json"])
def server(request: pytest.FixtureRequest) -> Iterator[RealServer]:
    server = RealServer(json_response=request.param)
    yield server
    server.stop()


async def test_tools_are_listed_with_their_arguments(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        tools = await client.tools()

    assert set(tools) == {"echo", "numbers", "broken", "slow"}
    assert tools["echo"]["properties"]["text"]["type"] == "string"


async def test_a_text_is_answered_as_text_and_value(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        answer = await client.call("echo", {"text": "Grüße \u2028 🐘"})

    assert (answer.text, answer.value, answer.failed) == ("Grüße \u2028 🐘", "Grüße \u2028 🐘", False)


async def test_an_object_is_answered_as_value(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        answer = await client.call("numbers", {"count": 3})

    assert answer.value == {"numbers": [0, 1, 2], "words": "one\u2028two\x85three"}


async def test_a_large_answer_arrives_whole(server: RealServer) -> None:
    text = "0123456789" * 100_000
    async with McpClient(server.url) as client:
        answer = await client.call("echo", {"text": text})

    assert answer.value == text


async def test_a_text_that_begins_with_a_cross_is_a_failure(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        answers = [await client.call("echo", {"text": text}) for text in ("❌ Failed", "⚠️ Not found", "✅ Done ❌")]

    assert [answer.failed for answer in answers] == [True, True, False]


async def test_a_tool_that_raises_is_a_failed_answer(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        answer = await client.call("broken", {})

    assert answer.failed
    assert "the disk is full" in answer.text


async def test_arguments_of_the_wrong_type_are_a_failed_answer(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        answer = await client.call("numbers", {"count": "many"})

    assert answer.failed


async def test_a_tool_that_does_not_exist_is_a_failed_answer_with_its_name(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        answer = await client.call("nonesuch", {})

    assert answer.failed
    assert "nonesuch" in answer.text


async def test_many_calls_at_once_share_one_session_and_get_their_own_answers(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        answers = await asyncio.gather(*(client.call("echo", {"text": str(number)}) for number in range(100)))

    assert [answer.value for answer in answers] == [str(number) for number in range(100)]
    assert len(server.calls) == 100


async def test_after_a_restart_of_the_server_calls_go_on(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        await client.call("echo", {"text": "before"})
        server.stop()
        with pytest.raises(errors.RemoteUnavailable) as caught:
            await client.call("echo", {"text": "during"})
        server.start()

        answers = await asyncio.gather(*(client.call("echo", {"text": f"after {n}"}) for n in range(20)))

    assert caught.value.maybe_ran is False
    assert [answer.value for answer in answers] == [f"after {n}" for n in range(20)]
    assert sorted(server.calls) == sorted(["before", *(f"after {n}" for n in range(20))])


async def test_the_server_hears_that_nobody_waits_any_more(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        await client.tools()
        # Long enough for the call to reach the server on a slow machine.
        with pytest.raises(errors.RemoteUnavailable, match="did not answer within") as caught:
            await client.call("slow", {}, timeout=2)
        assert await asyncio.to_thread(server.cancelled.wait, 30)

        assert caught.value.maybe_ran is True
        assert (await client.call("echo", {"text": "still here"})).value == "still here"


async def test_a_cancelled_call_is_cancelled_on_the_server(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        task = asyncio.create_task(client.call("slow", {}))

        async def calls() -> list[str]:
            return server.calls

        await eventually_async(calls)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await asyncio.to_thread(server.cancelled.wait, 30)


async def test_health_is_read_beside_the_endpoint(server: RealServer) -> None:
    async with McpClient(server.url) as client:
        assert await client.health() == {"status": "ok", "service": "real"}


async def test_closing_twice_is_closing_once(server: RealServer) -> None:
    client = McpClient(server.url)
    await client.call("echo", {"text": "hello"})

    await client.close()
    await client.close()
