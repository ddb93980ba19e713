"""Cancelling many tasks at once: a batch, or what waits in a pool."""

from __future__ import annotations

import json
from collections import Counter

import psutil
import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.cli.main import run
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.settings import Settings
from tests.fakes.worker import FakeNode
from tests.fixtures.groups import Site, lines
from tests.store.world import World
from tests.waiting import eventually, eventually_async


async def _pool(manager: PoolManager, *, workers: int = 2) -> str:
    return await manager.spawn_pool(name="p", worker_type="terminal-claude", min_workers=workers, max_workers=workers)


async def test_a_batch_is_cancelled_whether_its_tasks_wait_run_or_have_ended(
    quick_settings: Settings, manager: PoolManager
) -> None:
    async with FakeNode(quick_settings) as node:
        await _pool(manager)
        sent = await manager.submit_many([{"prompt": "hold"}] * 6, pool="p", batch_id="b")
        other = await manager.submit({"prompt": "hold"}, pool="p")

        async def running() -> int:
            return (await manager.pool_info("p")).running

        await eventually_async(running, until=lambda count: count == 2)

        assert await manager.cancel_batch("b") == {"cancelled": 4, "asked": 2, "finished": 0}

        results = [await manager.result(one.task_id, wait_timeout=30) for one in sent]
        assert {result.status for result in results} == {"cancelled"}
        assert await manager.cancel_batch("b") == {"cancelled": 6, "asked": 0, "finished": 0}
        assert not (await manager.task(other.task_id)).done
        node.release()
        assert (await manager.result(other.task_id, wait_timeout=30)).ok
        assert len([name for name, _ in node.ran]) == 3


async def test_what_follows_a_cancelled_batch_does_not_run(manager: PoolManager, node: FakeNode) -> None:
    await _pool(manager)
    task = {"prompt": "{item}", "payload": {"items": ["hold", "hold"]}}
    started = await manager.start_distribution(task, strategy="map_reduce")

    counts = await manager.cancel_batch(started.batch_id)

    assert sum(counts.values()) == 3
    assert started.reducer_id is not None
    reducer = await manager.result(started.reducer_id, wait_timeout=30)
    parts = [await manager.result(one, wait_timeout=30) for one in started.task_ids]
    assert {result.status for result in [reducer, *parts]} == {"cancelled"}
    assert started.reducer_id not in [task_id for _, task_id in node.ran]


async def test_what_waits_in_a_pool_is_cancelled_and_leaves_its_queue_at_once(
    quick_settings: Settings, manager: PoolManager
) -> None:
    async with FakeNode(quick_settings) as node:
        await _pool(manager, workers=1)
        sent = await manager.submit_many(({"prompt": "hold", "priority": n % 10} for n in range(700)), pool="p")

        async def running() -> int:
            return (await manager.pool_info("p")).running

        await eventually_async(running, until=lambda count: count == 1)

        assert await manager.cancel_queued("p") == 699

        assert (await manager.pool_info("p")).queued == 0
        node.release()
        statuses = Counter([(await manager.result(one.task_id, wait_timeout=30)).status.value for one in sent])
        assert statuses == {"cancelled": 699, "completed": 1}
        assert await manager.cancel_queued("p") == 0


async def test_one_cancelled_task_leaves_its_queue_too(manager: PoolManager, node: FakeNode) -> None:
    await _pool(manager)
    await manager.pause_pool("p")
    first, second = await manager.submit_many([{"prompt": "a"}, {"prompt": "b", "priority": 9}], pool="p")

    assert await manager.cancel(second.task_id) == "cancelled"

    assert (await manager.pool_info("p")).queued == 1
    assert (await manager.task(first.task_id)).status == "queued"


async def test_an_unknown_batch_or_pool_is_said_to_be_unknown(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool(name="loudspeaker", worker_type="shell")

    with pytest.raises(errors.BatchNotFound, match="No batch has the id 'nothing'"):
        await manager.cancel_batch("nothing")
    with pytest.raises(errors.PoolNotFound, match="Did you mean 'loudspeaker'"):
        await manager.cancel_queued("loudspeakr")
    with pytest.raises(errors.PoolNotFound, match="Pools that exist: loudspeaker"):
        await manager.dead_letters(pool="nothing")


def test_the_shell_cancels_batches_and_queues(
    redis_url: str, namespace: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(redis_url, namespace)
    pool = world.pool("p")
    world.to(pool, 3, batch="b")
    world.to(pool, 2)
    session = Session(lambda: PoolManager(settings=settings))

    assert run(["pools", "cancel", "--batch", "b", "--format", "json"], session=session) == 0
    assert json.loads(capsys.readouterr().out) == {"batch_id": "b", "cancelled": 3, "asked": 0, "finished": 0}
    assert run(["pools", "cancel", "--pool", "p", "--status", "queued"], session=session) == 0
    assert "Cancelled 2 waiting tasks of p" in capsys.readouterr().out
    assert run(["pools", "cancel"], session=session) == 2
    assert run(["pools", "cancel", "--batch", "b", "--status", "queued"], session=session) == 2
    assert run(["pools", "cancel", "x", "--pool", "p"], session=session) == 2
    assert "excludes the others" in capsys.readouterr().err


async def test_a_batch_on_a_real_worker_group_ends_with_its_processes_and_starts_nothing_more(own_site: Site) -> None:
    pool_id = own_site.pool("p", workers=2)
    own_site.group(pool_id)
    started = own_site.directory / "started"
    task = {"task_type": "shell", "payload": {"command": ["sh", "-c", f"echo $$ >> {started}; sleep 60"]}}
    async with PoolManager(settings=own_site.settings) as manager:
        sent = await manager.submit_many([task] * 8, pool="p", batch_id="b")
        eventually(lambda: started.exists() and len(lines(started)) == 2)

        assert await manager.cancel_batch("b") == {"cancelled": 6, "asked": 2, "finished": 0}

        results = [await manager.result(one.task_id, wait_timeout=30) for one in sent]
    assert {result.status for result in results} == {"cancelled"}
    pids = [int(pid) for pid in lines(started)]
    assert len(pids) == 2
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), within=30)
