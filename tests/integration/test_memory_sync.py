"""The memory sync against the embedded Session-Buddy: nothing is lost while it is down, nothing is delivered twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.memory import delivering
from mahavishnu_pools.memory.delivering import deliver_all
from mahavishnu_pools.memory.index import MemoryIndex
from mahavishnu_pools.memory.search import catch_up, search_all
from mahavishnu_pools.memory.sinks.interface import Delivery
from mahavishnu_pools.memory.sinks.session_buddy import SessionBuddySink
from mahavishnu_pools.schemas.memory import MemoryRecord
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.outbox import read_sinks
from tests.integration.test_session_buddy_server import server
from tests.store.world import World


class ListSink:
    """Keeps what it is sent; ``refuses`` holds ids, ``down`` or a batch's number ends it."""

    name = "list"

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.refuses: set[str] = set()
        self.down = False

    async def deliver(self, records: Sequence[MemoryRecord]) -> Delivery:
        if self.down:
            raise errors.RemoteUnavailable("it is down")
        await asyncio.sleep(0)
        taken = [one.memory_id for one in records if one.memory_id not in self.refuses]
        self.sent.extend(taken)
        refused = {one.memory_id: "no" for one in records if one.memory_id in self.refuses}
        return Delivery(refused=refused) if taken else Delivery(left=refused)

    async def takes_again(self, record: MemoryRecord) -> bool:
        return not self.down and record.memory_id not in self.refuses

    async def search(self, query: str, *, limit: int) -> list[dict[str, Any]]:
        raise errors.RemoteUnavailable("it is down")


@pytest_asyncio.fixture
async def store(redis_url: str, namespace: str) -> AsyncIterator[AsyncStore]:
    async with AsyncStore(redis_url, namespace=namespace) as found:
        yield found


def finish(world: World, count: int) -> list[str]:
    pool = world.pool(f"p{count}")
    ids = [one for _ in range(0, count, 100) for one in world.to(pool, min(count, 100), prompt="Fix the parser")]
    lease = world.lease(pool)
    while claims := world.claim(lease, pool, 100):
        world.store.run_many([world.finish_call(world.held(lease, pool, claim)) for claim in claims])
    return ids


async def test_a_thousand_tasks_while_the_server_is_down_are_delivered_once_when_it_is_up(
    world: World, store: AsyncStore, tmp_path: Path
) -> None:
    ids = finish(world, 1000)
    async with McpClient("http://127.0.0.1:9/mcp") as nobody:
        failed = await deliver_all(store, SessionBuddySink(nobody))
    assert failed.confirmed == 0
    assert failed.error

    with server(tmp_path) as (_, url):
        async with McpClient(url) as one, McpClient(url) as other:
            done = await asyncio.gather(
                *(deliver_all(store, SessionBuddySink(client), force=True) for client in (one, other))
            )
            again = await deliver_all(store, SessionBuddySink(one), force=True)

    (state,) = await store.run(read_sinks("session_buddy"))
    index = MemoryIndex(tmp_path / "session-buddy" / "memory.db")
    assert index.count() == len(ids) == sum(one.confirmed for one in done)
    assert (again.confirmed, state.pending, state.error) == (0, 0, None)
    index.close()


async def test_a_delivery_that_is_killed_between_store_and_confirmation_leaves_no_duplicate(
    world: World, store: AsyncStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(world, 100)
    with server(tmp_path) as (_, url):
        async with McpClient(url) as client:

            async def killed(*_: object) -> bool:
                raise asyncio.CancelledError

            with monkeypatch.context() as patch:
                patch.setattr(delivering._Delivery, "_confirm", killed)
                with pytest.raises(asyncio.CancelledError):
                    await deliver_all(store, SessionBuddySink(client))
            done = await deliver_all(store, SessionBuddySink(client))

    index = MemoryIndex(tmp_path / "session-buddy" / "memory.db")
    assert (done.confirmed, index.count()) == (100, 100)
    index.close()


async def test_a_record_that_is_refused_for_ever_is_set_aside_and_blocks_no_other(
    world: World, store: AsyncStore
) -> None:
    ids, sink = finish(world, 100), ListSink()
    sink.refuses = {ids[3]}

    done = await deliver_all(store, sink)

    (state,) = await store.run(read_sinks("list"))
    assert (done.confirmed, state.aside, state.pending) == (99, 1, 0)
    assert sorted(sink.sent) == sorted(set(ids) - sink.refuses)


async def test_a_sink_that_failed_is_left_alone_until_its_pause_is_over_or_somebody_asks(
    world: World, store: AsyncStore
) -> None:
    ids, sink = finish(world, 1), ListSink()
    sink.down = True
    await deliver_all(store, sink)
    sink.down = False

    assert (await deliver_all(store, sink)).confirmed == 0
    assert (await deliver_all(store, sink, force=True)).confirmed == len(ids)


async def test_the_search_finds_what_finished_also_when_the_servers_are_down(
    world: World, store: AsyncStore, tmp_path: Path
) -> None:
    ids, index = finish(world, 3), MemoryIndex(tmp_path / "index.db")

    assert await catch_up(store, index) == 3
    assert await catch_up(store, index) == 0
    hits = await search_all(index, [ListSink()], "parser", limit=2)

    assert len(hits) == 2
    assert {hit["task_id"] for hit in hits} <= set(ids)
    index.close()
