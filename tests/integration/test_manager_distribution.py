"""PoolManager and distributions: splitting one task over several pools."""

from __future__ import annotations

from collections import Counter

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.routing.eligibility import PoolFilter
from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.settings import Settings
from tests.fakes.worker import FakeNode


async def spawn(manager: PoolManager, count: int = 3) -> list[str]:
    return [await manager.spawn_pool(name=f"p{i}", worker_type="terminal-claude") for i in range(count)]


@pytest.mark.parametrize("strategy", ["round_robin", "random", "least_loaded", "map_reduce"])
async def test_items_come_back_in_input_order(manager: PoolManager, node: FakeNode, strategy: str) -> None:
    ids = await spawn(manager)
    seen: list[tuple[int, int]] = []

    result = await manager.distribute(
        {"prompt": "see {item}", "payload": {"items": [f"i{n}" for n in range(9)]}},
        strategy=strategy,
        wait_timeout=30,
        on_progress=lambda done, total: seen.append((done, total)),
    )

    assert [item.output for item in result.items] == [f"see i{n}" for n in range(9)]
    assert (result.strategy, result.total, result.successful, result.failed) == (strategy, 9, 9, 0)
    assert result.reduced == ({"reduced": "concat"} if strategy == "map_reduce" else None)
    assert seen[-1] == (9, 9)
    if strategy in ("round_robin", "least_loaded", "map_reduce"):
        assert Counter(item.pool_id for item in result.items) == dict.fromkeys(ids, 3)


async def test_broadcast_sends_the_whole_once_to_each_pool(manager: PoolManager, node: FakeNode) -> None:
    ids = await spawn(manager)

    result = await manager.distribute({"prompt": "all of you"}, strategy="broadcast", wait_timeout=30)

    assert [item.pool_id for item in result.items] == ids
    assert {item.output for item in result.items} == {"all of you"}


async def test_a_part_that_fails_is_one_item(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager)

    result = await manager.distribute(
        {"prompt": "{item}", "payload": {"items": ["a", "fail", "b"]}}, strategy="map_reduce", wait_timeout=10
    )

    assert [item.status.value for item in result.items] == ["completed", "failed", "completed"]
    assert (result.successful, result.failed) == (2, 1)


async def test_a_reducer_that_a_pool_has_loaded_reduces(quick_settings: Settings, manager: PoolManager) -> None:
    def work(spec: TaskSpec) -> Outcome:
        return Outcome(status="completed", value=spec.task_type)

    async with FakeNode(quick_settings, work=work, task_types=("reduce:longest",)):
        (pool_id,) = await spawn(manager, 1)
        task = {"prompt": "{item}", "payload": {"items": ["a", "b"]}}

        result = await manager.distribute(task, strategy="map_reduce", reducer="longest", wait_timeout=30)
        types = [one.task_type for one in await manager.tasks(pool=pool_id)]
        with pytest.raises(errors.UnknownChoice, match=r"Unknown reducer 'longst'.*analysis, concat, longest"):
            await manager.distribute(task, strategy="map_reduce", reducer="longst")

    assert result.reduced == "reduce:longest"
    assert sorted(types) == ["prompt", "prompt", "reduce:longest"]


async def test_analyze_is_reduced_as_analysis(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, 1)

    result = await manager.distribute(
        {"task_type": "analyze", "payload": {"files": ["a.py", "b.py", "c.py"]}},
        strategy="map_reduce",
        chunk_size=2,
        wait_timeout=30,
    )

    assert [item.output for item in result.items] == ['{"files": ["a.py", "b.py"]}', '{"files": ["c.py"]}']
    assert result.reduced == {"reduced": "analysis"}


async def test_named_pools_and_filters_limit_where_parts_go(manager: PoolManager, node: FakeNode) -> None:
    ids = await spawn(manager)
    task = {"prompt": "{item}", "payload": {"items": list("abcdef")}}

    result = await manager.distribute(task, pools=["p0", ids[2]], wait_timeout=30)

    assert {item.pool_id for item in result.items} == {ids[0], ids[2]}
    with pytest.raises(errors.PoolNotFound):
        await manager.distribute(task, pools=["p0", "nobody"])
    with pytest.raises(errors.NoPoolAvailable, match="it lacks the tag gpu"):
        await manager.distribute(task, filters=PoolFilter(tags=("gpu",)))


async def test_more_parts_than_one_call_takes(manager: PoolManager, node: FakeNode) -> None:
    ids = [
        await manager.spawn_pool(name=f"p{i}", worker_type="terminal-claude", min_workers=100, max_workers=100)
        for i in range(3)
    ]

    result = await manager.distribute(
        {"prompt": "{item}", "payload": {"items": list(range(1200))}}, strategy="map_reduce", wait_timeout=60
    )

    assert [item.output for item in result.items] == [str(n) for n in range(1200)]
    assert Counter(item.pool_id for item in result.items).keys() == set(ids)
    assert result.reduced == {"reduced": "concat"}


async def test_a_distribution_can_be_started_and_gathered_later(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager)

    started = await manager.start_distribution({"prompt": "{item}", "payload": {"items": ["a", "b"]}})
    result = await manager.gather(started, wait_timeout=30)

    assert [item.task_id for item in result.items] == list(started.task_ids)
    assert [item.batch_id for item in result.items] == [started.batch_id] * 2


@pytest.mark.parametrize(
    ("how", "task", "error", "says"),
    [
        ({"strategy": "spread"}, {"prompt": "x"}, errors.UnknownChoice, "map_reduce"),
        ({"strategy": "map_reduce", "reducer": "sum"}, {"prompt": "x"}, errors.UnknownChoice, "concat"),
        ({}, {"task_type": "shel", "payload": {"items": ["x"]}}, errors.UnknownChoice, "shell"),
        ({"strategy": "broadcast"}, {"task_type": "shel", "payload": {}}, errors.UnknownChoice, "shell"),
        ({"chunk_size": 0}, {"prompt": "x"}, errors.InvalidField, "chunk_size"),
        ({}, {"prompt": "x"}, errors.InvalidField, "items or files or batch or data"),
        ({"split_on": "urls"}, {"prompt": "x", "payload": {"items": [1]}}, errors.InvalidField, "urls"),
        ({}, {"prompt": "x", "payload": {"items": []}}, errors.InvalidField, "empty"),
        ({}, {"task_type": "analyze", "payload": {"files": ["a", 5]}}, errors.InvalidField, "payload.files"),
    ],
)
async def test_what_cannot_be_distributed_sends_nothing(
    manager: PoolManager,
    node: FakeNode,
    how: dict[str, object],
    task: dict[str, object],
    error: type[Exception],
    says: str,
) -> None:
    await manager.spawn_pool(name="p", worker_type="shell")

    with pytest.raises(error, match=says):
        await manager.distribute(task, **how)

    assert node.ran == []
