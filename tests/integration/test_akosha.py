"""The embedded Akosha as a process, spoken to by our client."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import McpClient
from tests.fixtures.warm import MAHAVISHNU, Program


class Akosha:
    """One server process; started again it has the same memories and another port."""

    def __init__(self, directory: Path, **environment: str) -> None:
        command = [*MAHAVISHNU, "akosha", "--port", "0", "--data-dir", str(directory)]
        self.process = Program(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | environment
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Akosha]]:
    started: list[Akosha] = []

    def starting(**environment: str) -> Akosha:
        started.append(Akosha(tmp_path, **environment))
        return started[-1]

    yield starting
    for server in started:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


def execution(number: int, **metadata: Any) -> dict[str, Any]:
    moment = datetime.now(UTC) - timedelta(minutes=number)
    known = {"type": "pool_worker_execution", "pool_id": f"pool_{number % 3}", "status": "completed", "source": "here"}
    known |= {"duration_seconds": 1.5, "created_at": moment.isoformat()}
    text = f"elephant number{number} ran"
    return {"memory_id": f"m{number}", "text": text, "embedding": [0.0] * 384, "metadata": known | metadata}


async def test_a_client_of_the_real_akosha_stores_and_stores_again(start: Callable[..., Akosha]) -> None:
    async with McpClient(start().url) as client:
        texts = [execution(n)["text"] for n in range(10)]
        vectors: Any = (await client.call("generate_batch_embeddings", {"texts": texts})).value
        assert [len(vector) for vector in vectors["embeddings"]] == [384] * 10
        batch = {"memories": [execution(n) for n in range(10)]}

        first: Any = (await client.call("batch_store_memories", batch)).value
        again: Any = (await client.call("batch_store_memories", batch)).value
        single: Any = (await client.call("store_memory", execution(3))).value

    assert first == {"status": "completed", "total": 10, "stored": 10, "failed": 0, "already_stored": 0, "errors": []}
    assert (again["stored"], again["already_stored"], again["failed"]) == (10, 10, 0)
    assert single == {"status": "stored", "memory_id": "m3", "already_stored": True}


async def test_what_cannot_be_stored_is_reported_and_the_rest_is_stored(start: Callable[..., Akosha]) -> None:
    broken: list[Any] = [{"memory_id": "empty", "text": ""}, {"text": "no id"}, execution(1)]
    async with McpClient(start().url) as client:
        report: Any = (await client.call("batch_store_memories", {"memories": broken})).value
        too_many = await client.call("batch_store_memories", {"memories": [execution(1)] * 1001})

    assert (report["status"], report["stored"], report["failed"]) == ("partial", 1, 2)
    assert [one["memory_id"] for one in report["errors"]] == ["empty", "#1"]
    assert too_many.failed


async def test_memories_outlive_a_killed_server(start: Callable[..., Akosha]) -> None:
    server = start()
    async with McpClient(server.url) as client:
        await client.call("batch_store_memories", {"memories": [execution(n) for n in range(100)]})
    server.stop(signal.SIGKILL)

    async with McpClient(start().url) as client:
        found: Any = (await client.call("search_all_systems", {"query": "elephant number42", "limit": 5})).value
        health = await client.health()

    assert [one["memory_id"] for one in found["results"]] == ["m42"]
    assert found["results"][0]["metadata"]["pool_id"] == "pool_0"
    assert (health["service"], health["memories"]) == ("akosha", 100)


async def test_a_database_that_somebody_else_holds_keeps_no_other_call_waiting(
    start: Callable[..., Akosha], tmp_path: Path
) -> None:
    server = start()
    async with McpClient(server.url, timeout=60.0) as client:
        with closing(sqlite3.connect(tmp_path / "akosha" / "memory.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            storing = asyncio.create_task(client.call("store_memory", {"memory_id": "m1", "text": "one"}))
            await asyncio.wait([storing], timeout=0.5)
            health = await client.health()
            vector = await client.call("generate_embedding", {"text": "one"})
            waits = not storing.done()
            other.execute("ROLLBACK")
        stored = await storing

    assert waits
    assert (health["status"], vector.failed, stored.failed) == ("ok", False, False)


async def test_ten_clients_that_store_the_same_store_it_once(start: Callable[..., Akosha]) -> None:
    batch = {"memories": [execution(n) for n in range(50)]}
    async with McpClient(start().url) as client:
        answers = await asyncio.gather(*(client.call("batch_store_memories", batch) for _ in range(10)))
        health = await client.health()

    reports: list[Any] = [answer.value for answer in answers]
    assert sum(one["stored"] - one["already_stored"] for one in reports) == 50
    assert health["memories"] == 50


async def test_search_takes_any_characters_and_filters(start: Callable[..., Akosha]) -> None:
    async with McpClient(start().url) as client:
        await client.call("batch_store_memories", {"memories": [execution(n) for n in range(6)]})
        odd = [await client.call("search_all_systems", {"query": query}) for query in ('"', "NEAR(", "*", "a:b-c")]
        own: Any = (await client.call("search_all_systems", {"query": "elephant", "pool_id": "pool_1"})).value
        none: Any = (await client.call("search_all_systems", {"query": "elephant", "system_id": "elsewhere"})).value

    assert not any(answer.failed for answer in odd)
    assert {one["memory_id"] for one in own["results"]} == {"m1", "m4"}
    assert none["total"] == 0


async def test_patterns_and_figures_of_all_pools_are_told(start: Callable[..., Akosha]) -> None:
    failures = [
        execution(n, status="failed", error=f"Timeout after {n} s", repository="/src/shop") for n in range(1, 7)
    ]
    async with McpClient(start().url) as client:
        await client.call("batch_store_memories", {"memories": failures})
        found: Any = (await client.call("find_patterns", {"hours": 24})).value
        metrics: Any = (await client.call("aggregate_metrics", {"group_by": "pool_id"})).value
        overall: Any = (await client.call("get_global_analytics", {})).value

    assert found["recurring_errors"][0]["signature"] == "Timeout after <n> s"
    assert len(found["recurring_errors"][0]["pools"]) == 3
    assert found["hot_repositories"][0]["repository"] == "/src/shop"
    assert {name: group["count"] for name, group in metrics["groups"].items()} == {
        "pool_0": 2,
        "pool_1": 2,
        "pool_2": 2,
    }
    assert (overall["memories"], overall["pools"], overall["tasks"]["failure_rate"]["rate"]) == (6, 3, 1.0)


async def test_the_configured_token_is_asked_for(start: Callable[..., Akosha]) -> None:
    server = start(MAHAVISHNU_AKOSHA_TOKEN="open-sesame")
    async with McpClient(server.url, token="wrong") as stranger, McpClient(server.url, token="open-sesame") as friend:
        with pytest.raises(errors.RemoteRefused, match="token"):
            await stranger.tools()
        tools = await friend.tools()

    assert {"store_memory", "batch_store_memories", "search_all_systems", "aggregate_metrics"} <= set(tools)


def test_it_stops_cleanly_when_asked(start: Callable[..., Akosha]) -> None:
    assert start().stop(signal.SIGTERM) == 0
