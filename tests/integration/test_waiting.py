"""Waiting for outcomes: what a client is told whole is not read again, what it cannot read of the news is looked up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from mahavishnu_pools.broker.listener import Channel, Listener
from mahavishnu_pools.broker.waiting import OutcomeWaiter
from mahavishnu_pools.store import tasks
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.client import AsyncStore
from tests.store.world import World
from tests.waiting import eventually_async


class CountingStore(AsyncStore):
    """Notes the scripts it runs."""

    def __init__(self, url: str, namespace: str) -> None:
        super().__init__(url, namespace=namespace)
        self.asked: list[str] = []

    async def run(self, call: Call[tasks.TaskResult]) -> tasks.TaskResult:
        self.asked.append(call.script)
        return await super().run(call)


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return text in caplog.text


def run_one(world: World, pool: str) -> None:
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    world.run(world.finish_call(world.held(lease, pool, claim)))


@pytest.fixture
async def store(redis_url: str, namespace: str) -> AsyncIterator[CountingStore]:
    async with CountingStore(redis_url, namespace) as store:
        yield store


@pytest.fixture
async def waiter(store: CountingStore) -> AsyncIterator[OutcomeWaiter]:
    listener = Listener(store)
    waiter = OutcomeWaiter(store, listener, client="c")
    waiter.start()
    subscribed = asyncio.Event()
    # Confirmed after the client's own: what it waits for is read again when its subscription is.
    listener.add(["zzz"], Channel(lambda _: None, subscribed.set))
    listener.start()
    async with asyncio.timeout(30):
        await subscribed.wait()
    yield waiter
    await waiter.close()
    await listener.close()


async def test_what_is_told_whole_is_not_read(world: World, waiter: OutcomeWaiter, store: CountingStore) -> None:
    pool = world.pool("p")
    (task_id,) = world.to(pool)
    waiter.expect([task_id])
    outcome = asyncio.create_task(waiter.wait(task_id, within=30))

    await asyncio.to_thread(run_one, world, pool)

    assert await outcome == world.task(task_id)
    assert store.asked == []


async def test_news_that_cannot_be_read_are_looked_up(
    world: World, waiter: OutcomeWaiter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    pool = world.pool("p")
    (task_id,) = world.to(pool)
    waiter.expect([task_id])
    outcome = asyncio.create_task(waiter.wait(task_id, within=30))

    world.redis.publish(world.key("client", "c"), "a\n\n{")
    await eventually_async(lambda: logged(caplog, "cannot be read"))
    await asyncio.to_thread(run_one, world, pool)

    assert (await outcome).status == "completed"
