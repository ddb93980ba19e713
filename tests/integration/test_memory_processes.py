"""Syncs as processes against the embedded servers: killed in the middle, two at once, after a long outage."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools.memory.aggregator import sync, sync_once
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.outbox import HOLD_SECONDS, SINKS, SinkState, read_sinks
from tests.fixtures.gates import Gate
from tests.fixtures.groups import Site
from tests.integration.test_akosha import Akosha
from tests.integration.test_session_buddy_server import server
from tests.store.world import World
from tests.waiting import eventually

MAIN = (sys.executable, "-P", "-m", "mahavishnu_pools.cli.main")

BEAT = (sys.executable, "-m", "celery", "-A", "workers.app", "beat", "-S", "redbeat.RedBeatScheduler", "--pidfile", "")


class Servers:
    """Both embedded servers, each behind a gate, and what is in their files."""

    def __init__(self, directory: Path, buddy: str, akosha: str) -> None:
        self._files = (directory / "session-buddy" / "memory.db", directory / "akosha" / "memory.sqlite3")
        self.gates = [
            Gate(int(url.split(":")[2].split("/")[0]), mark=b"batch_store_memories") for url in (buddy, akosha)
        ]

    @property
    def variables(self) -> dict[str, str]:
        """Return what a process must have in its environment to deliver to them."""
        names = ("MAHAVISHNU_SESSION_BUDDY_POOL_URL", "MAHAVISHNU_AKOSHA_URL")
        return dict(zip(names, (gate.url for gate in self.gates), strict=True))

    def stored(self, ids: Sequence[str]) -> list[int]:
        """Return how many records each of them has with one of these ids; one that is there twice counts twice."""
        return [_stored(file, ids) for file in self._files]


def _stored(file: Path, ids: Sequence[str]) -> int:
    with closing(sqlite3.connect(file)) as connection:
        sql = "SELECT count(*) FROM record WHERE memory_id IN (SELECT value FROM json_each(?))"
        return int(connection.execute(sql, (json.dumps(ids),)).fetchone()[0])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    directory = tmp_path_factory.mktemp("servers")
    akosha = Akosha(directory)
    with server(directory) as (_, buddy):
        found = Servers(directory, buddy, akosha.url)
        yield found
        for gate in found.gates:
            gate.close()
    akosha.stop()


@pytest.fixture
def servers(running: Servers) -> Iterator[Servers]:
    yield running
    for gate in running.gates:
        gate.release()


def states(world: World) -> dict[str, SinkState]:
    return dict(zip(SINKS, world.run(read_sinks(*SINKS)), strict=True))


def assert_all_there_once(world: World, servers: Servers, ids: Sequence[str]) -> None:
    assert servers.stored(ids) == [len(ids), len(ids)]
    found = states(world).values()
    assert [(one.delivered, one.pending, one.dropped, one.error) for one in found] == [(len(ids), 0, 0, None)] * 2


@pytest.fixture
def syncing(settings: Settings, servers: Servers, tmp_path: Path) -> Iterator[Any]:
    """Return a function that starts ``mahavishnu pools sync`` as a process; what is left of them ends with the test."""
    assert settings.redis_url is not None
    mine = {
        "MAHAVISHNU_REDIS_URL": settings.redis_url.get_secret_value(),
        "MAHAVISHNU_NAMESPACE": settings.namespace,
        "MAHAVISHNU_DATA_DIR": str(tmp_path),
    }
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [*MAIN, "pools", "sync", "--format", "json"]
        env = {**os.environ, **servers.variables, **mine}
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()


def report(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return dict(json.loads(out))


def test_a_sync_killed_in_mid_batch_leaves_nothing_out_and_nothing_twice(
    world: World, servers: Servers, syncing: Any
) -> None:
    ids = world.finished(world.pool(), 300)
    for gate in servers.gates:
        gate.hold_after(2)
    process = syncing()
    for gate in servers.gates:
        assert gate.holding.wait(60)
    eventually(
        lambda: servers.stored(ids), until=lambda found: found == [150, 150], within=30
    )  # two batches, and one unanswered
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert [one.delivered for one in states(world).values()] == [100, 100]
    for gate in servers.gates:
        gate.release()

    again = report(syncing())

    assert (again["memory_items_synced"], again["errors"]) == (400, {})
    assert_all_there_once(world, servers, ids)
    assert HOLD_SECONDS <= 10


def test_two_processes_that_sync_at_once_deliver_everything_once(
    world: World, settings: Settings, servers: Servers, syncing: Any
) -> None:
    ids = world.finished(world.pool(), 300)
    for gate in servers.gates:
        gate.hold_after(1)
    first = syncing()
    for gate in servers.gates:
        assert gate.holding.wait(60)
    assert settings.redis_url is not None
    there = Settings(**{**settings.model_dump(), "session_buddy_pool_url": servers.gates[0].url})
    beside = sync_once(there, redis_url=settings.redis_url.get_secret_value())  # as beat does: it does not wait
    second = syncing()
    for gate in servers.gates:
        gate.release()

    both = [report(one) for one in (first, second)]

    assert (beside["memory_items_synced"], beside["errors"]) == (0, {})
    assert sum(one["memory_items_synced"] for one in both) == 600
    assert [one["errors"] for one in both] == [{}, {}]
    assert_all_there_once(world, servers, ids)


async def test_a_thousand_outcomes_wait_while_both_servers_are_down_and_are_delivered_once_when_they_are_up(
    world: World, settings: Settings, servers: Servers
) -> None:
    ids = world.finished(world.pool(), 1000)
    assert settings.redis_url is not None
    nowhere = {"session_buddy_pool_url": "http://127.0.0.1:9/mcp", "akosha_url": "http://127.0.0.1:9/mcp"}
    there = dict(zip(nowhere, (gate.url for gate in servers.gates), strict=True))
    async with AsyncStore.from_settings(settings, settings.redis_url.get_secret_value()) as store:
        down = await sync(store, settings.model_copy(update=nowhere), force=True)
        up = await sync(store, settings.model_copy(update=there), force=True)
        again = await sync(store, settings.model_copy(update=there), force=True)

    assert (down["memory_items_synced"], down["memory_items_pending"], sorted(down["errors"])) == (
        0,
        1000,
        sorted(SINKS),
    )
    assert (up["memory_items_synced"], up["memory_items_pending"], up["errors"]) == (2000, 0, {})
    assert again["memory_items_synced"] == 0
    assert_all_there_once(world, servers, ids)


@pytest.mark.slow
def test_two_beats_at_once_have_everything_delivered_once(site: Site, servers: Servers, tmp_path: Path) -> None:
    variables = {**servers.variables, "MAHAVISHNU_MEMORY_SYNC_INTERVAL": "1"}
    pool_id = site.pool(workers=4)
    site.group(pool_id, env=variables)
    env = {**os.environ, **variables, "MAHAVISHNU_REDIS_URL": site.url, "MAHAVISHNU_DATA_DIR": str(tmp_path)}
    log = (tmp_path / "beat.log").open("wb")
    beats = [subprocess.Popen(BEAT, env=env, stdout=log, stderr=log) for _ in range(2)]
    world = World(site.url, "")
    try:
        ids = world.finished(world.pool(), 500)
        eventually(lambda: assert_all_there_once(world, servers, ids) is None, within=120)
        more = world.finished(world.pool(), 100)
        eventually(lambda: assert_all_there_once(world, servers, [*ids, *more]) is None, within=120)
    finally:
        for beat in beats:
            beat.kill()
            beat.wait(30)
        log.close()
        world.store.close()
