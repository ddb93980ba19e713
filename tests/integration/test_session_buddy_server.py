"""The Session-Buddy server as a process: tools, memory, restarts, and what is left when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import McpClient
from tests.fixtures.warm import MAHAVISHNU, Program
from tests.waiting import eventually

PROGRAM = (*MAHAVISHNU, "session-buddy", "--port", "0")


@contextmanager
def server(data_dir: Path, *arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the server and give its process and URL; it is stopped in order, and must end with code 0."""
    command = [*PROGRAM, "--data-dir", str(data_dir), *arguments]
    environment = {**os.environ, "MAHAVISHNU_KILL_GRACE": "1", **variables}
    with Program(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=data_dir) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
        finally:
            process.kill()


async def test_the_nine_pool_tools_answer_in_fields_and_sentences(tmp_path: Path) -> None:
    with server(tmp_path) as (_, url):
        async with McpClient(url) as client:
            tools = await client.tools()
            made = await client.call("create_pool", {"pool_id": "p1", "worker_type": "shell"})
            ran = await client.call("execute_on_pool", {"pool_id": "p1", "prompt": "echo out"})
            batch = await client.call("execute_batch_on_pool", {"pool_id": "p1", "prompts": ["true", "exit 3"]})
            routed = await client.call("route_to_pool", {"prompt": "echo r", "selector": "round_robin"})
            listed = await client.call("list_pools", {})
            status = await client.call("get_pool_status", {"pool_id": "p1"})
            health = await client.call("check_pool_health", {"pool_id": "p1"})
            all_health = await client.call("check_pool_health", {})
            summary = await client.call("get_pool_manager_status", {})
            deleted = await client.call("delete_pool", {"pool_id": "p1"})

    assert len(tools) == 14
    assert made.text == "✅ Created pool p1 with 3 workers"
    assert (ran.value["status"], ran.value["output"], ran.value["exit_code"]) == ("completed", "out\n", 0)
    assert [one["exit_code"] for one in batch.value["results"]] == [0, 3]
    assert (batch.value["completed"], batch.failed) == (1, False)
    assert routed.value["pool_id"] == "p1"
    assert routed.text.startswith("Routed task to pool p1 using round_robin")
    assert listed.text == "📊 Pools (1 total):\n  - p1: running=True, workers=3"
    assert (status.value["tasks_submitted"], status.value["success_rate"]) == (4, 0.75)
    assert "Success rate: 75.0%" in status.text
    assert health.text.splitlines()[1:] == ["Status: healthy", "Healthy workers: 3/3"]
    assert (all_health.value["pools_total"], all_health.value["pools_healthy"]) == (1, 1)
    assert summary.value["tasks_completed"] == 3
    assert deleted.text == "✅ Deleted pool p1"


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("execute_on_pool", {"pool_id": "nope", "prompt": "x"}, "Pool 'nope' not found. Pools that exist: p1."),
        ("execute_on_pool", {"pool_id": "p1", "prompt": "  "}, "prompt: must be a text that is not blank"),
        ("execute_on_pool", {"pool_id": "p1", "prompt": "x", "timeout": -1}, "timeout: is -1. Give seconds above 0"),
        ("execute_on_pool", {"pool_id": "p1"}, "prompt: is missing. The arguments of execute_on_pool are"),
        ("execute_on_pool", {"pool_id": "p1", "prompt": "x", "context": {"cwd": 5}}, "context.cwd: must be a text"),
        ("execute_batch_on_pool", {"pool_id": "p1", "prompts": []}, "prompts: must not be empty"),
        ("route_to_pool", {"prompt": "x", "selector": "best"}, "Use one of: least_loaded, random, round_robin"),
        ("create_pool", {"pool_id": "p1"}, "Pool p1 already exists"),
        ("create_pool", {"pool_id": "../p"}, "cannot be used"),
        ("delete_pool", {"pool_id": "nope"}, "Pool nope not found"),
        ("search_memory", {"query": "x", "limit": 0}, "limit: must be 1 or more"),
        ("search_memory", {"since": "2026-01-01T00:00:00"}, "since: "),
        ("store_memory", {"memory_id": "", "content": "x"}, "memory_id: must not be empty"),
        ("store_conversation", {"content": "short"}, "content: must have at least 10 characters"),
    ],
)
async def test_bad_arguments_are_tool_errors(buddy: str, tool: str, arguments: dict[str, object], told: str) -> None:
    async with McpClient(buddy) as client:
        answer = await client.call(tool, arguments)  # type: ignore[arg-type]

    assert answer.failed
    assert told in answer.text


async def test_memory_is_stored_once_found_by_all_filters_and_kept_over_kill_9(tmp_path: Path) -> None:
    metadata = {"pool_id": "p", "status": "failed", "repo": "api", "timestamp": "2026-01-02T03:04:05+00:00"}
    record = {"memory_id": "m1", "content": "the parser broke", "metadata": metadata}
    with server(tmp_path) as (process, url):
        async with McpClient(url) as client:
            first = await client.call("store_memory", record)
            again = await client.call("batch_store_memories", {"memories": [record, {**record, "memory_id": "m2"}]})
            talk = await client.call("store_conversation", {"content": "we spoke of parsers", "project": "web"})
        process.send_signal(signal.SIGKILL)
        process.wait(30)

    with server(tmp_path) as (_, url):
        async with McpClient(url) as client:
            asked = {"query": "pars*", "pool_id": "p", "status": "failed", "filters": {"repo": "api"}}
            found = await client.call("search_memory", {**asked, "until": "2026-01-02T03:04:06Z"})
            none = await client.call("search_memory", {**asked, "until": "2026-01-02T03:04:05Z"})
            odd = await client.call("search_conversations", {"query": '"parsers NEAR( *', "project": "web"})
            talks = await client.call("search_conversations", {"query": "parsers", "project": "web"})

    assert (first.value["new"], again.value["new"], again.value["stored"]) == (True, 1, 2)
    assert sorted(hit["memory_id"] for hit in found.value["results"]) == ["m1", "m2"]
    assert found.value["results"][0]["metadata"] == metadata
    assert (none.value["count"], odd.value["count"]) == (0, 0)
    assert [hit["memory_id"] for hit in talks.value["results"]] == [talk.value["conversation_id"]]
    assert talks.text.startswith("Found 1 memories\n1. [")


async def test_pools_are_there_again_after_a_restart(tmp_path: Path) -> None:
    with server(tmp_path) as (process, url):
        async with McpClient(url) as client:
            await client.call("create_pool", {"pool_id": "kept", "worker_type": "echo"})
            await client.call("create_pool", {"pool_id": "gone"})
            await client.call("delete_pool", {"pool_id": "gone"})
        process.send_signal(signal.SIGKILL)
        process.wait(30)

    with server(tmp_path) as (_, url):
        async with McpClient(url) as client:
            listed = await client.call("list_pools", {})
            ran = await client.call("execute_on_pool", {"pool_id": "kept", "prompt": "hello"})

    assert [one["pool_id"] for one in listed.value["pools"]] == ["kept"]
    assert ran.value["output"] == "hello"


def tree(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


async def sleeper(client: McpClient, process: subprocess.Popen[str]) -> tuple[asyncio.Task[object], psutil.Process]:
    """Start a task with a grandchild and give its call and the grandchild."""
    prompt = "sh -c 'sleep 600; true' & wait"
    call = client.call("execute_on_pool", {"pool_id": "p1", "prompt": prompt, "timeout": 60})
    running = asyncio.create_task(call)  # type: ignore[arg-type]
    look = lambda: [one for one in tree(process) if one.name() == "sleep"]  # noqa: E731
    return running, (await asyncio.to_thread(eventually, look))[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_what_tasks_started_ends_with_the_server(tmp_path: Path, number: signal.Signals) -> None:
    with server(tmp_path) as (process, url):
        async with McpClient(url, timeout=60) as client:
            await client.call("create_pool", {"pool_id": "p1", "worker_type": "shell"})
            running, grandchild = await sleeper(client, process)
            left = tree(process)
            process.send_signal(number)
            await asyncio.wait([running])
            running.exception()

        await asyncio.to_thread(eventually, lambda: not grandchild.is_running())
        await asyncio.to_thread(eventually, lambda: not any(one.is_running() for one in left))
        assert process.wait(30) == (0 if number == signal.SIGTERM else -signal.SIGKILL)


async def test_a_call_that_is_given_up_ends_the_task(tmp_path: Path) -> None:
    with server(tmp_path) as (process, url):
        async with McpClient(url, timeout=60) as client:
            await client.call("create_pool", {"pool_id": "p1", "worker_type": "shell"})
            running, grandchild = await sleeper(client, process)
            running.cancel()
            await asyncio.wait([running])

            await asyncio.to_thread(eventually, lambda: not grandchild.is_running())


def test_two_servers_cannot_have_one_directory(tmp_path: Path) -> None:
    with server(tmp_path):
        second = subprocess.run(
            [*PROGRAM, "--data-dir", str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
        )

    assert second.returncode == 4
    assert "Another Session-Buddy runs on" in second.stderr


def test_an_address_for_everybody_needs_a_token(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*PROGRAM, "--data-dir", str(tmp_path), "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ended.returncode == 2
    assert "there is no token" in ended.stderr


async def test_the_token_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ps3cret\n")
    with server(tmp_path, "--token-file", str(tmp_path / "token")) as (_, url):
        async with McpClient(url, token="t0ps3cret") as client:
            assert not (await client.call("list_pools", {})).failed
        async with McpClient(url) as client:
            with pytest.raises(errors.RemoteRefused):
                await client.call("list_pools", {})


@pytest.fixture(scope="module")
def buddy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(tmp_path_factory.mktemp("buddy")) as (_, url):
        asyncio.run(_create(url))
        yield url


async def _create(url: str) -> None:
    async with McpClient(url) as client:
        await client.call("create_pool", {"pool_id": "p1", "worker_type": "echo"})
