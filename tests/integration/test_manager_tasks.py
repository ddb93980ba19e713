"""PoolManager and tasks: submitting, routing, waiting, cancelling."""

from __future__ import annotations

import asyncio
import math
import os
from collections import Counter

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.routing.eligibility import PoolFilter
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.schemas.task import TaskSpec, TaskStatus
from mahavishnu_pools.settings import Settings
from tests.fakes.worker import FakeNode
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually_async


async def spawn(manager: PoolManager, *names: str, **fields: object) -> list[str]:
    return [await manager.spawn_pool(name=name, **{"worker_type": "terminal-claude", **fields}) for name in names]


async def test_a_task_runs_on_the_named_pool_by_name_and_id(manager: PoolManager, node: FakeNode) -> None:
    first, second = await spawn(manager, "one", "two")

    by_id = await manager.execute_on_pool(second, {"prompt": "hello"}, wait_timeout=30)
    by_name = await manager.execute_on_pool("one", TaskSpec(prompt="world"), wait_timeout=30)

    assert (by_id.pool_id, by_id["status"], by_id["output"]) == (second, "completed", "hello")
    assert (by_name.pool_id, by_name.output) == (first, "world")


async def test_a_task_that_fails_is_a_result(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "one")

    result = await manager.route_task({"prompt": "fail"}, wait_timeout=30)

    assert (result.status, result.error, result.exit_code) == (TaskStatus.FAILED, "it was told to", 1)


@pytest.mark.parametrize("selector", [*PoolSelector, "round_robin"])
async def test_every_strategy_routes(manager: PoolManager, node: FakeNode, selector: str) -> None:
    ids = await spawn(manager, "one", "two", "three")
    key = "k" if selector == "affinity" else None

    went = [(await manager.route_task({"prompt": "x"}, selector, key, wait_timeout=30)).pool_id for _ in range(6)]

    if selector == "affinity":
        assert len(set(went)) == 1
    elif selector != "random":
        assert Counter(went) == dict.fromkeys(ids, 2)
    assert set(went) <= set(ids)


async def test_an_affinity_that_names_a_pool_goes_there(manager: PoolManager, node: FakeNode) -> None:
    ids = await spawn(manager, "one", "two")

    result = await manager.route_task({"prompt": "x"}, PoolSelector.AFFINITY, pool_affinity="two", wait_timeout=30)
    own = await manager.route_task({"prompt": "x", "affinity": ids[0]}, wait_timeout=30)

    assert (result.pool_id, own.pool_id) == (ids[1], ids[0])
    await manager.close_pool("two")
    for gone in ("two", ids[1]):
        with pytest.raises(errors.PoolGone):
            await manager.submit({"prompt": "x"}, pool_affinity=gone)
    with pytest.raises(errors.PoolNotFound):
        await manager.submit({"prompt": "x"}, pool_affinity="pool_0123456789ab")


async def test_filters_limit_the_pools_and_say_who_was_left_out(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "plain", worker_type="shell")
    (gpu,) = await spawn(manager, "gpu", tags=("gpu", "big"))
    (claude,) = await spawn(manager, "claude")

    async def where(**filters: object) -> str:
        return (await manager.submit({"prompt": "x"}, filters=PoolFilter(**filters))).pool_id  # type: ignore[arg-type]

    assert await where(tags=("gpu",)) == gpu
    assert await where(worker_type="terminal-claude") == claude
    with pytest.raises(errors.NoPoolAvailable) as refused:
        await where(tags=("gpu",), region="eu", pool_type="mahavishnu")
    assert refused.value.reasons == {
        "plain": "its region is default, not eu",
        "gpu": "its region is default, not eu",
        "claude": "its region is default, not eu",
    }


async def test_a_prompt_becomes_a_command_only_when_somebody_says_so(manager: PoolManager, node: FakeNode) -> None:
    (shell,) = await spawn(manager, "sh", worker_type="shell")

    with pytest.raises(errors.NoPoolAvailable, match="sh: its worker type shell would run the prompt as a command"):
        await manager.route_task({"prompt": "rm notes"})
    with pytest.raises(errors.NoPoolAvailable, match="name the pool or the worker type shell"):
        await manager.distribute({"prompt": "{item}", "payload": {"items": ["a"]}})
    (claude,) = await spawn(manager, "claude")
    explained = await manager.explain_route({"prompt": "x"})
    parts = await manager.distribute({"prompt": "{item}", "payload": {"items": ["a"]}}, pools=["sh"], wait_timeout=30)

    assert (explained.pool_id, list(explained.left_out)) == (claude, ["sh"])
    assert "as a command" in explained.left_out["sh"]
    assert (await manager.submit({"prompt": "x"}, pool="sh")).pool_id == shell
    assert (await manager.submit({"prompt": "x"}, pool_affinity="sh")).pool_id == shell
    assert (await manager.submit({"prompt": "x"}, filters=PoolFilter(worker_type="shell"))).pool_id == shell
    assert [item.pool_id for item in parts.items] == [shell]


async def test_without_any_pool_the_error_says_how_to_make_one(manager: PoolManager) -> None:
    with pytest.raises(errors.NoPoolAvailable, match="pools spawn"):
        await manager.submit({"prompt": "x"})


async def test_a_prompt_needs_a_pool_with_a_program(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "bare", worker_type=None)

    with pytest.raises(errors.NoPoolAvailable, match="no AI program"):
        await manager.submit({"prompt": "x"})
    with pytest.raises(errors.MissingProgram, match="npm install"):
        await manager.submit({"prompt": "x"}, pool="bare")
    await spawn(manager, "far", worker_type=None, pool_type="session-buddy", endpoint="http://127.0.0.1:1/mcp")
    with pytest.raises(errors.NoPoolAvailable, match="cannot be asked for resources"):
        await manager.submit({"prompt": "x", "needs": ["gpu=1"]}, pool="far")
    assert (await manager.route_task({"task_type": "shell", "payload": {"command": "true"}}, wait_timeout=30)).ok


async def test_an_unregistered_task_type_goes_to_pools_that_understand_prose(
    manager: PoolManager, node: FakeNode
) -> None:
    await spawn(manager, "shell", worker_type="shell")
    task = {"task_type": "translate", "payload": {"text": "x"}}
    with pytest.raises(errors.UnknownChoice, match="analyze"):
        await manager.submit(task)

    (claude,) = await spawn(manager, "claude")

    assert (await manager.submit(task)).pool_id == claude
    with pytest.raises(errors.NoPoolAvailable, match="does not know the task type"):
        await manager.submit(task, pool="shell")


async def test_a_task_type_that_a_node_registered_runs_there(quick_settings: Settings, manager: PoolManager) -> None:
    async with FakeNode(quick_settings, task_types=("translate",)):
        (pool,) = await spawn(manager, "shell", worker_type="shell")

        result = await manager.route_task({"task_type": "translate", "payload": {"text": "x"}}, wait_timeout=30)

    assert (result.pool_id, result.output) == (pool, '{"text": "x"}')


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ({"promt": "x"}, "Did you mean 'prompt'"),
        ({"prompt": "x", "timeout": -1}, "timeout"),
        ({"prompt": "x", "timeout": "soon"}, "timeout"),
        ({"prompt": "  "}, "blank"),
        ({"task_type": "shell", "payload": {"comand": "x"}}, "payload.command"),
        ({"task_type": "shell", "payload": "no"}, "payload"),
        ({}, "prompt"),
        ("hello", "is a str"),
    ],
)
async def test_bad_tasks_are_refused_before_anything_is_sent(
    manager: PoolManager, node: FakeNode, task: object, says: str
) -> None:
    await spawn(manager, "one")
    await manager.pause_pool("one")

    with pytest.raises(errors.InvalidField, match=says):
        await manager.submit_many([{"prompt": "good"}, task], pool="one")  # type: ignore[list-item]

    assert (await manager.pool_info("one")).queued == 0


async def test_a_task_over_the_limit_is_refused(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "one")

    with pytest.raises(errors.PayloadTooLarge):
        await manager.submit({"prompt": "x" * (1024 * 1024 + 1)})


async def test_many_tasks_come_back_in_input_order_and_in_completion_order(
    manager: PoolManager, node: FakeNode
) -> None:
    await spawn(manager, "one", "two", min_workers=200, max_workers=200)
    prompts = [f"task {i}" for i in range(1200)]

    sent = await manager.submit_many({"prompt": prompt} for prompt in prompts)
    found = {
        result.task_id: result.output async for result in manager.results([s.task_id for s in sent], wait_timeout=30)
    }

    assert [found[one.task_id] for one in sent] == prompts
    assert len({one.pool_id for one in sent}) == 2


async def test_tasks_with_different_needs_may_be_sent_together(manager: PoolManager, node: FakeNode) -> None:
    (shell,) = await spawn(manager, "shell", worker_type="shell")
    (claude,) = await spawn(manager, "claude")

    sent = await manager.submit_many(
        [
            {"prompt": "a", "affinity": "shell"},
            {"task_type": "other", "payload": {}},
            {"prompt": "b", "affinity": "claude"},
            {"prompt": "c", "affinity": "shell"},
        ]
    )

    assert [one.pool_id for one in sent] == [shell, claude, claude, shell]


async def test_an_idempotency_key_runs_a_task_once(
    manager: PoolManager, quick_settings: Settings, node: FakeNode
) -> None:
    await spawn(manager, "one")
    other = PoolManager(settings=quick_settings)
    try:
        task = {"prompt": "x", "idempotency_key": "once"}
        first = await manager.submit(task)
        again = await other.submit(task)
        result = await other.result(again.task_id, wait_timeout=30)
    finally:
        await other.close()

    assert (again.task_id, again.new) == (first.task_id, False)
    assert result.ok
    assert len(node.ran) == 1


async def test_a_task_of_another_client_can_be_waited_for(
    manager: PoolManager, quick_settings: Settings, node: FakeNode
) -> None:
    await spawn(manager, "one")
    other = PoolManager(settings=quick_settings)
    try:
        submitted = await manager.submit({"prompt": "hold"})
        waiting = asyncio.create_task(other.result(submitted.task_id, wait_timeout=30))
        await eventually_async(lambda: manager.task(submitted.task_id), until=lambda task: task.status == "running")
        node.release()

        assert (await waiting).ok
        assert (await other.result(submitted.task_id, wait_timeout=30)).ok
    finally:
        await other.close()


async def test_many_may_wait_for_the_same_task(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "one")
    submitted = await manager.submit({"prompt": "hold"})
    waiting = [asyncio.create_task(manager.result(submitted.task_id, wait_timeout=30)) for _ in range(20)]
    impatient = asyncio.create_task(manager.result(submitted.task_id, wait_timeout=0.01))
    with pytest.raises(errors.WaitTimeout, match="Nothing was cancelled"):
        await impatient

    node.release()

    assert {result.task_id for result in await asyncio.gather(*waiting)} == {submitted.task_id}


async def test_an_unknown_task_is_not_waited_for(manager: PoolManager) -> None:
    with pytest.raises(errors.TaskNotFound):
        await manager.result("task_0", wait_timeout=30)
    with pytest.raises(errors.TaskNotFound):
        await manager.task("task_0")
    with pytest.raises(errors.TaskNotFound):
        await manager.cancel("task_0")


async def test_cancelling_ends_waiting_and_running_tasks(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "one")
    running, waiting = await manager.submit_many([{"prompt": "hold"}, {"prompt": "hold"}])
    await eventually_async(lambda: manager.task(running.task_id), until=lambda task: task.status == "running")
    await manager.pause_pool("one")
    late = await manager.submit({"prompt": "x"}, pool="one")

    assert await manager.cancel(late.task_id, reason="not needed") == "cancelled"
    assert await manager.cancel(running.task_id) == "asked"
    result = await manager.result(running.task_id, wait_timeout=30)
    await manager.cancel(waiting.task_id)

    assert result.status is TaskStatus.CANCELLED
    assert (await manager.result(late.task_id)).error == "not needed"
    assert await manager.cancel(late.task_id) == "cancelled"
    assert (await manager.result(waiting.task_id, wait_timeout=30)).status is TaskStatus.CANCELLED


async def test_batches_count_their_tasks(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "one")

    sent = await manager.submit_many([{"prompt": "a"}, {"prompt": "b"}], batch_id="mine")
    results = [result async for result in manager.results([one.task_id for one in sent], wait_timeout=30)]

    assert {result.batch_id for result in results} == {"mine"}


async def test_outcomes_are_not_missed_while_redis_is_away(
    own_valkey_server: PrivateValkey, quick_settings: Settings
) -> None:
    from pydantic import SecretStr

    settings = quick_settings.model_copy(update={"redis_url": SecretStr(own_valkey_server.url)})
    manager = PoolManager(settings=settings)
    try:
        async with FakeNode(settings) as node:
            await spawn(manager, "one")
            submitted = await manager.submit({"prompt": "hold"})
            waiting = asyncio.create_task(manager.result(submitted.task_id, wait_timeout=30))
            await eventually_async(lambda: manager.task(submitted.task_id), until=lambda task: task.status == "running")
            await asyncio.to_thread(own_valkey_server.restart)
            node.release()

            assert (await waiting).ok
    finally:
        await manager.close()


async def test_waiting_for_many_takes_one_connection(manager: PoolManager, node: FakeNode) -> None:
    await spawn(manager, "one", min_workers=1000, max_workers=1000)
    before = len(os.listdir("/proc/self/fd"))
    sent = await manager.submit_many([{"prompt": "hold"}] * 1000)

    async def wait_all() -> int:
        return len([result async for result in manager.results([one.task_id for one in sent], wait_timeout=60)])

    waiting = [asyncio.create_task(wait_all()) for _ in range(3)]
    await eventually_async(lambda: manager.pool_info("one"), until=lambda pool: pool.running == 1000, within=30)
    during = len(os.listdir("/proc/self/fd"))
    node.release()

    assert await asyncio.gather(*waiting) == [1000] * 3
    assert during - before <= 16


async def test_pools_that_change_all_the_time_do_not_stop_submitting(
    manager: PoolManager, quick_settings: Settings, node: FakeNode
) -> None:
    await spawn(manager, "one", "two")
    changing = True

    async def change() -> None:
        while changing:
            await manager.pause_pool("two")
            await manager.resume_pool("two")

    busy = asyncio.create_task(change())
    results = [await manager.route_task({"prompt": "x"}, wait_timeout=30) for _ in range(50)]
    changing = False
    await busy

    assert all(result.ok for result in results)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1, "soon", True, 1e300])
async def test_a_waiting_time_that_is_none_is_refused_before_anything_is_sent(
    manager: PoolManager, node: FakeNode, seconds: float
) -> None:
    await spawn(manager, "one")
    task = {"prompt": "x"}

    for call in (
        lambda: manager.execute_on_pool("one", task, wait_timeout=seconds),
        lambda: manager.route_task(task, wait_timeout=seconds),
        lambda: manager.result("task_1", wait_timeout=seconds),
        lambda: anext(manager.results(["task_1"], wait_timeout=seconds)),
        lambda: anext(manager.follow("task_1", wait_timeout=seconds)),
        lambda: manager.distribute({**task, "payload": {"items": [1]}}, wait_timeout=seconds),
        lambda: manager.drain_pool("one", timeout=seconds),
        lambda: manager.close_pool("one", timeout=seconds),
        lambda: manager.purge_dead(older_than=seconds),
    ):
        with pytest.raises(errors.InvalidField, match="Give 0 to 315360000 seconds"):
            await call()

    assert (await manager.pool_info("one")).status == "running"
    assert node.ran == []
