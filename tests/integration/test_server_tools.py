"""The tools of the server, as two independent clients see them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client

from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.server.running import run
from mahavishnu_pools.settings import Settings
from tests.fakes.worker import FakeNode
from tests.waiting import eventually_async

#: A tool's name and arguments; the JSON it answers, its text, and whether it is an error.
Call = Callable[..., Awaitable[tuple[Any, str, bool]]]

#: Loaded machines are slow.
PATIENT = 30.0


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Call]:
    async with McpClient(url, timeout=120) as client:

        async def call(tool: str, **arguments: Any) -> tuple[Any, str, bool]:
            answer = await client.call(tool, arguments)
            return answer.value, answer.text, answer.failed

        yield call


@asynccontextmanager
async def official(url: str, mode: str = "auto") -> AsyncIterator[Call]:
    async with Client(url, mode=mode) as client:

        async def call(tool: str, **arguments: Any) -> tuple[Any, str, bool]:
            answer = await client.call_tool(tool, arguments)
            return answer.structured_content, answer.content[0].text, bool(answer.is_error)

        yield call


def legacy(url: str) -> Any:
    return official(url, "legacy")


CLIENTS = pytest.mark.parametrize("connect", [ours, official, legacy], ids=["ours", "official", "official-legacy"])


@CLIENTS
async def test_a_pool_is_made_used_scaled_and_closed(server: str, connect: Any) -> None:
    async with connect(server) as call:
        made, _, _ = await call("pool_spawn", pool_type="mahavishnu", name="two", min_workers=2, max_workers=5)
        ran, text, failed = await call("pool_execute", pool_id="two", task_type="shell", payload={"command": "echo"})
        routed, _, _ = await call("pool_route_execute", prompt="Write tests", pool_selector="least_loaded")
        scaled, _, _ = await call("pool_scale", pool_id="two", target_workers=3)
        listed, _, _ = await call("pool_list")
        health, _, _ = await call("pool_health")
        closed, _, _ = await call("pool_close", pool_id="two")

    assert (made["name"], made["workers"]) == ("two", 2)
    assert (ran["status"], ran["ended"], failed) == ("completed", True, False)
    assert f"Task {ran['task_id']} completed" in text
    assert routed["output"] == "Write tests"
    assert scaled["workers"] == 3
    assert {pool["name"] for pool in listed["pools"]} == {"local", "two"}
    assert health["status"] == "healthy"
    assert closed["name"] == "two"


@CLIENTS
async def test_what_is_wrong_is_a_tool_error_that_says_what_to_do(server: str, connect: Any) -> None:
    async with connect(server) as call:
        unknown = await call("pool_execute", pool_id="nope", prompt="a")
        missing = await call("pool_execute", prompt="a")
        neither = await call("pool_execute", pool_id="local")
        many = await call("pool_scale", pool_id="local", target_workers=90)
        unsure = await call("pool_close_all")

    assert [one[2] for one in (unknown, missing, neither, many, unsure)] == [True] * 5
    assert unknown[0]["error"]["code"] == "pool_not_found"
    assert unknown[1].endswith("Pools that exist: local. The tool pool_list shows them.")
    assert missing[1].startswith("pool_id: is missing. The arguments of pool_execute are: pool_id, prompt,")
    assert "needs a prompt" in neither[1]
    assert many[0]["error"]["details"]["max_workers"] == 5
    assert "confirm: must be true" in unsure[1]


@CLIENTS
async def test_a_call_that_takes_too_long_tells_the_id_and_the_task_goes_on(
    server: str, node: FakeNode, connect: Any
) -> None:
    async with connect(server) as call:
        begun, text, failed = await call("pool_execute", pool_id="local", prompt="hold", wait_seconds=0.2)
        assert (begun["ended"], failed) == (False, False)
        assert "pool_task" in text
        later = asyncio.create_task(call("pool_task", task_id=begun["task_id"], wait_seconds=PATIENT))
        node.release()
        found, _, _ = await later

    assert found["task"]["status"] == "completed"


@CLIENTS
async def test_a_client_that_cancels_its_call_cancels_the_task(server: str, manager: PoolManager, connect: Any) -> None:
    async with connect(server) as call:
        with anyio.move_on_after(PATIENT) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: call("pool_execute", pool_id="local", prompt="hold", timeout=60))
                held = await _one_running(manager)
                group.cancel_scope.cancel()
        assert not scope.cancelled_caught
        await eventually_async(lambda: _status(manager, held), until=lambda seen: seen == "cancelled", within=PATIENT)


async def test_a_client_that_goes_away_leaves_the_task(server: str, manager: PoolManager, node: FakeNode) -> None:
    writer = await _half_a_client(server)
    held = await _one_running(manager)
    await _closed(writer)
    async with ours(server) as call:
        assert (await call("pool_task", task_id=held))[0]["task"]["status"] == "running"
        node.release()
        found, _, _ = await call("pool_task", task_id=held, wait_seconds=PATIENT)

    assert found["task"]["status"] == "completed"


async def test_a_server_that_stops_answers_who_waits_and_leaves_the_tasks(
    quick_settings: Settings, node: FakeNode, manager: PoolManager
) -> None:
    await manager.spawn_pool("mahavishnu", name="local", worker_type="shell")
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(run(quick_settings, port=0, on_ready=ready.set_result))
    async with ours(await ready) as call:
        waiting = asyncio.create_task(call("pool_execute", pool_id="local", prompt="hold"))
        held = await _one_running(manager)
        os.kill(os.getpid(), signal.SIGTERM)
        answered, _, failed = await waiting
    await serving

    assert (answered["task_id"], answered["ended"], failed) == (held, False, False)
    node.release()
    assert (await manager.result(held, wait_timeout=PATIENT)).ok


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_progress_is_told_while_a_task_runs(server: str, node: FakeNode, mode: str) -> None:
    heard: list[str] = []
    told = asyncio.Event()

    async def progress(_seconds: float, _total: float | None, message: str | None) -> None:
        heard.append(str(message))
        if "running" in str(message):
            told.set()

    async with Client(server, mode=mode) as client:
        arguments = {"pool_id": "local", "prompt": "hold", "wait_seconds": PATIENT}
        call = asyncio.create_task(client.call_tool("pool_execute", arguments, progress_callback=progress))
        await asyncio.wait_for(told.wait(), PATIENT)
        node.release()
        assert (await call).structured_content["status"] == "completed", heard


async def test_a_list_is_spread_found_as_a_batch_and_sent_again(server: str) -> None:
    async with ours(server) as call:
        work = {"prompt": "see {item}", "payload": {"items": ["a", "b", "c"]}, "strategy": "map_reduce"}
        spread, _, _ = await call("pool_distribute", **work)
        batch, _, _ = await call("pool_task", batch_id=spread["batch_id"])
        tasks, _, _ = await call("pool_tasks", batch_id=spread["batch_id"])
        bad, _, _ = await call("pool_execute", pool_id="local", prompt="fail")
        again, _, _ = await call("pool_retry", task_ids=[bad["task_id"], tasks["tasks"][0]["task_id"]])
        ended, text, _ = await call("pool_cancel", task_id=bad["task_id"])

    assert (spread["total"], spread["successful"], spread["ended"]) == (3, 3, True)
    assert spread["reduced"] == {"reduced": "concat"}
    assert [one["status"] for one in batch["batch"]["items"]] == ["completed"] * 3
    assert tasks["total"] == 3
    assert bad["status"] == "failed"
    assert list(again["retried"]) == [bad["task_id"]]
    assert again["skipped"] == {tasks["tasks"][0]["task_id"]: "it is completed"}
    assert (ended["finished"], text) == (1, "0 will not run, 0 are being stopped, 1 had ended before")


async def test_the_older_verbs_make_workers_and_use_them(server: str) -> None:
    async with ours(server) as call:
        made, _, _ = await call("worker_spawn", worker_type="shell", count=3)
        more, _, _ = await call("worker_spawn", worker_type="shell", count=4)
        ran, _, _ = await call("worker_execute", worker_id=made["worker_ids"][2], prompt="Write code")

    assert made["worker_ids"] == ["workers-shell/1", "workers-shell/2", "workers-shell/3"]
    assert more["pool"]["workers"] == 4
    assert (ran["output"], ran["pool_id"]) == ("Write code", made["pool"]["pool_id"])


async def test_a_task_sent_twice_under_one_key_is_not_cancelled_by_who_sent_it_second(
    server: str, manager: PoolManager, node: FakeNode
) -> None:
    async with ours(server) as call:
        first, _, _ = await call("pool_submit", prompt="hold", idempotency_key="k")
        second = asyncio.create_task(call("pool_execute", pool_id="local", prompt="hold", idempotency_key="k"))
        await asyncio.wait([second], timeout=0.5)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert (await call("pool_task", task_id=first["task_id"]))[0]["task"]["status"] in ("queued", "running")
        node.release()
        found, _, _ = await call("pool_task", task_id=first["task_id"], wait_seconds=PATIENT)

    assert found["task"]["status"] == "completed"


async def test_fifty_calls_at_once_are_all_answered(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Server and clients are one process here, and on a busy machine all of them wait for each other.
    monkeypatch.setattr("mahavishnu_pools.mcp_client.wire.CONNECT_SECONDS", 60.0)
    async with ours(server) as call, official(server) as other:
        calls = [(call, other)[number % 2]("pool_route_execute", prompt=f"p{number}") for number in range(50)]
        answers = await asyncio.gather(*calls)

    assert [answer[0]["output"] for answer in answers] == [f"p{number}" for number in range(50)]


async def test_every_answer_fits_the_schema_the_tool_names(server: str) -> None:
    # The official client checks each answer against it.
    async with official(server) as call:
        for tool, arguments in (
            ("pool_monitor", {}),
            ("pool_tasks", {}),
            ("pool_search_memory", {"query": "anything"}),
            ("pool_pause", {"pool_id": "local"}),
            ("pool_resume", {"pool_id": "local"}),
            ("pool_rebalance", {"dry_run": True}),
            ("pool_drain", {"pool_id": "local", "timeout": 1}),
            ("pool_close_all", {"confirm": True}),
        ):
            value, text, failed = await call(tool, **arguments)
            assert not failed, (tool, text)
            assert value, tool


async def _one_running(manager: PoolManager) -> str:
    found = await eventually_async(lambda: manager.tasks(status=["running"]), within=PATIENT)
    return found[0].task_id


async def _status(manager: PoolManager, task_id: str) -> str:
    return (await manager.task(task_id)).status.value


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


async def _half_a_client(url: str) -> asyncio.StreamWriter:
    """Call pool_execute with a protocol version in which closing the connection is no cancellation."""
    host, port = url.removeprefix("http://").removesuffix("/mcp").split(":")

    def request(body: dict[str, Any], session: str = "") -> bytes:
        content = json.dumps(body).encode()
        lines = [
            "POST /mcp HTTP/1.1",
            f"Host: {host}:{port}",
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
            f"Content-Length: {len(content)}",
            *([f"Mcp-Session-Id: {session}"] if session else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + content

    reader, writer = await asyncio.open_connection(host, int(port))
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    writer.write(request({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}))
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    session = head.partition("mcp-session-id: ")[2].partition("\r\n")[0]
    await _closed(writer)
    _, writer = await asyncio.open_connection(host, int(port))
    arguments = {"pool_id": "local", "prompt": "hold"}
    call = {"name": "pool_execute", "arguments": arguments}
    writer.write(request({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}, session))
    await writer.drain()
    return writer
