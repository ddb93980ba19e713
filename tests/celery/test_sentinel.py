"""Servers watched by a real Sentinel: when the primary dies, groups and clients go on with the replica."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from mahavishnu_pools import names
from mahavishnu_pools.routing.celery_app import make_app
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import AsyncStore, SyncStore
from mahavishnu_pools.store.pools import list_nodes, read_pools
from mahavishnu_pools.store.sentinel import parse_sentinels
from tests.fixtures.groups import Site, site_on
from tests.fixtures.valkey import PrivateValkey, free_port
from tests.waiting import eventually

SENTINEL = """\
port {port}
bind 127.0.0.1
dir {directory}
sentinel monitor tasks 127.0.0.1 {primary} 1
sentinel auth-pass tasks {password}
sentinel down-after-milliseconds tasks 500
sentinel failover-timeout tasks 3000
"""


class Watched(NamedTuple):
    """A primary, its replica, and the URL of the Sentinel that watches them."""

    primary: PrivateValkey
    replica: PrivateValkey
    url: str


@pytest.fixture
def watched(valkey_binary: Path, start_valkey: Callable[[], PrivateValkey], tmp_path: Path) -> Iterator[Watched]:
    primary, replica = start_valkey(), start_valkey()
    for server in (primary, replica):
        with redis.Redis.from_url(server.url) as client:
            client.config_set("masterauth", primary.password)
            client.config_set("requirepass", primary.password)
        server.password = primary.password
    with redis.Redis.from_url(replica.url) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", str(primary.port))
        eventually(lambda: client.info("replication")["master_link_status"] == "up", within=30)
    port = free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(SENTINEL.format(port=port, directory=tmp_path, primary=primary.port, password=primary.password))
    process = subprocess.Popen([valkey_binary, config, "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, decode_responses=True) as sentinel:
            eventually(lambda: _knows_replica(sentinel), within=30)
        yield Watched(primary, replica, f"sentinel://:{primary.password}@127.0.0.1:{port}/tasks")
    finally:
        process.kill()
        process.wait(timeout=30)


def _knows_replica(sentinel: redis.Redis) -> bool:
    try:
        replicas = sentinel.sentinel_slaves("tasks")
    except redis.RedisError:
        return False
    return [(one["flags"], one["master-link-status"]) for one in replicas] == [("slave", "ok")]


@pytest.fixture
def site(watched: Watched, tmp_path: Path) -> Iterator[Site]:
    with site_on(watched.primary, tmp_path) as place:
        yield place


def test_a_task_outlives_its_primary_and_its_outcome_reaches_the_new_one(watched: Watched, site: Site) -> None:
    pool_id = site.pool(workers=2)
    group = site.group(pool_id, url=watched.url)
    app = make_app(site.settings, watched.url)
    site.apps.append(app)
    go = site.directory / "go"
    task_id = site.shell(pool_id, f"while [ ! -e {go} ]; do sleep 0.05; done; echo went")
    site.running(task_id)
    site.redis.wait(1, 5000)

    watched.primary.kill()
    with SyncStore(watched.url, timeout=15) as store:
        assert store.run(read_pools(pool_id)).one(pool_id).running == 1
    site.store, site.redis = store, store.redis
    go.touch()

    assert site.outcome(task_id, within=30).output == "went\n"
    assert site.task(task_id).attempts == 1
    after = app.send_task(
        names.RUN_TASK, args=[{"task_type": "shell", "payload": {"command": "echo on"}}], queue=names.queue_of(pool_id)
    )
    assert site.outcome(after.id, within=30).output == "on\n"
    assert group.process.poll() is None
    eventually(app.control.inspect([group.node], timeout=0.5, limit=1).ping, within=30)


def test_coroutines_find_the_primary(watched: Watched) -> None:
    async def ask() -> None:
        async with AsyncStore(watched.url) as store:
            await store.check()
            assert await store.run(list_nodes()) == []

    asyncio.run(ask())


def test_a_url_names_sentinels_service_and_logins() -> None:
    found = parse_sentinels("sentinel://u:p%40ss@one:1,two/tasks/3?sentinel_password=s")

    assert found.hosts == (("one", 1), ("two", 26379))
    assert (found.service, found.options) == ("tasks", {"db": 3, "username": "u", "password": "p@ss"})
    assert found.login == {"password": "s"}
    assert "p@ss" not in repr(found)


@pytest.mark.parametrize("url", ["sentinel://one:1", "sentinel://one:1/", "sentinel:///tasks"])
def test_a_url_that_does_not_name_servers_and_service_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sentinel://user:password@host:port,host:port/service"):
        Settings(redis_url=url)  # type: ignore[arg-type]
