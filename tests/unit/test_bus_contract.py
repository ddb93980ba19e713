"""What every message bus does; each implementation is one entry of BUSES."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from mahavishnu_pools import errors
from mahavishnu_pools.bus.interface import Bus
from mahavishnu_pools.bus.local import MessageBus
from mahavishnu_pools.bus.redis import RedisBus
from mahavishnu_pools.schemas.message import Message, MessageType
from tests.waiting import eventually_async

HEARTBEAT = {"type": "heartbeat", "source_pool_id": "pool_a"}

BUSES = ("local", "redis")


@pytest_asyncio.fixture(params=BUSES)
async def make_bus(
    request: pytest.FixtureRequest, redis_bus: Callable[..., RedisBus]
) -> AsyncIterator[Callable[..., Bus]]:
    made: list[Bus] = []

    def make(max_queue_size: int = 1000) -> Bus:
        made.append(MessageBus(max_queue_size) if request.param == "local" else redis_bus(max_queue_size))
        return made[-1]

    yield make
    for bus in made:
        await bus.close()


@pytest.fixture
def bus(make_bus: Callable[..., Bus]) -> Bus:
    return make_bus()


async def _one_turn() -> None:
    await asyncio.sleep(0)


async def _reaches(seen: list[Any], number: int) -> None:
    async def look() -> int:
        return len(seen)

    await eventually_async(look, until=lambda count: count >= number, within=60.0)


def _numbered(number: int) -> dict[str, Any]:
    return {**HEARTBEAT, "payload": {"number": number}}


def _numbers(messages: list[Message]) -> list[Any]:
    return [message.payload["number"] for message in messages]


async def test_functions_and_coroutine_functions_get_the_messages_of_their_type(bus: Bus) -> None:
    plain: list[Message] = []
    awaited: list[Message] = []

    async def handler(message: Message) -> None:
        awaited.append(message)

    bus.subscribe(MessageType.HEARTBEAT, plain.append)
    bus.subscribe("heartbeat", handler)
    await bus.publish({"type": "pool_created", "source_pool_id": "pool_a"})
    sent = await bus.publish(HEARTBEAT)
    await _reaches(plain, 1)
    await _reaches(awaited, 1)

    assert plain == awaited == [sent]
    assert (sent.type, sent.source_pool_id, sent.target_pool_id) == (MessageType.HEARTBEAT, "pool_a", None)


async def test_a_typed_message_arrives_as_it_was_published(bus: Bus) -> None:
    seen: list[Message] = []
    message = Message(type=MessageType.RESULT_SHARE, source_pool_id="pool_a", payload={"output": [1, None, "x"]})

    bus.subscribe(MessageType.RESULT_SHARE, seen.append)
    await bus.publish(message)
    await _reaches(seen, 1)

    assert seen == [message]


async def test_a_message_without_subscribers_is_accepted(bus: Bus) -> None:
    await bus.publish(HEARTBEAT)

    assert bus.counts().published == 1


async def test_every_subscriber_gets_all_messages_in_the_order_of_publishing(bus: Bus) -> None:
    quick: list[Message] = []
    slow: list[Message] = []

    async def handler(message: Message) -> None:
        await _one_turn()
        slow.append(message)

    bus.subscribe(MessageType.HEARTBEAT, quick.append)
    bus.subscribe(MessageType.HEARTBEAT, handler)
    for number in range(100):
        await bus.publish(_numbered(number))
    await _reaches(slow, 100)

    assert _numbers(quick) == _numbers(slow) == list(range(100))


async def test_a_failing_handler_stops_neither_itself_nor_others(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Message] = []

    async def fails(message: Message) -> None:
        raise RuntimeError("a bad handler")

    def fails_at_once(message: Message) -> None:
        raise ValueError("another bad handler")

    subscriptions = [bus.subscribe(MessageType.HEARTBEAT, one) for one in (fails, fails_at_once, seen.append)]
    for number in range(3):
        await bus.publish(_numbered(number))
    await _reaches(seen, 3)

    async def failures() -> list[int]:
        return [subscription.failed for subscription in subscriptions]

    assert await eventually_async(failures, until=lambda found: found == [3, 3, 0])
    assert bus.counts().failed == 6
    assert "a bad handler" in caplog.text


async def test_a_slow_subscriber_loses_only_its_own_and_the_count_is_reported(
    make_bus: Callable[..., Bus], caplog: pytest.LogCaptureFixture
) -> None:
    bus = make_bus(10)
    go = asyncio.Event()
    quick: list[Message] = []
    slow: list[Message] = []

    async def handler(message: Message) -> None:
        await go.wait()
        slow.append(message)

    bus.subscribe(MessageType.HEARTBEAT, quick.append)
    held = bus.subscribe(MessageType.HEARTBEAT, handler)
    for number in range(50):
        await bus.publish(_numbered(number))
        await _reaches(quick, number + 1)
    waiting = held.waiting
    go.set()
    await _reaches(slow, 11)

    assert _numbers(quick) == list(range(50))
    assert waiting == 10
    assert _numbers(slow) == [0, *range(40, 50)]  # the one at work, and the newest ten
    assert held.dropped == bus.counts().dropped == 39
    assert caplog.text.count("is too slow") == 1


async def test_a_cancelled_subscription_gets_nothing_more_and_its_counts_stay(make_bus: Callable[..., Bus]) -> None:
    bus = make_bus()
    seen: list[Message] = []
    others: list[Message] = []

    subscription = bus.subscribe(MessageType.HEARTBEAT, seen.append)
    bus.subscribe(MessageType.HEARTBEAT, others.append)
    await bus.publish(_numbered(0))
    await _reaches(seen, 1)
    subscription.cancel()
    subscription.cancel()
    await bus.publish(_numbered(1))
    await _reaches(others, 2)

    assert _numbers(seen) == [0]


async def test_a_pool_receives_what_is_sent_to_it_and_nothing_else(bus: Bus) -> None:
    for number, target in enumerate(("pool_b", "pool_c", None, "pool_b")):
        await bus.publish({**_numbered(number), "target_pool_id": target})

    received = [await bus.receive("pool_b", timeout=30.0) for _ in range(2)]

    assert [message and message.payload["number"] for message in received] == [0, 3]
    assert await bus.receive("pool_b", timeout=0.01) is None


async def test_a_receiver_that_came_first_gets_the_message(bus: Bus) -> None:
    receiver = asyncio.create_task(bus.receive("pool_b", timeout=30.0))
    impatient = await bus.receive("pool_b", timeout=0.01)
    await bus.publish({**HEARTBEAT, "target_pool_id": "pool_b"})
    message = await receiver

    assert impatient is None
    assert message is not None
    assert message.target_pool_id == "pool_b"


async def test_a_cancelled_receiver_takes_no_message_away(bus: Bus) -> None:
    receiver = asyncio.create_task(bus.receive("pool_b"))
    await asyncio.wait([receiver], timeout=0.01)
    receiver.cancel()
    await asyncio.wait([receiver])
    await bus.publish({**HEARTBEAT, "target_pool_id": "pool_b"})

    assert await bus.receive("pool_b", timeout=30.0) is not None


async def test_a_pool_that_never_receives_keeps_the_newest(make_bus: Callable[..., Bus]) -> None:
    bus = make_bus(3)
    for number in range(5):
        await bus.publish({**_numbered(number), "target_pool_id": "pool_b"})

    received = [await bus.receive("pool_b", timeout=30.0) for _ in range(3)]

    assert [message and message.payload["number"] for message in received] == [2, 3, 4]
    assert (bus.counts().unread, bus.counts().dropped) == (2, 0)


@pytest.mark.parametrize(
    ("message", "error", "word"),
    [
        ({**HEARTBEAT, "type": "heart_beat"}, errors.UnknownChoice, "heartbeat"),
        ({"source_pool_id": "pool_a"}, errors.UnknownChoice, "message type"),
        ({"type": "heartbeat"}, errors.InvalidField, "source_pool_id"),
        ({**HEARTBEAT, "source_pool_id": ""}, errors.InvalidField, "source_pool_id"),
        ({**HEARTBEAT, "sorce_pool_id": "x"}, errors.InvalidField, "source_pool_id"),
        ({**HEARTBEAT, "payload": "text"}, errors.InvalidField, "payload"),
        ({**HEARTBEAT, "payload": {"x": object()}}, errors.InvalidField, "payload"),
        ({**HEARTBEAT, "payload": {"x": "\udc80"}}, errors.InvalidField, "payload"),
        ({**HEARTBEAT, "payload": {"x": float("nan")}}, errors.InvalidField, "payload"),
        ({**HEARTBEAT, "payload": {}, "task": {}}, errors.InvalidField, "task"),
        ({**HEARTBEAT, "payload": {"x": "x" * 1024 * 1024}}, errors.InvalidField, "limit"),
        ({**HEARTBEAT, "type": "task_delegate", "task": {"prompt": "x"}}, errors.InvalidField, "target_pool_id"),
        (
            {**HEARTBEAT, "type": "task_delegate", "target_pool_id": "pool_b", "task": {"promt": "x"}},
            errors.InvalidField,
            "promt",
        ),
        (["heartbeat"], errors.InvalidField, "message"),
    ],
)
async def test_what_is_no_message_is_refused_at_publish(
    bus: Bus, message: Any, error: type[errors.MahavishnuError], word: str
) -> None:
    seen: list[Message] = []
    bus.subscribe(MessageType.HEARTBEAT, seen.append)

    with pytest.raises(error, match=word):
        await bus.publish(message)

    assert (seen, bus.counts().published) == ([], 0)


async def test_an_unknown_type_is_refused_at_subscribe(bus: Bus) -> None:
    with pytest.raises(errors.UnknownChoice, match="task_delegate"):
        bus.subscribe("task_delegated", lambda message: None)


async def test_closing_ends_handlers_at_work_and_receivers(bus: Bus) -> None:
    began = asyncio.Event()
    ended: list[bool] = []

    async def handler(message: Message) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    bus.subscribe(MessageType.HEARTBEAT, handler)
    receiver = asyncio.create_task(bus.receive("pool_b"))
    await bus.publish(HEARTBEAT)
    await began.wait()
    await bus.close()
    await bus.close()

    assert (await receiver, ended) == (None, [True])


async def test_a_handler_may_cancel_its_own_subscription_and_close_the_bus(bus: Bus) -> None:
    done = asyncio.Event()

    async def handler(message: Message) -> None:
        subscription.cancel()
        await bus.close()
        done.set()

    subscription = bus.subscribe(MessageType.HEARTBEAT, handler)
    await bus.publish(HEARTBEAT)
    async with asyncio.timeout(60):
        await done.wait()

    assert subscription.waiting == 0


async def test_a_handler_may_publish_subscribe_and_receive(bus: Bus) -> None:
    seen: list[Message] = []

    async def handler(message: Message) -> None:
        bus.subscribe(MessageType.STATUS_UPDATE, seen.append)
        await bus.publish({**HEARTBEAT, "type": "status_update", "target_pool_id": "pool_b"})
        received = await bus.receive("pool_b", timeout=30.0)
        assert received is not None
        seen.append(received)

    bus.subscribe(MessageType.HEARTBEAT, handler)
    await bus.publish(HEARTBEAT)
    await _reaches(seen, 2)

    assert seen[0] == seen[1]


async def test_a_closed_bus_may_be_used_again(bus: Bus) -> None:
    seen: list[Message] = []
    bus.subscribe(MessageType.HEARTBEAT, seen.append)
    await bus.publish(_numbered(0))
    await _reaches(seen, 1)
    await bus.close()
    await bus.publish(_numbered(1))
    bus.subscribe(MessageType.HEARTBEAT, seen.append)
    await bus.publish(_numbered(2))
    await _reaches(seen, 2)

    assert _numbers(seen) == [0, 2]
    assert bus.counts().published == 3


async def test_many_messages_are_sent_at_once_in_their_order(bus: Bus) -> None:
    seen: list[Message] = []
    bus.subscribe(MessageType.HEARTBEAT, seen.append)

    sent = await bus.publish_many({**_numbered(number), "target_pool_id": "pool_b"} for number in range(700))
    await _reaches(seen, 700)
    received = [await bus.receive("pool_b", timeout=30.0) for _ in range(700)]

    assert seen == sent == received
    assert _numbers(sent) == list(range(700))
    assert await bus.publish_many([]) == []


async def test_of_many_messages_none_is_sent_when_one_is_refused(bus: Bus) -> None:
    with pytest.raises(errors.UnknownChoice):
        await bus.publish_many([HEARTBEAT, {**HEARTBEAT, "type": "heart_beat"}])

    assert bus.counts().published == 0


async def test_a_handler_with_a_turn_for_each_message_loses_nothing_of_a_large_number(bus: Bus) -> None:
    seen: list[Message] = []

    async def handler(message: Message) -> None:
        await _one_turn()
        seen.append(message)

    bus.subscribe(MessageType.HEARTBEAT, handler)
    await bus.publish_many(_numbered(number) for number in range(3000))
    await _reaches(seen, 3000)

    assert bus.counts().dropped == 0


async def test_publishers_at_the_same_time_all_get_their_answers(bus: Bus) -> None:
    seen: list[Message] = []
    bus.subscribe(MessageType.HEARTBEAT, seen.append)

    sent = await asyncio.gather(*(bus.publish(_numbered(number)) for number in range(600)))
    await _reaches(seen, 600)

    assert _numbers(list(sent)) == list(range(600))
    assert sorted(_numbers(seen)) == list(range(600))


async def test_ten_subscribers_that_keep_up_lose_nothing(bus: Bus) -> None:
    counts = [0] * 10

    def counter(index: int) -> Callable[[Message], None]:
        def count(message: Message) -> None:
            counts[index] += 1

        return count

    for index in range(10):
        bus.subscribe(MessageType.HEARTBEAT, counter(index))
    began = time.monotonic()
    for _ in range(2000):
        await bus.publish(HEARTBEAT)
    took = time.monotonic() - began

    async def lowest() -> int:
        return min(counts)

    await eventually_async(lowest, until=lambda count: count == 2000, within=60.0)
    assert bus.counts().dropped == 0
    print(f"{2000 / took:.0f} messages/s to 10 subscribers")
