"""PoolManager and pools: spawning, changing, closing, and reports."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import leases, pools, tasks
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.client import AsyncStore
from tests.fakes.worker import FakeNode
from tests.store.world import World
from tests.waiting import eventually_async


async def test_a_spawned_pool_is_ready(manager: PoolManager, node: FakeNode) -> None:
    pool_id = await manager.spawn_pool("mahavishnu", PoolConfig(name="local", min_workers=3, worker_type="shell"))

    info = await manager.pool_info("local")
    assert (info.pool_id, info.status, info.workers, info.nodes) == (pool_id, "running", 3, (node.info.name,))
    assert (await manager.get_pool(pool_id)).config.name == "local"
    assert manager._pools[pool_id].pool_id == pool_id


async def test_a_pool_can_be_given_by_its_fields(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool(name="local", min_workers=20, max_workers=20, tags=["a"])

    info = await manager.pool_info("local")
    assert (info.pool_type, info.min_workers, info.max_workers, info.tags) == ("mahavishnu", 20, 20, ("a",))


async def test_an_equal_pool_is_found_and_another_one_refused(manager: PoolManager, node: FakeNode) -> None:
    config = PoolConfig(name="local", max_workers=4)
    first = await manager.spawn_pool(config=config)

    assert await manager.spawn_pool("mahavishnu", config) == first
    with pytest.raises(errors.PoolConflict, match=r"differs in: max_workers, region"):
        await manager.spawn_pool(config=config, max_workers=5, region="eu")


async def test_two_managers_that_spawn_the_same_pool_get_one(quick_settings: Settings, node: FakeNode) -> None:
    managers = [PoolManager(settings=quick_settings) for _ in range(5)]
    try:
        ids = await asyncio.gather(*(one.spawn_pool(name="local") for one in managers))
    finally:
        for one in managers:
            await one.close()

    assert len(set(ids)) == 1


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"name": "pool_x"}, errors.InvalidField, "name"),
        ({"name": "bad name!"}, errors.InvalidField, "name"),
        ({}, errors.InvalidField, "name"),
        ({"name": "a", "min_workers": 5, "max_workers": 2}, errors.InvalidField, "min_workers"),
        ({"name": "a", "min_workers": "many"}, errors.InvalidField, "min_workers"),
        ({"name": "a", "max_worker": 2}, errors.InvalidField, "max_workers"),
        ({"name": "a", "pool_type": "nomad"}, errors.UnknownChoice, "mahavishnu"),
        ({"name": "a", "worker_type": "terminal-quen"}, errors.UnknownChoice, "terminal-qwen"),
        ({"name": "a", "worker_type": "terminal-gemini"}, errors.MissingProgram, "npm install"),
        ({"name": "a", "nodes": ["elsewhere"]}, errors.InvalidField, "elsewhere"),
        ({"name": "a", "region": "mars"}, errors.NoAgent, "mars"),
    ],
)
async def test_what_cannot_be_spawned_leaves_nothing(
    manager: PoolManager, node: FakeNode, fields: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        await manager.spawn_pool(**fields)

    assert await manager.list_pools() == []


async def test_without_an_agent_spawning_says_so_and_leaves_nothing(manager: PoolManager) -> None:
    with pytest.raises(errors.NoAgent, match="mahavishnu up"):
        await manager.spawn_pool(name="local")

    assert await manager.list_pools() == []


async def test_workers_that_do_not_come_up_leave_nothing(quick_settings: Settings) -> None:
    hasty = quick_settings.model_copy(update={"spawn_timeout": 0.3})
    async with FakeNode(hasty, mute=True), PoolManager(settings=hasty) as manager:
        with pytest.raises(errors.PoolNotReady, match=r"0\.3 s"):
            await manager.spawn_pool(name="local")

        assert await manager.list_pools() == []


async def test_a_pool_that_only_got_degraded_did_not_come_up(quick_settings: Settings, world: World) -> None:
    async with FakeNode(quick_settings, mute=True), PoolManager(settings=quick_settings) as manager:
        spawning = asyncio.create_task(manager.spawn_pool(name="local"))
        pool_id = (await eventually_async(manager.list_pools, until=bool))[0].pool_id
        world.run(pools.change_pool(pool_id, status="degraded", reason="celery_app cannot be loaded"))

        with pytest.raises(errors.PoolNotReady, match="celery_app cannot be loaded"):
            await spawning

        assert await manager.list_pools() == []


async def test_an_interrupted_spawn_leaves_nothing(quick_settings: Settings) -> None:
    async with FakeNode(quick_settings, mute=True), PoolManager(settings=quick_settings) as manager:
        spawning = asyncio.create_task(manager.spawn_pool(name="local"))
        await eventually_async(manager.list_pools)
        spawning.cancel()
        await asyncio.gather(spawning, return_exceptions=True)

        assert spawning.cancelled()
        assert await manager.list_pools() == []


async def test_a_spawn_interrupted_before_it_heard_that_its_pool_is_there_leaves_nothing(
    manager: PoolManager, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await manager.connect()
    run, made, heard = AsyncStore.run, asyncio.Event(), asyncio.Event()

    async def run_late(store: AsyncStore, call: Call[Any]) -> Any:
        answer = await run(store, call)
        if call.script == "pool_create":
            made.set()
            await heard.wait()
        return answer

    monkeypatch.setattr(AsyncStore, "run", run_late)
    spawning = asyncio.create_task(manager.spawn_pool(name="local"))
    await made.wait()
    spawning.cancel()
    heard.set()
    await asyncio.gather(spawning, return_exceptions=True)

    assert spawning.cancelled()
    assert await manager.list_pools() == []


async def test_spawning_without_waiting_returns_at_once(quick_settings: Settings) -> None:
    async with FakeNode(quick_settings, mute=True), PoolManager(settings=quick_settings) as manager:
        await manager.spawn_pool(name="local", wait=False)

        assert (await manager.pool_info("local")).status is PoolStatus.INITIALIZING


async def test_scaling_waits_until_the_workers_are_there(manager: PoolManager, node: FakeNode) -> None:
    pool_id = await manager.spawn_pool(name="local", max_workers=5)

    info = await manager._pools[pool_id].scale(target_workers=4)

    assert info.workers == 4
    groups = (await node.store.run(pools.read_pools(pool_id))).pools[0].groups
    assert [group.workers for group in groups] == [4]


async def test_scaling_outside_the_limits_is_refused_unless_they_are_raised(
    manager: PoolManager, node: FakeNode
) -> None:
    await manager.spawn_pool(name="local", min_workers=2, max_workers=5)

    for target in (1, 6):
        with pytest.raises(errors.ScaleOutOfRange, match="may have 2 to 5"):
            await manager.scale_pool("local", target)
    with pytest.raises(errors.InvalidField, match="max_workers"):
        await manager.scale_pool("local", 2, max_workers=1)
    info = await manager.scale_pool("local", 8, max_workers=8)

    assert (info.workers, info.max_workers) == (8, 8)


async def test_scaling_keeps_what_changed_since_the_pool_was_looked_at(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool(name="local", max_workers=5)
    seen = (await node.store.run(pools.read_pools("local"))).one("local")

    await manager.limit_rate("local", "30/m")
    await (await manager._connected()).changer.scale(seen, 7, max_workers=7)

    record = (await node.store.run(pools.read_pools("local"))).one("local")
    assert (record.workers, record.config.max_workers, record.config.rate_limit) == (7, 7, "30/m")


async def test_a_paused_pool_keeps_its_tasks_until_it_is_resumed(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool(name="local", worker_type="terminal-claude")
    assert (await manager.pause_pool("local")).status is PoolStatus.PAUSED

    submitted = await manager.submit({"prompt": "x"}, pool="local")
    with pytest.raises(errors.NoPoolAvailable, match="it is paused"):
        await manager.submit({"prompt": "x"})
    with pytest.raises(errors.WaitTimeout):
        await manager.result(submitted.task_id, wait_timeout=0.05)
    assert (await manager.resume_pool("local")).reason is None

    assert (await manager.result(submitted.task_id, wait_timeout=30)).ok


async def test_a_drained_pool_takes_nothing_and_can_be_resumed(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool(name="local", worker_type="shell")
    await manager.drain_pool("local")

    with pytest.raises(errors.InvalidField, match="draining"):
        await manager.submit({"prompt": "x"}, pool="local")
    await manager.resume_pool("local")

    assert (await manager.execute_on_pool("local", {"prompt": "x"}, wait_timeout=30)).ok


async def test_closing_cancels_what_waits_and_frees_the_name(manager: PoolManager, node: FakeNode) -> None:
    pool_id = await manager.spawn_pool(name="local", worker_type="shell")
    await manager.pause_pool("local")
    sent = await manager.submit_many([{"prompt": "x"}] * 300, pool="local")

    await manager.close_pool("local")

    results = [result async for result in manager.results([one.task_id for one in sent], wait_timeout=30)]
    assert {(result.status.value, result.error) for result in results} == {("cancelled", "Its pool was closed.")}
    for name in ("local", pool_id):
        with pytest.raises(errors.PoolGone):
            await manager.pool_info(name)
    assert await manager.spawn_pool(name="local") != pool_id


async def test_a_pool_whose_node_is_gone_can_be_closed(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool(name="local", worker_type="shell")
    submitted = await manager.submit({"prompt": "hold"}, pool="local")
    await eventually_async(lambda: manager.task(submitted.task_id), until=lambda task: task.status == "running")
    await node.die()
    await node.beat(ttl=0.05)

    await manager.close_pool("local")

    assert await manager.list_pools() == []
    assert (await manager.result(submitted.task_id, wait_timeout=30)).status == "cancelled"


async def test_the_end_of_the_block_closes_only_own_pools(quick_settings: Settings, node: FakeNode) -> None:
    async with PoolManager(settings=quick_settings) as other:
        await other.spawn_pool(name="theirs")
        async with PoolManager(settings=quick_settings) as manager:
            await manager.spawn_pool(name="theirs")
            await manager.spawn_pool(name="mine")

        assert [pool.name for pool in await other.list_pools()] == ["theirs"]


async def test_close_all_closes_everything_when_told_to(
    manager: PoolManager, quick_settings: Settings, node: FakeNode
) -> None:
    async with PoolManager(settings=quick_settings) as other:
        theirs = [await other.spawn_pool(name=f"p{i}") for i in range(3)]

        assert await manager.close_all() == []
        assert await manager.close_all(scope="all") == theirs
        assert await other.list_pools() == []


async def test_health_says_what_is_wrong(manager: PoolManager, node: FakeNode, world: World) -> None:
    assert (await manager.health_check())["status"] == "healthy"
    await manager.spawn_pool(name="good")
    bad = await manager.spawn_pool(name="bad")
    await node.store.run(pools.change_pool(bad, status="degraded", reason="its CLI is logged out"))

    health = await manager.health_check()
    await node.die()
    await node.beat(ttl=0.01)
    lost = await eventually_async(manager.health_check, until=lambda found: found["agents"] == 0)

    assert (health["status"], health["pools_active"], health["agents"]) == ("degraded", 2, 1)
    assert health["pools"][1] == {
        "pool_id": bad,
        "name": "bad",
        "status": "degraded",
        "workers": 1,
        "reason": "its CLI is logged out",
    }
    assert lost["status"] == "unhealthy"


async def test_reports_count_what_was_done(manager: PoolManager, node: FakeNode) -> None:
    pool_id = await manager.spawn_pool(name="local", worker_type="shell")
    pool = manager._pools[pool_id]
    results = await pool.execute_batch([{"prompt": "a"}, {"prompt": "fail"}, {"prompt": "b"}])

    metrics = await pool.get_metrics()
    found = await manager.aggregate_results([pool_id])
    stats = await manager.stats(by_type=True)

    assert [result.status.value for result in results] == ["completed", "failed", "completed"]
    assert (metrics.tasks_completed, metrics.tasks_failed, metrics.active_workers, metrics.total_workers) == (
        2,
        1,
        0,
        1,
    )
    assert metrics.success_rate == pytest.approx(2 / 3)
    assert found["totals"] == {"total": 3, "completed": 2, "failed": 1}
    assert len(found["pools"][pool_id]["results"]) == 3
    assert stats["tasks"] == {"queued": 0, "running": 0, "completed": 2, "failed": 1}
    assert stats["by_type"]["mahavishnu"]["pools"] == 1


async def test_unknown_pools_are_named_with_those_that_exist(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool(name="local")

    with pytest.raises(errors.PoolNotFound, match=r"'remote'.*local"):
        await manager.get_pool("remote")


async def test_pools_that_are_switched_off_refuse(quick_settings: Settings) -> None:
    manager = PoolManager(settings=quick_settings.model_copy(update={"pools_enabled": False}))

    with pytest.raises(errors.PoolsDisabled, match="pools_enabled"):
        await manager.list_pools()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda url: "redis://127.0.0.1:1/0", "does not answer"),
        (lambda url: url.replace(":", ":x", 2).replace("redis:x", "redis:"), "password"),
    ],
)
async def test_a_server_that_cannot_be_used_is_named(quick_settings: Settings, change: object, says: str) -> None:
    assert quick_settings.redis_url is not None
    url = change(quick_settings.redis_url.get_secret_value())  # type: ignore[operator]
    manager = PoolManager(
        settings=quick_settings.model_copy(update={"redis_url": SecretStr(url), "submit_timeout": 0.3})
    )

    with pytest.raises(errors.RedisUnavailable, match=says):
        await manager.connect()
    await manager.close()


async def test_a_closed_pool_leaves_no_lease(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool(name="local", worker_type="shell")
    running = await manager.submit({"prompt": "hold"}, pool="local")
    await eventually_async(lambda: manager.task(running.task_id), until=lambda task: task.status == "running")

    await manager.close_pool("local")

    assert await node.store.run(leases.list_leases()) == []
    assert (await node.store.run(tasks.read_tasks([running.task_id])))[0].done  # type: ignore[union-attr]


async def test_more_workers_than_the_default_maximum_are_asked_for_with_a_maximum(manager: PoolManager) -> None:
    with pytest.raises(errors.InvalidField, match=r"min_workers \(11\) is greater than max_workers \(10\)"):
        await manager.spawn_pool(name="large", min_workers=11)

    assert await manager.list_pools() == []


async def test_a_worker_type_that_only_the_client_knows_is_told_as_such(quick_settings: Settings) -> None:
    async with FakeNode(quick_settings, programs=()), PoolManager(settings=quick_settings) as manager:
        with pytest.raises(errors.NoAgent, match=r"does not know worker type 'shell'.*another worker_types_file"):
            await manager.spawn_pool(name="local", worker_type="shell")

        assert await manager.list_pools() == []
