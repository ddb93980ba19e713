"""One key is one task: while it waits, while it runs, after it ended, and when many submit it at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.task import DistributionResult, Outcome, TaskSpec
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import keys
from mahavishnu_pools.store.client import SyncStore
from tests.fakes.worker import FakeNode, echo
from tests.waiting import eventually_async
from workers.services import batch_reader
from workers.task_types.reduce import concat

TASK = {"prompt": "hold", "idempotency_key": "k"}


@pytest.fixture
async def pools(manager: PoolManager, node: FakeNode) -> None:
    for name in ("p", "q"):
        await manager.spawn_pool(name=name, worker_type="terminal-claude")


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
    await manager.result(first.task_id, wait_timeout=30)
    ended = await manager.submit(TASK, pool="q")

    assert [one.task_id for one in (waiting, running, ended)] == [first.task_id] * 3
    assert [one.new for one in (first, waiting, running, ended)] == [True, False, False, False]
    assert (await manager.result(ended.task_id, wait_timeout=30)).ok
    assert node.ran == [("p", first.task_id)]


async def test_many_submitters_at_once_make_one_task(pools: None, quick_settings: Settings, node: FakeNode) -> None:
    managers = [PoolManager(settings=quick_settings) for _ in range(8)]
    try:
        sent = await asyncio.gather(*(one.submit(TASK) for one in managers for _ in range(5)))
        node.release()
        results = await asyncio.gather(*(one.result(sent[0].task_id, wait_timeout=30) for one in managers))
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
    await manager.result(first.task_id, wait_timeout=30)
    prefix = keys.namespace_prefix(manager.settings.namespace)

    await node.store.redis.delete(keys.key("task", prefix=prefix, of=first.task_id))
    again = await manager.submit({**TASK, "prompt": "echo"})

    assert (again.new, again.task_id != first.task_id) == (True, True)


@pytest_asyncio.fixture
async def reducing(quick_settings: Settings) -> AsyncIterator[FakeNode]:
    """Return a node that reduces as a worker does."""
    assert quick_settings.redis_url is not None
    store = SyncStore.from_settings(quick_settings, quick_settings.redis_url.get_secret_value(), connections=1)

    def work(spec: TaskSpec) -> Outcome:
        if spec.task_type != "reduce":
            return echo(spec)
        return Outcome(status="completed", value=concat(batch_reader(store)(str(spec.payload["batch_id"]))))

    async with FakeNode(quick_settings, work=work) as found:
        yield found
    store.close()


def split_up(*items: str) -> dict[str, object]:
    return {"prompt": "{item}", "payload": {"items": list(items)}, "idempotency_key": "k"}


def ran_once(node: FakeNode, result: DistributionResult) -> bool:
    ran = Counter(task_id for _, task_id in node.ran)
    return all(ran[item.task_id] == 1 for item in result.items)


async def test_a_distribution_repeated_after_its_end_has_the_same_items_and_reduction(
    reducing: FakeNode, manager: PoolManager
) -> None:
    await manager.spawn_pool(name="p", worker_type="terminal-claude")
    task = split_up("a", "fail", "c")

    first = await manager.distribute(task, strategy="map_reduce", wait_timeout=30)
    again = await manager.distribute(task, strategy="map_reduce", wait_timeout=30)

    assert first.reduced == {"count": 3, "completed": 2, "failed": 1, "values": ["a", None, "c"]}
    assert (again.items, again.reduced, again.successful) == (first.items, first.reduced, 2)
    assert ran_once(reducing, first)
    assert len(reducing.ran) == 4  # three parts, and one reduction


async def test_a_distribution_repeated_while_parts_run_waits_for_them(reducing: FakeNode, manager: PoolManager) -> None:
    await manager.spawn_pool(name="p", worker_type="terminal-claude", min_workers=2)
    task = split_up("a", "hold", "c", "hold", "e")
    first = await manager.start_distribution(task, strategy="map_reduce")

    async def states() -> list[str]:
        return [(await manager.task(one)).status.value for one in first.task_ids]

    # One has ended, two run, and what comes after them waits.
    await eventually_async(states, until=lambda now: now == ["completed", "running", "completed", "running", "queued"])
    again = await manager.start_distribution(task, strategy="map_reduce")
    reducing.release()
    results = [await manager.gather(one, wait_timeout=30) for one in (first, again)]

    assert results[0].reduced == {"count": 5, "completed": 5, "failed": 0, "values": ["a", "", "c", "", "e"]}
    assert (results[1].items, results[1].reduced) == (results[0].items, results[0].reduced)
    assert ran_once(reducing, results[0])


async def test_a_distribution_sent_by_many_at_once_is_one_set_of_parts(
    reducing: FakeNode, quick_settings: Settings, manager: PoolManager
) -> None:
    for name in ("p", "q"):
        await manager.spawn_pool(name=name, worker_type="terminal-claude")
    managers = [PoolManager(settings=quick_settings) for _ in range(4)]
    try:
        task = split_up(*(f"i{n}" for n in range(40)))
        sent = (one.distribute(task, strategy="map_reduce", wait_timeout=30) for one in managers)
        results = await asyncio.gather(*sent)
    finally:
        for one in managers:
            await one.close()

    assert all(result.items == results[0].items for result in results)
    values = {"count": 40, "completed": 40, "failed": 0, "values": [f"i{n}" for n in range(40)]}
    assert all(result.reduced == values for result in results)
    assert ran_once(reducing, results[0])
