"""The message bus of a manager: delegated tasks are run and answered, and pools and tasks tell of themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from mahavishnu_pools import errors
from mahavishnu_pools.bus.redis import RedisBus
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp.protocols.message_bus import Message, MessageBus, MessageType
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.settings import Settings
from tests.fakes.worker import FakeNode
from tests.waiting import eventually_async

#: Seconds for what is waited for: far above what it takes.
DEADLINE = 30.0

Make = Callable[[], PoolManager]


@pytest_asyncio.fixture(params=["redis", "local"])
async def talking(request: pytest.FixtureRequest, quick_settings: Settings) -> AsyncIterator[PoolManager]:
    """Return a manager with each kind of bus."""
    bus = MessageBus() if request.param == "local" else None
    manager = PoolManager(message_bus=bus, settings=quick_settings)
    yield manager
    await manager.close()


def delegated(target: str, **task: Any) -> dict[str, Any]:
    return {"type": "task_delegate", "source_pool_id": "pool_abc", "target_pool_id": target, "task": task}


async def received(manager: PoolManager, pool_id: str) -> Message:
    message = await manager.message_bus.receive(pool_id, timeout=DEADLINE)
    assert message is not None, f"nothing was sent to {pool_id}"
    return message


async def spawn(manager: PoolManager, name: str) -> str:
    return await manager.spawn_pool(config=PoolConfig(name=name, worker_type="shell"))


@pytest.mark.parametrize("body", ["task", "payload"])
async def test_a_delegated_task_is_run_by_its_target_and_answered(
    talking: PoolManager, node: FakeNode, body: str
) -> None:
    seen: list[Message] = []
    pool_def = await spawn(talking, "def")
    talking.message_bus.subscribe(MessageType.RESULT_SHARE, seen.append)

    message = {"type": "task_delegate", "source_pool_id": "pool_abc", "target_pool_id": pool_def}
    sent = await talking.message_bus.publish({**message, body: {"prompt": "Process this"}})
    announced = await received(talking, pool_def)
    answer = await received(talking, "pool_abc")

    async def answers() -> list[Message]:
        return seen

    assert announced == sent
    assert (answer.type, answer.source_pool_id, answer.target_pool_id) == ("result_share", pool_def, "pool_abc")
    assert answer.payload["in_reply_to"] == sent.message_id
    assert (answer.payload["status"], answer.payload["truncated"]) == ("completed", False)
    assert answer.payload["result"]["output"] == "Process this"
    assert await eventually_async(answers, within=DEADLINE) == [answer]
    task = await talking.task(str(answer.payload["task_id"]))
    assert (task.pool_id, task.output) == (pool_def, "Process this")


async def test_a_repeated_delegation_runs_once_and_is_answered_again(talking: PoolManager, node: FakeNode) -> None:
    pool_def = await spawn(talking, "def")
    message = {**delegated(pool_def, prompt="once"), "message_id": "msg_42"}

    await talking.message_bus.publish(message)
    first = await received(talking, "pool_abc")
    await talking.message_bus.publish(message)
    second = await received(talking, "pool_abc")

    assert len(node.ran) == 1
    assert first.message_id == second.message_id
    assert {**first.payload, "duration": 0} == {**second.payload, "duration": 0}
    assert first.payload["duration"] == pytest.approx(second.payload["duration"], abs=1e-3)


async def test_two_delegations_of_a_running_task_are_both_answered(talking: PoolManager, node: FakeNode) -> None:
    pool_def = await spawn(talking, "def")
    for source in ("pool_a", "pool_b"):
        message = {**delegated(pool_def, prompt="hold", idempotency_key="k"), "source_pool_id": source}
        await talking.message_bus.publish(message)
        await talking.message_bus.publish({**message, "message_id": f"msg_{source}"})
    node.release()

    replies = [await received(talking, source) for source in ("pool_a", "pool_a", "pool_b", "pool_b")]

    assert len({reply.payload["in_reply_to"] for reply in replies}) == 4
    assert len({reply.payload["task_id"] for reply in replies}) == len(node.ran) == 1


async def test_a_task_that_fails_or_is_cancelled_is_answered_too(manager: PoolManager, node: FakeNode) -> None:
    pool_def = await spawn(manager, "def")

    await manager.message_bus.publish(delegated(pool_def, prompt="fail"))
    failed = await received(manager, "pool_abc")
    await manager.message_bus.publish(delegated(pool_def, prompt="hold", idempotency_key="held"))
    held = await manager.submit({"prompt": "hold", "idempotency_key": "held"}, pool=pool_def)
    await manager.cancel(held.task_id)
    cancelled = await received(manager, "pool_abc")

    assert (failed.payload["status"], failed.payload["result"]["error"]) == ("failed", "it was told to")
    assert cancelled.payload["status"] == "cancelled"


async def test_a_long_result_is_cut_in_the_answer_and_whole_in_the_record(quick_settings: Settings) -> None:
    text = "ä" * 100_000

    def long(spec: TaskSpec) -> Outcome:
        return Outcome(status="completed", output=text, exit_code=0)

    async with FakeNode(quick_settings, work=long):
        manager = PoolManager(settings=quick_settings)
        pool_def = await spawn(manager, "def")
        message = {**delegated(pool_def, prompt="x"), "message_id": "msg_1"}
        await manager.message_bus.publish(message)
        answer = await received(manager, "pool_abc")
        await manager.message_bus.publish(message)
        again = await received(manager, "pool_abc")
        record = await manager.task(str(answer.payload["task_id"]))
        await manager.close()

    assert answer.payload["truncated"] is again.payload["truncated"] is True
    assert answer.payload["result"]["output"] == "ä" * (12 * 1024)
    assert answer.payload["result"]["exit_code"] == again.payload["result"]["exit_code"] == 0
    assert record.output == text


async def test_lists_in_a_result_stay_lists(quick_settings: Settings) -> None:
    value = {"items": [], "more": {}, "big": 2**60}

    def listed(spec: TaskSpec) -> Outcome:
        return Outcome(status="completed", value=value)  # type: ignore[arg-type]

    async with FakeNode(quick_settings, work=listed):
        manager = PoolManager(settings=quick_settings)
        pool_def = await spawn(manager, "def")
        await manager.message_bus.publish(delegated(pool_def, prompt="x"))
        answer = await received(manager, "pool_abc")
        await manager.close()

    assert answer.payload["result"]["value"] == value


async def test_what_cannot_be_run_is_refused_to_who_publishes_and_nothing_is_sent(talking: PoolManager) -> None:
    seen: list[Message] = []
    talking.message_bus.subscribe(MessageType.TASK_DELEGATE, seen.append)

    with pytest.raises(errors.PoolNotFound):
        await talking.message_bus.publish(delegated("pool_def", prompt="x"))

    assert await talking.message_bus.receive("pool_def", timeout=0.01) is None
    assert (seen, talking.message_bus.counts().published) == ([], 0)


async def test_the_answer_needs_nobody_of_those_who_asked(
    quick_settings: Settings, node: FakeNode, redis_bus: Callable[..., RedisBus]
) -> None:
    manager = PoolManager(settings=quick_settings)
    pool_def = await spawn(manager, "def")
    await manager.message_bus.publish(delegated(pool_def, prompt="hold"))
    await manager.close()
    node.release()

    answer = await redis_bus().receive("pool_abc", timeout=DEADLINE)

    assert answer is not None
    assert answer.payload["status"] == "completed"


async def test_pools_and_tasks_tell_of_themselves(talking: PoolManager, node: FakeNode) -> None:
    seen: list[Message] = []
    kinds = ("pool_created", "status_update", "heartbeat", "task_completed", "pool_closed")
    for kind in kinds:
        talking.message_bus.subscribe(kind, seen.append)

    async def told() -> set[str]:
        return {message.type.value for message in seen}

    pool_id = await spawn(talking, "p")
    done = await talking.execute_on_pool(pool_id, {"prompt": "x"})
    failed = await talking.execute_on_pool(pool_id, {"prompt": "fail"})
    await talking.pause_pool(pool_id)
    await talking.close_pool(pool_id)
    await eventually_async(told, until=lambda found: found == set(kinds), within=DEADLINE)

    news = {kind: [message.payload for message in seen if message.type == kind] for kind in kinds}
    assert {message.source_pool_id for message in seen} == {pool_id}
    assert news["pool_created"] == [{"name": "p", "pool_type": "mahavishnu", "workers": 1}]
    assert {"status": "running", "before": "initializing"} in news["status_update"]
    assert {"status": "paused", "before": "running"} in news["status_update"]
    assert news["heartbeat"][0] == {"node": "node1", "status": "ready", "workers": 1}
    assert [(one["task_id"], one["status"], one["worker_id"]) for one in news["task_completed"]] == [
        (done.task_id, "completed", done.worker_id),
        (failed.task_id, "failed", failed.worker_id),
    ]
    assert news["pool_closed"] == [{"name": "p"}]


async def test_a_local_bus_hears_of_types_subscribed_to_later_and_no_more_of_cancelled_ones(
    quick_settings: Settings, node: FakeNode
) -> None:
    bus, seen, more = MessageBus(), [], []
    manager = PoolManager(message_bus=bus, settings=quick_settings)
    await spawn(manager, "p1")
    subscription = bus.subscribe(MessageType.POOL_CREATED, seen.append)
    await spawn(manager, "p2")
    await eventually_async(lambda: asyncio.sleep(0, seen), within=DEADLINE)
    subscription.cancel()
    bus.subscribe(MessageType.STATUS_UPDATE, more.append)
    p3 = await spawn(manager, "p3")
    await manager.pause_pool(p3)
    await eventually_async(lambda: asyncio.sleep(0, more), within=DEADLINE)
    await manager.close()

    assert [message.payload["name"] for message in seen] == ["p2"]


async def test_two_managers_talk_over_redis(manager: PoolManager, quick_settings: Settings) -> None:
    other = PoolManager(settings=quick_settings)
    heard = asyncio.Event()

    async def handler(message: Message) -> None:
        heard.set()

    other.message_bus.subscribe("heartbeat", handler)
    await other.list_pools()
    await manager.message_bus.publish({"type": "heartbeat", "source_pool_id": "pool_a", "target_pool_id": "pool_b"})
    async with asyncio.timeout(DEADLINE):
        await heard.wait()

    assert (await received(other, "pool_b")).source_pool_id == "pool_a"
    await other.close()
