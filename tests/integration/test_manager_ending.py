"""Draining and closing pools that have tasks: nothing vanishes without being told, and what is told is true."""

from __future__ import annotations

import asyncio

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.pools import changing
from mahavishnu_pools.schemas.pool import PoolStatus
from tests.fakes.worker import FakeNode
from tests.store.world import World
from tests.waiting import eventually_async


async def spawn(manager: PoolManager, *names: str) -> None:
    for name in names:
        await manager.spawn_pool(name=name, worker_type="shell")


async def hold(manager: PoolManager, pool: str) -> str:
    """Keep the pool's worker busy."""
    sent = await manager.submit({"prompt": "hold"}, pool=pool)
    await eventually_async(lambda: manager.task(sent.task_id), until=lambda task: task.status == "running")
    return sent.task_id


async def wait_in(manager: PoolManager, pool: str, count: int) -> list[str]:
    return [one.task_id for one in await manager.submit_many([{"prompt": "x"}] * count, pool=pool)]


# ── drain ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_drain_waits_for_what_ends_in_time(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "a")
    await hold(manager, "a")
    waiting = await wait_in(manager, "a", 3)

    draining = asyncio.create_task(manager.drain_pool("a", timeout=5))
    await eventually_async(lambda: manager.pool_info("a"), until=lambda pool: pool.status == "draining")
    node.release()
    drained = await draining

    assert (drained.ended, drained.handed_back, drained.running, drained.queued) == (1, 0, 0, 3)
    await manager.resume_pool("a")
    assert all([(await manager.result(one, wait_timeout=30)).ok for one in waiting])


async def test_after_the_deadline_running_tasks_are_handed_back_and_the_attempt_does_not_count(
    manager: PoolManager, node: FakeNode
) -> None:
    await spawn(manager, "a")
    held = await hold(manager, "a")

    drained = await manager.drain_pool("a", timeout=0.2)

    assert (drained.ended, drained.handed_back, drained.status) == (0, 1, PoolStatus.DRAINING)
    task = await manager.task(held)
    assert (task.status, task.attempts) == ("queued", 0)
    node.release()
    await manager.resume_pool("a")
    assert (await manager.result(held, wait_timeout=30)).attempts == 1


async def test_what_cannot_be_ended_is_told_of(
    manager: PoolManager, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool_id = world.pool("a")
    world.to(pool_id, 2)
    world.claim(world.lease(pool_id), pool_id)
    monkeypatch.setattr(changing, "HAND_BACK_EXTRA", 0.2)

    drained = await manager.drain_pool("a", timeout=0.1)

    assert (drained.running, drained.handed_back, drained.queued) == (1, 0, 1)


async def test_draining_without_a_deadline_returns_at_once(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "a")
    held = await hold(manager, "a")

    drained = await manager.drain_pool("a")

    assert (drained.running, drained.status) == (1, PoolStatus.DRAINING)
    node.release()
    assert (await manager.result(held, wait_timeout=30)).ok


async def test_a_handle_drains_its_pool_and_hands_back_what_runs_longer(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "a")
    await hold(manager, "a")
    handle = await manager.get_pool("a")

    drained = await handle.drain(timeout=0.1)

    assert (drained.name, drained.status, drained.handed_back) == ("a", PoolStatus.DRAINING, 1)


# ── close ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_pool_with_tasks_is_not_closed_unless_somebody_says_what_becomes_of_them(
    manager: PoolManager, node: FakeNode
) -> None:
    await spawn(manager, "a", "empty")
    await hold(manager, "a")
    await wait_in(manager, "a", 2)

    with pytest.raises(errors.PoolBusy, match=r"2 queued and 1 running.*tasks='move'.*'drain'.*'cancel'") as caught:
        await manager.close_pool("a", tasks="refuse")
    await manager.close_pool("empty", tasks="refuse")

    assert (caught.value.queued, caught.value.running) == (2, 1)
    assert [(pool.name, pool.status) for pool in await manager.list_pools()] == [("a", "running")]


async def test_cancelling_says_how_many(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "a")
    held = await hold(manager, "a")
    await wait_in(manager, "a", 300)

    closed = await manager.close_pool("a", timeout=0.1)

    assert (closed.name, closed.cancelled) == ("a", 301)
    assert (await manager.task(held)).error == "Its pool was closed."


async def test_running_tasks_may_end_in_the_time_that_is_given(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "a")
    held = await hold(manager, "a")

    closing = asyncio.create_task(manager.close_pool("a", timeout=5))
    await eventually_async(lambda: manager.pool_info("a"), until=lambda pool: pool.status == "draining")
    node.release()

    assert (await closing).cancelled == 0
    assert (await manager.task(held)).ok


async def test_waiting_and_running_tasks_move_to_the_other_pools(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "a", "b", "c")
    for name in ("b", "c"):
        await hold(manager, name)
    held = await hold(manager, "a")
    waiting = await wait_in(manager, "a", 6)
    node_tasks = [held, *waiting]

    closed = await manager.close_pool("a", tasks="move", timeout=0.1)

    assert closed.cancelled == 0
    assert sum(one.tasks for one in closed.moves) == 7
    assert {one.target_name for one in closed.moves} == {"b", "c"}
    assert [pool.name for pool in await manager.list_pools()] == ["b", "c"]
    node.release()
    results = [await manager.result(one, wait_timeout=30) for one in node_tasks]
    assert {(result.status, result.attempts) for result in results} == {("completed", 1)}


async def test_tasks_move_to_the_pool_that_is_named(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "a", "b", "c")
    await manager.pause_pool("a")
    await manager.pause_pool("c")
    await wait_in(manager, "a", 250)

    closed = await manager.close_pool("a", tasks="move", to="c")

    assert [(one.target_name, one.priority, one.tasks) for one in closed.moves] == [("c", 5, 250)]
    assert (await manager.pool_info("c")).queued == 250


async def test_a_move_that_is_not_possible_changes_nothing(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "a", "b")
    await manager.spawn_pool(name="ai", worker_type="terminal-claude")
    await manager.pause_pool("a")
    await manager.pause_pool("b")
    await wait_in(manager, "a", 2)

    with pytest.raises(errors.NoPoolAvailable, match=r"ai: .*another worker type; b: it is paused"):
        await manager.close_pool("a", tasks="move")
    with pytest.raises(errors.InvalidField, match="is the pool that is closed"):
        await manager.close_pool("a", tasks="move", to="a")
    with pytest.raises(errors.PoolNotFound):
        await manager.close_pool("a", tasks="move", to="nowhere")
    with pytest.raises(errors.InvalidField, match="Give both"):
        await manager.close_pool("a", to="b")
    await manager.drain_pool("b")
    with pytest.raises(errors.InvalidField, match="'b' is draining"):
        await manager.close_pool("a", tasks="move", to="b")

    info = await manager.pool_info("a")
    assert (info.status, info.queued) == ("paused", 2)


async def test_a_pool_is_closed_when_all_its_tasks_have_run(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "a")
    held = await hold(manager, "a")
    waiting = await wait_in(manager, "a", 5)

    closing = asyncio.create_task(manager.close_pool("a", tasks="drain"))
    await eventually_async(lambda: manager.pool_info("a"), until=lambda pool: pool.status == "draining")
    with pytest.raises(errors.InvalidField, match="draining"):
        await manager.submit({"prompt": "x"}, pool="a")
    node.release()
    closed = await closing

    assert (closed.cancelled, closed.moves) == (0, ())
    assert all([(await manager.task(one)).ok for one in [held, *waiting]])


async def test_what_is_not_worked_off_in_time_stays(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "a")
    held = await hold(manager, "a")
    waiting = await wait_in(manager, "a", 2)

    # What is held ends only when the test says so: without a limit this would never come back.
    with pytest.raises(errors.WaitTimeout, match="3 queued and 0 running"):
        await manager.close_pool("a", tasks="drain", timeout=0.3)

    assert (await manager.pool_info("a")).status == PoolStatus.DRAINING
    node.release()
    await manager.resume_pool("a")
    assert all([(await manager.result(one, wait_timeout=30)).ok for one in [held, *waiting]])


async def test_tasks_of_a_lost_node_are_not_lost_when_their_pool_is_closed_by_moving(
    manager: PoolManager, node: FakeNode, quick_settings: object
) -> None:
    await spawn(manager, "a")
    held = await hold(manager, "a")
    await node.die()
    await node.beat(ttl=0.05)
    async with FakeNode(quick_settings, name="node2") as other:  # type: ignore[arg-type]
        await manager.spawn_pool(name="b", worker_type="shell")
        other.release()

        closed = await manager.close_pool("a", tasks="move", timeout=0.1)

        assert [(one.target_name, one.tasks) for one in closed.moves] == [("b", 1)]
        assert (await manager.result(held, wait_timeout=30)).ok
