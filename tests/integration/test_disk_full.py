"""A server that cannot write to its disk: it says so in our words, a check finds it, and all goes on when it can."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import pytest_asyncio
import redis

from mahavishnu_pools import errors
from mahavishnu_pools.checks import nodes
from mahavishnu_pools.checks.run import CheckReport, check
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import pools
from mahavishnu_pools.store.client import AsyncStore, SyncStore
from mahavishnu_pools.store.node_reports import ask_nodes
from tests.fixtures.groups import Site, lines
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually

#: Makes the server refuse every change for a while.
Refusing = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def server(own_valkey_server: PrivateValkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own_valkey_server.url, decode_responses=True) as client:
        yield client


@pytest_asyncio.fixture
async def store(own_valkey_server: PrivateValkey) -> AsyncIterator[AsyncStore]:
    async with AsyncStore(own_valkey_server.url) as found:
        yield found


@pytest.fixture
def unwritable(own_valkey_server: PrivateValkey, server: redis.Redis) -> Refusing:
    """Return what makes the server refuse changes: a directory is where its snapshot should be."""

    def saved(status: str) -> bool:
        server.bgsave()
        eventually(lambda: not server.info("persistence")["rdb_bgsave_in_progress"])
        return bool(server.info("persistence")["rdb_last_bgsave_status"] == status)

    @contextmanager
    def refusing() -> Iterator[None]:
        in_the_way = own_valkey_server.directory / "dump.rdb"
        in_the_way.mkdir()
        server.config_set("save", "3600 1")
        assert saved("err")
        yield
        in_the_way.rmdir()
        assert saved("ok")

    return refusing


async def test_a_refused_change_says_what_is_wrong_and_where(
    store: AsyncStore, own_valkey_server: PrivateValkey, unwritable: Refusing
) -> None:
    directory = str(own_valkey_server.directory)
    with unwritable(), SyncStore(own_valkey_server.url) as threads:
        with pytest.raises(errors.RedisDiskFull) as refused:
            await store.run(ask_nodes())
        with pytest.raises(errors.RedisDiskFull, match=f"Make room in {directory}"):
            threads.run(ask_nodes())
        with pytest.raises(errors.RedisDiskFull, match=f"Make room in {directory}"):
            threads.run_many([ask_nodes(), ask_nodes()])

    assert refused.value.directory == directory
    assert "MISCONF" not in refused.value.message
    assert own_valkey_server.password not in refused.value.message
    assert await store.run(ask_nodes())


async def test_a_check_finds_it_looks_at_the_rest_and_asks_nobody(
    store: AsyncStore, server: redis.Redis, unwritable: Refusing, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "PATIENCE", 0.0)  # nobody answers
    node = pools.NodeInfo(name="n", pid=1, started=1.0)
    await store.run(pools.node_beat(node, {}, ttl=60))
    server.zadd("mhv:load", {"pool_0123456789ab": 0})  # nobody knows this pool

    async def look(*, repair: bool = False) -> CheckReport:
        return await check(store, settings, repair=repair)

    with unwritable():
        found, repaired = await look(), await look(repair=True)
        of_state = await check(store, settings, part="state")

    assert found.status == "degraded"
    assert "server_disk" in of_state.found
    assert found.found["server_disk"] == 1
    assert "node_mute" not in found.found
    assert found.found["registry_load"] == 1
    assert {one.kind: one.repaired for one in repaired.findings}["server_disk"] is None
    assert not repaired.repaired
    assert "server_disk" not in (await look()).found


def test_what_runs_ends_and_what_waits_goes_on_when_the_disk_has_room_again(
    own_site: Site, unwritable: Refusing
) -> None:
    site = own_site
    pool_id = site.pool(workers=1)
    group = site.group(pool_id)
    ran, go = site.directory / "ran", site.directory / "go"
    running = site.shell(pool_id, f"echo ran >> {ran}; while [ ! -e {go} ]; do sleep 0.05; done")
    site.running(running)
    waiting = site.shell(pool_id, f"echo ran >> {ran}")

    with unwritable():
        go.touch()
        eventually(lambda: "cannot write to its disk" in group.log())
        with pytest.raises(errors.RedisDiskFull):
            site.shell(pool_id, "true")
        assert site.task(running).status == "running"

    assert [site.outcome(one).status for one in (running, waiting)] == ["completed"] * 2
    assert [site.task(one).attempts for one in (running, waiting)] == [1, 1]
    assert len(lines(ran)) == 2
    assert group.process.poll() is None
