"""What is particular to the message bus inside one process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.bus import local
from mahavishnu_pools.bus.local import MessageBus
from mahavishnu_pools.schemas.message import Message, MessageType


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "10"])
def test_a_queue_size_that_cannot_be_is_refused(size: Any) -> None:
    with pytest.raises(errors.InvalidField, match="max_queue_size"):
        MessageBus(max_queue_size=size)


def test_a_handler_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(errors.InvalidField, match="handler"):
        MessageBus().subscribe(MessageType.HEARTBEAT, "print")  # type: ignore[arg-type]


def test_a_bus_made_before_the_event_loop_serves_one_loop_after_the_other() -> None:
    bus = MessageBus()
    seen: list[Message] = []
    bus.subscribe(MessageType.HEARTBEAT, seen.append)

    async def publish() -> object:
        await bus.publish({"type": "heartbeat", "source_pool_id": "pool_a", "target_pool_id": "pool_b"})
        await bus.receive("pool_b", timeout=30.0)
        return await bus.receive("pool_b", timeout=0.01)

    assert [asyncio.run(publish()) for _ in range(2)] == [None, None]
    assert len(seen) == 2


async def test_what_waits_for_a_closed_pool_is_given_up() -> None:
    bus = MessageBus()
    await bus.publish({"type": "heartbeat", "source_pool_id": "pool_a", "target_pool_id": "pool_b"})
    await bus.publish({"type": "pool_closed", "source_pool_id": "pool_b"})

    assert await bus.receive("pool_b", timeout=0.01) is None
    assert bus.counts().unread == 1


async def test_messages_for_ever_new_pools_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_MAILBOXES", 3)
    bus = MessageBus()
    for number in range(5):
        await bus.publish({"type": "heartbeat", "source_pool_id": "pool_a", "target_pool_id": f"pool_{number}"})

    received = [await bus.receive(f"pool_{number}", timeout=0.01) for number in (0, 1, 2, 3, 4)]

    assert [message is not None for message in received] == [False, False, True, True, True]
    assert bus.counts().unread == 2


async def test_a_bus_ends_with_its_block() -> None:
    async with MessageBus() as bus:
        receiver = asyncio.create_task(bus.receive("pool_a"))
        await bus.publish({"type": "heartbeat", "source_pool_id": "pool_a"})

    assert await receiver is None


async def test_pools_that_are_received_for_do_not_keep_the_others_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_MAILBOXES", 3)
    bus = MessageBus()
    receiving = asyncio.create_task(bus.receive("pool_first", timeout=30.0))
    await asyncio.sleep(0)
    for number in range(5):
        await bus.publish({"type": "heartbeat", "source_pool_id": "pool_a", "target_pool_id": f"pool_{number}"})
    await bus.publish({"type": "heartbeat", "source_pool_id": "pool_a", "target_pool_id": "pool_first"})

    assert bus.counts().unread == 3
    assert await receiving is not None


async def test_a_handler_whose_own_task_was_cancelled_gets_the_next_message(caplog: pytest.LogCaptureFixture) -> None:
    bus = MessageBus()
    seen: list[object] = []
    done = asyncio.Event()

    async def handler(message: Message) -> None:
        seen.append(message.payload["n"])
        if message.payload["n"] == 2:
            done.set()
        cancelled = asyncio.create_task(asyncio.Event().wait())
        cancelled.cancel()
        await cancelled

    subscription = bus.subscribe(MessageType.HEARTBEAT, handler)
    await bus.publish_many({"type": "heartbeat", "source_pool_id": "pool_a", "payload": {"n": n}} for n in range(3))
    async with asyncio.timeout(30.0):
        await done.wait()
    await bus.close()

    assert seen == [0, 1, 2]
    assert subscription.failed >= 2
    assert "A handler of heartbeat failed" in caplog.text
