"""One key is one task: while it waits, while it runs, after it ended, and when many submit it at the same moment."""

from __future__ import annotations

import asyncio

import pytest

from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import keys
from tests.fakes.worker import FakeNode
from tests.waiting import eventually_async

TASK = {"prompt": "hold", "idempotency_key": "k"}


@pytest.fixture
async def pools(manager: PoolManager, node: FakeNode) -> None:
    for name in ("p", "q"):
        await manager.spawn_pool(name=name, worker_type="shell")


async def test_the_same_key_is_the_same_task_in_every_state(pools: None, manager: PoolManager, node: FakeNode) -> None:
    await manager.pause_pool("p")
    first = await manager.submit(TASK, pool="p")
    waiting = await manager.submit(TASK, pool="q")
    await manager.resume_pool("p")

    async def status() -> str:
        return (await manager.task(first.task_id)).status.value

    await eventually_async(status, until=lambda now: now == "running")
    running = await manager.submit(TASK, pool="q")
    node.release()
    await manager.result(first.task_id, wait_timeout=10)
    ended = await manager.submit(TASK, pool="q")

    assert [one.task_id for one in (waiting, running, ended)] == [first.task_id] * 3
    assert [one.new for one in (first, waiting, running, ended)] == [True, False, False, False]
    assert (await manager.result(ended.task_id, wait_timeout=1)).ok
    assert node.ran == [("p", first.task_id)]


async def test_many_submitters_at_once_make_one_task(pools: None, quick_settings: Settings, node: FakeNode) -> None:
    managers = [PoolManager(settings=quick_settings) for _ in range(8)]
    try:
        sent = await asyncio.gather(*(one.submit(TASK) for one in managers for _ in range(5)))
        node.release()
        results = await asyncio.gather(*(one.result(sent[0].task_id, wait_timeout=10) for one in managers))
    finally:
        for one in managers:
            await one.close()

    assert len({one.task_id for one in sent}) == 1
    assert [one.new for one in sent].count(True) == 1
    assert all(result.ok for result in results)
    assert len(node.ran) == 1


async def test_a_key_is_free_again_when_its_task_is_forgotten(
    pools: None, manager: PoolManager, node: FakeNode
) -> None:
    first = await manager.submit({**TASK, "prompt": "echo"})
    await manager.result(first.task_id, wait_timeout=10)
    prefix = keys.namespace_prefix(manager.settings.namespace)

    await node.store.redis.delete(keys.key("task", prefix=prefix, of=first.task_id))
    again = await manager.submit({**TASK, "prompt": "echo"})

    assert (again.new, again.task_id != first.task_id) == (True, True)
