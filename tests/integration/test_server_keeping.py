"""The tools of the server that keep a system in order, as the official client sees them: it checks every answer."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client

from mahavishnu_pools.manager import PoolManager
from tests.fakes.worker import FakeNode
from tests.store.world import World

#: Seconds a test waits for an outcome.
PATIENT = 30


class Calls:
    """Calls tools, each with a client of its own; an error of a tool is an assertion's."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __call__(self, tool: str, **arguments: Any) -> Any:
        answer = await self._answer(tool, arguments)
        assert not answer.is_error, answer.content[0].text
        return answer.structured_content

    async def refused(self, tool: str, **arguments: Any) -> str:
        answer = await self._answer(tool, arguments)
        assert answer.is_error, answer.structured_content
        return str(answer.content[0].text)

    async def _answer(self, tool: str, arguments: dict[str, Any]) -> Any:
        async with Client(self._url) as client:
            return await client.call_tool(tool, arguments)


@pytest.fixture
def call(server: str) -> Calls:
    return Calls(server)


@pytest.fixture
def given_up(redis_url: str, namespace: str) -> str:
    """Return the id of a task that lost three worker groups while it ran alone."""
    world = World(redis_url, namespace)
    pool = world.pool("crashing")
    (task_id,) = world.to(pool)
    for _ in range(3):
        lease = world.lease(pool)
        world.claim(lease, pool)
        world.reap(lease, cause="loss")
    return str(task_id)


async def test_dead_letters_are_listed_shown_run_again_and_forgotten(call: Calls, given_up: str) -> None:
    listed = await call("pool_dead_list", pool_id="crashing")
    shown = await call("pool_dead_show", task_id=given_up)
    replayed = await call("pool_dead_replay", task_ids=[given_up], pool_id="local")
    ended = await call("pool_task", task_id=given_up, wait_seconds=PATIENT)
    left = await call("pool_dead_list")

    assert [one["task_id"] for one in listed["dead"]] == [given_up]
    assert "three times" in shown["cause"]
    assert '"prompt":"x"' in shown["spec"].replace(" ", "")
    assert replayed == {"replayed": [given_up]}
    assert ended["task"]["status"] == "completed"
    assert left == {"total": 0, "dead": []}


async def test_forgetting_dead_letters_needs_ids_or_all(call: Calls, given_up: str) -> None:
    assert "task_ids: is empty" in await call.refused("pool_dead_purge")
    assert "exclude each other" in await call.refused("pool_dead_purge", task_ids=[given_up], all=True)
    assert "task_ids: is empty" in await call.refused("pool_dead_replay")
    assert await call("pool_dead_purge", older_than=3600) == {"purged": 0}
    assert await call("pool_dead_purge", all=True) == {"purged": 1}
    assert given_up in await call.refused("pool_dead_show", task_id=given_up)


async def test_many_tasks_are_sent_as_one_batch_or_not_at_all(call: Calls, manager: PoolManager) -> None:
    sent = await call("pool_submit_many", tasks=[{"prompt": "a"}, {"prompt": "b", "priority": 9}], pool_id="local")
    told = await call("pool_task", batch_id=sent["batch_id"], wait_seconds=PATIENT)
    refused = await call.refused("pool_submit_many", tasks=[{"prompt": "c"}, {"task_type": "shell", "payload": {}}])
    empty = await call.refused("pool_submit_many", tasks=[])

    assert sent["total"] == 2
    assert [one["output"] for one in told["batch"]["items"]] == ["a", "b"]
    assert "payload.command" in refused
    assert "tasks" in empty
    assert {one.task_id for one in await manager.tasks(limit=100)} == set(sent["task_ids"])


async def test_tasks_that_had_been_submitted_before_are_told_of_in_their_batch(call: Calls) -> None:
    first = await call("pool_submit_many", tasks=[{"prompt": "a", "idempotency_key": "a"}], pool_id="local")
    again = await call("pool_submit_many", tasks=[{"prompt": "a", "idempotency_key": "a"}, {"prompt": "b"}])

    assert first["known"] == []
    assert again["known"] == first["task_ids"] == again["task_ids"][:1]


async def test_waiting_tasks_of_all_pools_are_cancelled_at_once(
    call: Calls, manager: PoolManager, node: FakeNode
) -> None:
    await manager.spawn_pool("mahavishnu", name="other", worker_type="shell")
    for pool in ("local", "other"):
        await call("pool_pause", pool_id=pool)
        await call("pool_submit", prompt="never", pool_id=pool)

    assert (await call("pool_cancel", queued=True))["cancelled"] == 2
    assert "exactly one" in (await call.refused("pool_cancel", queued=True, pool_id="local")).lower()


async def test_what_happened_what_limits_and_who_runs_is_told(call: Calls) -> None:
    ran = await call("pool_execute", pool_id="local", prompt="a")
    events = await call("pool_events", pool_id="local", types=["pool_*"], since="1h")
    recent = await call("pool_tasks", since="1h")
    early = await call("pool_tasks", since="1970-01-02")
    later = await call("pool_tasks", since="2200-01-01T00:00:00Z")
    wrong = await call.refused("pool_events", since="soon")

    assert "pool_created" in [one["type"] for one in events["events"]]
    assert [one["task_id"] for one in recent["tasks"]] == [ran["task_id"]] == [early["tasks"][0]["task_id"]]
    assert later["total"] == 0
    assert "since: 'soon' is no time" in wrong
    assert await call("pool_limits") == {"cool_downs": [], "pools": []}
    assert "does not cool down" in await call.refused("pool_end_cool_down", worker_type="terminal-claude")
    assert (await call("pool_usage", days=7))["rows"] == []
    assert [one["alive"] for one in (await call("pool_nodes"))["nodes"]] == [True]


async def test_memories_are_delivered_and_found_by_their_outcome(call: Calls) -> None:
    ran = await call("pool_execute", pool_id="local", prompt="Pick raspberries")
    synced = await call("pool_sync")
    found = await call("pool_search_memory", query="raspberries", status="completed", since="1h")
    failed = await call("pool_search_memory", query="raspberries", status="failed")
    old = await call("pool_search_memory", query="raspberries", until="1h", pool_id=ran["pool_id"])

    assert set(synced) == {"pools_synced", "memory_items_synced", "memory_items_pending", "timestamp", "errors"}
    assert [one["task_id"] for one in found["results"]] == [ran["task_id"]]
    assert (failed["total"], old["total"]) == (0, 0)
    assert (await call("pool_set_aside"))["records"] == []
    assert (await call("pool_set_aside", action="purge"))["purged"] == 0
    assert (await call("pool_set_aside", action="retry"))["set_aside"] == 0
