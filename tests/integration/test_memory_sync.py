"""The sync inside a process: pauses after failures, and the periodic one of a ``MemoryAggregator``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.memory import aggregator
from mahavishnu_pools.memory.aggregator import MemoryAggregator
from mahavishnu_pools.memory.delivering import deliver_all
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import AsyncStore
from tests.fakes.list_sink import ListSink
from tests.store.world import World
from tests.waiting import eventually_async


@pytest_asyncio.fixture
async def store(redis_url: str, namespace: str) -> AsyncIterator[AsyncStore]:
    async with AsyncStore(redis_url, namespace=namespace) as found:
        yield found


@pytest.fixture
def sinks(monkeypatch: pytest.MonkeyPatch) -> tuple[ListSink, ListSink]:
    """Return the sinks that aggregators of this process deliver to."""
    buddy, akosha = ListSink("session_buddy"), ListSink("akosha")
    monkeypatch.setattr(aggregator, "SessionBuddySink", lambda _: buddy)
    monkeypatch.setattr(aggregator, "AkoshaSink", lambda _: akosha)
    return buddy, akosha


async def test_a_sink_that_failed_is_left_alone_until_its_pause_is_over_or_somebody_asks(
    world: World, store: AsyncStore
) -> None:
    ids, sink = world.finished(world.pool(), 1), ListSink()
    sink.down = True
    await deliver_all(store, sink)
    sink.down = False

    assert (await deliver_all(store, sink)).confirmed == 0
    assert (await deliver_all(store, sink, force=True)).confirmed == len(ids)


async def test_one_server_that_is_down_or_slow_keeps_nothing_from_the_other(
    world: World, manager: PoolManager, sinks: tuple[ListSink, ListSink]
) -> None:
    ids = world.finished(world.pool(), 70)
    buddy, akosha = sinks
    buddy.down = True

    report = await MemoryAggregator().collect_and_sync(manager)

    assert (report["memory_items_synced"], report["memory_items_pending"], report["pools_synced"]) == (70, 70, 1)
    assert report["errors"] == {"session_buddy": "it is down"}
    assert sorted(akosha.sent) == sorted(ids)


async def test_the_periodic_sync_delivers_until_it_is_stopped(
    world: World, manager: PoolManager, sinks: tuple[ListSink, ListSink]
) -> None:
    pool = world.pool()
    first = world.finished(pool, 3)
    syncing = MemoryAggregator(sync_interval=0.05)

    async def sent() -> list[set[str]]:
        return [set(sink.sent) for sink in sinks]

    await syncing.start_periodic_sync(manager)
    await syncing.start_periodic_sync(manager)
    await eventually_async(sent, until=lambda found: found == [set(first)] * 2, within=30)
    second = world.finished(pool, 2)
    await eventually_async(sent, until=lambda found: found == [{*first, *second}] * 2, within=30)
    await syncing.stop()
    await syncing.stop()

    assert [len(sink.sent) for sink in sinks] == [5, 5]
    assert not [task for task in asyncio.all_tasks() if "_periodically" in repr(task)]
    world.finished(pool, 1)
    assert [len(sink.sent) for sink in sinks] == [5, 5]
    await syncing.start_periodic_sync(manager)
    await eventually_async(sent, until=lambda found: [len(one) for one in found] == [6, 6], within=30)
    await syncing.stop()


class Away:
    """A manager whose Redis is away at first."""

    def __init__(self, manager: PoolManager, settings: Settings, *, failures: int) -> None:
        self.settings = settings
        self._manager, self._failures = manager, failures

    async def memory_store(self) -> AsyncStore:
        self._failures -= 1
        if self._failures >= 0:
            raise errors.RedisUnavailable("it is away")
        return await self._manager.memory_store()


async def test_the_periodic_sync_goes_on_when_redis_comes_back(
    world: World, manager: PoolManager, settings: Settings, sinks: tuple[ListSink, ListSink]
) -> None:
    ids = world.finished(world.pool(), 2)
    syncing = MemoryAggregator(sync_interval=0.05)

    async def sent() -> list[str]:
        return sorted(sinks[1].sent)

    await syncing.start_periodic_sync(Away(manager, settings, failures=3))
    await eventually_async(sent, until=lambda found: found == sorted(ids), within=30)
    await syncing.stop()
