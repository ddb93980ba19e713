"""Delegation and memory with the real Session-Buddy and Akosha, run by ``make test-peers``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from mahavishnu_pools import names
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.memory.delivering import deliver_all
from mahavishnu_pools.memory.records import record_of
from mahavishnu_pools.memory.sinks.akosha import AkoshaSink
from mahavishnu_pools.memory.sinks.session_buddy import SessionBuddySink
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.outbox import read_outbox, read_sinks
from tests.fixtures.groups import Site
from tests.fixtures.peers import Peer
from tests.store.world import World
from tests.waiting import eventually

pytestmark = [pytest.mark.peers_real, pytest.mark.slow]


@pytest.fixture
def buddy(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer("session-buddy", tmp_path)
    yield peer
    peer.kill()


def prompt(site: Site, pool_id: str, text: str) -> str:
    app = site.apps[0] if site.apps else site.client()
    return str(app.send_task(names.RUN_TASK, args=[{"prompt": text}], queue=names.queue_of(pool_id)).id)


def test_prompts_are_delegated_also_across_a_restart_of_the_server(site: Site, buddy: Peer) -> None:
    pool_id = site.pool(workers=3, pool_type="session-buddy", max_workers=3, endpoint=buddy.url)
    site.group(pool_id)
    before = [site.outcome(prompt(site, pool_id, f"before {number}"), within=30) for number in range(10)]

    buddy.kill()
    during = [prompt(site, pool_id, f"during {number}") for number in range(10)]
    eventually(lambda: site.read_pool(pool_id), until=lambda pool: pool.status == "degraded", within=30)
    buddy.start()

    found = [*before, *(site.outcome(one, within=60) for one in during)]
    assert {one.status for one in found} == {"completed"}
    assert all(f"Task executed on pool {pool_id}" in str(one.output) for one in found)
    assert {one.metadata["remote_output_available"] for one in found} == {False}
    eventually(lambda: site.read_pool(pool_id), until=lambda pool: pool.status == "running", within=30)


def test_the_small_server_without_pools_is_refused_in_a_sentence(site: Site, tmp_path: Path) -> None:
    peer = Peer("session-buddy-small", tmp_path)
    try:
        pool_id = site.pool(workers=3, pool_type="session-buddy", max_workers=3, endpoint=peer.url)
        with pytest.raises(AssertionError, match="has no tool create_pool, execute_on_pool"):
            site.group(pool_id)
    finally:
        peer.kill()


@pytest_asyncio.fixture
async def store(redis_url: str, namespace: str) -> AsyncIterator[AsyncStore]:
    async with AsyncStore(redis_url, namespace=namespace) as found:
        yield found


def finish(world: World, word: str, count: int) -> None:
    """Have tasks finished whose memory speaks of a word."""
    pool = world.pool(f"about-{word}")
    world.to(pool, count, prompt=f"Describe the {word} in one sentence")
    lease = world.lease(pool)
    for claim in world.claim(lease, pool, count):
        world.run(world.finish_call(world.held(lease, pool, claim)))


@pytest.mark.parametrize("kind", ["session-buddy", "session-buddy-small"])
async def test_memory_reaches_the_real_session_buddy_and_is_found_there(
    world: World, store: AsyncStore, tmp_path: Path, kind: str
) -> None:
    finish(world, "aardvark", 20)
    peer = Peer(kind, tmp_path)
    try:
        async with McpClient(peer.url, timeout=60) as client:
            sink = SessionBuddySink(client)
            first = await deliver_all(store, sink)
            peer.kill()
            finish(world, "buffalo", 20)
            away = await deliver_all(store, sink, force=True)
            peer.start()
            second = await deliver_all(store, sink, force=True)
            found = await sink.search("buffalo", limit=10)
    finally:
        peer.kill()

    (state,) = await store.run(read_sinks("session_buddy"))
    assert (first.confirmed, away.confirmed, second.confirmed) == (20, 0, 20)
    assert (state.pending, state.aside) == (0, 0)
    assert found
    assert all("buffalo" in one["content"] for one in found)


async def test_memory_reaches_the_real_akosha_and_what_is_there_already_counts_as_delivered(
    world: World, store: AsyncStore, tmp_path: Path
) -> None:
    finish(world, "aardvark", 20)
    peer = Peer("akosha", tmp_path)
    try:
        async with McpClient(peer.url, timeout=60) as client:
            sink = AkoshaSink(client)
            entries = await store.run(read_outbox("0-0", most=100))
            early = await sink.deliver([record_of(entry.fields) for entry in entries][:5])
            first = await deliver_all(store, sink)
            peer.kill()
            finish(world, "buffalo", 20)
            away = await deliver_all(store, sink, force=True)
            peer.start()
            second = await deliver_all(store, sink, force=True)
    finally:
        peer.kill()

    (state,) = await store.run(read_sinks("akosha"))
    assert not early.refused
    assert (first.confirmed, away.confirmed, second.confirmed) == (20, 0, 20)
    assert (state.pending, state.aside) == (0, 0)
