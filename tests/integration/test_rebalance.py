"""Rebalance from Python: loads get even, tasks run where they were moved to, and only what fits is moved."""

from __future__ import annotations

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.routing.eligibility import PoolFilter
from mahavishnu_pools.schemas.pool import PoolSelector
from tests.fakes.worker import FakeNode
from tests.waiting import eventually_async


async def fill(manager: PoolManager, pool: str, count: int, **fields: object) -> list[str]:
    """Keep a pool's workers busy and have so many tasks wait; returns the ids of those that wait."""
    hold = await manager.submit({"prompt": "hold"}, pool=pool)
    await eventually_async(lambda: manager.task(hold.task_id), until=lambda task: task.status == "running")
    sent = await manager.submit_many([{"prompt": f"{pool} {number}", **fields} for number in range(count)], pool=pool)
    return [one.task_id for one in sent]


async def test_waiting_tasks_move_to_the_idle_pool_and_run_there(manager: PoolManager, node: FakeNode) -> None:
    for name in ("a", "b"):
        await manager.spawn_pool(name=name, worker_type="terminal-claude")
    ids = await fill(manager, "a", 9)

    moved = await manager.rebalance()

    assert moved["moved"] == 5
    assert [(one.source_name, one.target_name, one.priority, one.tasks) for one in moved.moves] == [("a", "b", 5, 5)]
    assert [(pool.name, pool.queued_before, pool.queued_after) for pool in moved.pools] == [("a", 9, 4), ("b", 0, 5)]
    # The newest went, and they run in their order.
    results = [await manager.result(one, wait_timeout=30) for one in ids[4:]]
    assert [result.output for result in results] == [f"a {number}" for number in range(4, 9)]
    assert [task for pool, task in node.ran if pool == "b"] == ids[4:]


async def test_a_dry_run_tells_the_same_and_moves_nothing(manager: PoolManager, node: FakeNode) -> None:
    for name in ("a", "b"):
        await manager.spawn_pool(name=name, worker_type="terminal-claude")
    await fill(manager, "a", 9)

    told = await manager.rebalance(dry_run=True)

    assert (told.moved, told.dry_run) == (5, True)
    assert (await manager.pool_info("a")).queued == 9
    assert (await manager.rebalance()).moves == told.moves


async def test_only_named_pools_take_part_and_a_paused_one_gets_nothing(manager: PoolManager, node: FakeNode) -> None:
    for name in ("a", "b", "c"):
        await manager.spawn_pool(name=name, worker_type="terminal-claude")
    await fill(manager, "a", 8)
    await manager.pause_pool("b")

    nothing = await manager.rebalance(pools=["a", "b"])
    moved = await manager.rebalance("round_robin", pools=["a", "b", "c"])

    assert (nothing.moved, nothing.left_out) == (0, {"b": "it is paused"})
    assert {one.target_name for one in moved.moves} == {"c"}


async def test_prompts_stay_with_their_worker_type_and_commands_go_anywhere(
    manager: PoolManager, node: FakeNode
) -> None:
    await manager.spawn_pool(name="ai", worker_type="terminal-claude")
    await manager.spawn_pool(name="shells", worker_type="shell")
    await fill(manager, "ai", 6)

    assert (await manager.rebalance()).moved == 0
    await manager.submit_many([{"task_type": "shell", "payload": {"command": "true"}}] * 3, pool="ai")
    assert (await manager.rebalance()).moved == 3


async def test_tasks_keep_to_the_filter_they_were_sent_with(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool(name="a", worker_type="terminal-claude", tags=["x"])
    await manager.spawn_pool(name="b", worker_type="terminal-claude")
    await fill(manager, "a", 0)
    await manager.submit_many([{"prompt": "x"}] * 6, filters=PoolFilter(tags=("x",)))

    assert (await manager.rebalance()).moved == 0
    await manager.spawn_pool(name="c", worker_type="terminal-claude", tags=["x", "y"])
    assert {one.target_name for one in (await manager.rebalance()).moves} == {"c"}


async def test_everything_leaves_a_pool_that_is_drained(manager: PoolManager, node: FakeNode) -> None:
    for name in ("a", "b"):
        await manager.spawn_pool(name=name, worker_type="terminal-claude")
    ids = await fill(manager, "a", 5)
    await manager.drain_pool("a")

    assert (await manager.rebalance()).moved == 5
    assert all([(await manager.result(one, wait_timeout=30)).ok for one in ids])


async def test_tasks_with_an_affinity_key_stay_until_they_are_sent_home(manager: PoolManager, node: FakeNode) -> None:
    for name in ("a", "b"):
        await manager.spawn_pool(name=name, worker_type="terminal-claude")
    for name in ("a", "b"):
        await fill(manager, name, 0)
    bound = [await manager.submit({"prompt": "x"}, pool_affinity="key") for _ in range(6)]
    home = bound[0].pool_id
    other = next(pool.pool_id for pool in await manager.list_pools() if pool.pool_id != home)

    assert (await manager.rebalance()).moved == 0
    await manager.drain_pool(home)
    assert (await manager.rebalance()).moved == 6
    assert (await manager.pool_info(other)).queued == 6
    await manager.resume_pool(home)

    sent_home = await manager.rebalance(PoolSelector.AFFINITY)
    assert [(one.source, one.target, one.tasks) for one in sent_home.moves] == [(other, home, 6)]
    assert (await manager.pool_info(home)).queued == 6


async def test_what_cannot_be_done_is_said(manager: PoolManager, node: FakeNode) -> None:
    assert (await manager.rebalance()).moved == 0
    with pytest.raises(errors.UnknownChoice, match="fastest"):
        await manager.rebalance("fastest")
    with pytest.raises(errors.PoolNotFound, match="nowhere"):
        await manager.rebalance(pools=["nowhere"])
