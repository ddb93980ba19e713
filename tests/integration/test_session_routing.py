"""Tasks of one session: on one pool, from Python, the command line and MCP, and not where a session cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.store.tasks import read_specs
from tests.fakes.worker import FakeNode


@pytest.fixture
async def pools(manager: PoolManager, node: FakeNode) -> list[str]:
    return [await manager.spawn_pool("mahavishnu", name=f"p{n}", worker_type="terminal-claude") for n in range(3)]


async def test_tasks_of_a_session_go_to_one_pool_unless_another_is_named(
    manager: PoolManager, pools: list[str]
) -> None:
    shell = await manager.spawn_pool("mahavishnu", name="shell", worker_type="shell")
    sent = [await manager.submit({"prompt": "x", "session": "fix"}) for _ in range(6)]
    many = await manager.submit_many([{"prompt": "x", "session": "fix"}] * 3)
    told = await manager.explain_route({"prompt": "x", "session": "fix"})
    other = next(pool for pool in pools if pool != sent[0].pool_id)
    named = await manager.submit({"prompt": "x", "session": "fix"}, pool=other)
    bound = await manager.submit({"prompt": "x", "session": "new", "affinity": other})

    with pytest.raises(errors.NoPoolAvailable, match="only those have sessions"):
        await manager.submit({"prompt": "x", "session": "fix"}, pool=shell)
    assert {one.pool_id for one in (*sent, *many)} == {sent[0].pool_id}
    assert (told.strategy, named.pool_id, bound.pool_id) == ("affinity", other, other)


async def test_a_task_that_is_sent_again_keeps_its_session(manager: PoolManager, pools: list[str]) -> None:
    failed = await manager.execute_on_pool("p0", {"prompt": "fail", "session": "fix"})

    retried = (await manager.retry([failed.task_id])).retried[failed.task_id]

    spec = (await (await manager.memory_store()).run(read_specs([retried])))[0]
    assert '"session":"fix"' in (spec or "").replace(" ", "")


@pytest.mark.parametrize("task", [{"task_type": "shell", "payload": {"command": "x"}, "session": "s"}])
async def test_a_command_has_no_session(manager: PoolManager, pools: list[str], task: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidField, match="session goes with a prompt"):
        await manager.submit(task)


async def test_a_turn_that_comes_after_another_goes_to_its_pool(manager: PoolManager, pools: list[str]) -> None:
    first = await manager.submit({"prompt": "x", "session": "fix"})
    later = await manager.submit({"prompt": "y", "session": "fix", "after": [first.task_id]})

    results = [await manager.result(one.task_id, wait_timeout=60) for one in (first, later)]

    assert [one.status for one in results] == ["completed"] * 2
    assert results[0].pool_id == results[1].pool_id


async def test_candidates_share_no_session(manager: PoolManager, pools: list[str]) -> None:
    with pytest.raises(errors.InvalidField, match="session"):
        await manager.race([{"prompt": "x", "session": "s"}], copies=2)


async def test_parts_of_a_task_share_no_session(manager: PoolManager, pools: list[str]) -> None:
    with pytest.raises(errors.InvalidField, match="session"):
        await manager.distribute({"prompt": "Fix {item}", "payload": {"items": ["a"]}, "session": "s"})


async def test_assistants_give_a_session_too(server: str, manager: PoolManager) -> None:
    async with McpClient(server) as mcp:
        await mcp.call("pool_spawn", {"name": "ai", "worker_type": "terminal-claude"})
        sent = await mcp.call("pool_execute", {"pool_id": "ai", "prompt": "x", "session": "fix"})

    spec = (await (await manager.memory_store()).run(read_specs([sent.value["task_id"]])))[0]
    assert '"session":"fix"' in (spec or "").replace(" ", "")
