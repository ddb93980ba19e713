"""What a worker group costs its server and machine when it idles, and with many workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.fixtures.groups import GroupProcess, Site, lines
from tests.waiting import eventually
from workers.results import CONNECTIONS as RESULTS

#: Connections of one group: claims and control (3), bell, logs; five of Celery's own (consumer, control, events).
CONNECTIONS = 10

#: Commands a second of an idle group: the wait (0.7), heartbeat (0.2), health checks (0.4), with some margin.
COMMANDS = 1.8

#: Seconds over which idle commands are counted.
WINDOW = 5.0

#: What scripts of ours write with; kombu itself renews a deadline of its remote control now and then (``zadd``).
WRITES = {"hset", "hdel", "xadd", "lpush", "rpush", "set", "del", "incr", "hincrby", "setnx", "expire"}


@pytest.fixture(scope="module")
def group(site: Site) -> Iterator[GroupProcess]:
    pool_id = site.pool("costs", workers=100, celery_app="tests.fakes.shop:app")
    group = site.group(pool_id, env={"SHOP_URL": site.url, "SHOP_DIR": str(site.directory)})
    app = site.client()
    eventually(lambda: app.control.inspect([group.node], timeout=0.5, limit=1).ping())
    assert site.outcome(site.shell(pool_id, "true")).ok
    return group


def _is_over(moment: float) -> bool:
    return time.monotonic() > moment


def test_an_idle_group_asks_little_and_writes_nothing(site: Site, group: GroupProcess) -> None:
    """Points 3 and 16: the stock wait alone is one command a second."""
    eventually(lambda: site.read_pool(group.pool_id).running == 0)
    site.redis.config_resetstat()
    began = time.monotonic()
    eventually(lambda: _is_over(began + WINDOW), within=WINDOW + 30)

    # ``info`` counts what scripts call as well; what came over connections is all but that.
    calls = {name[8:]: figures["calls"] for name, figures in site.redis.info("commandstats").items()}
    seconds = time.monotonic() - began

    asked = sum(calls.get(name, 0) for name in ("evalsha", "eval", "xread", "ping", "publish", "brpop", "llen", "get"))
    assert calls.get("brpop", 0) == 0
    assert asked / seconds <= COMMANDS
    assert WRITES.isdisjoint(calls), calls


def test_a_hundred_busy_workers_share_few_connections_and_idle_ones_cost_no_threads(
    site: Site, group: GroupProcess
) -> None:
    """Point 15: stock Celery opens a connection a thread for results; points 7 and 16: threads, no processes."""
    app = site.client()
    idle = psutil.Process(group.pid).num_threads()
    sent = [
        app.send_task("tests.fakes.shop.hold", args=("crowd", "crowd-go"), queue=f"pool.{group.pool_id}")
        for _ in range(100)
    ]
    eventually(lambda: len(lines(site.directory / "crowd")) == 100, within=30)
    (site.directory / "crowd-go").touch()

    assert [result.get(timeout=30) for result in sent] == ["held"] * 100
    connections = len(group.addresses(site.server.port))
    assert connections <= CONNECTIONS + RESULTS
    assert idle < 20
    eventually(lambda: site.read_pool(group.pool_id).running == 0)


def test_a_fresh_group_has_few_connections(site: Site) -> None:
    """Point 15."""
    group = site.group(site.pool(workers=10))
    tasks = [site.shell(group.pool_id, "echo x") for _ in range(20)]
    assert all(site.outcome(one).ok for one in tasks)

    assert len(group.addresses(site.server.port)) <= CONNECTIONS
    assert threading.active_count() < 50
    group.end()
