"""A server that is full, or a replica that became the primary: what runs goes on, what is asked is answered in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from mahavishnu_pools import errors, names
from mahavishnu_pools.schemas.node_report import NodeLimits, NodeReport
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.store import keys, leases, node_reports, pools, tasks
from tests.fixtures.groups import Site, lines
from tests.fixtures.proxies import Proxy
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually


@contextmanager
def _full(server: redis.Redis) -> Iterator[None]:
    """Have less memory than is used already."""
    server.config_set("maxmemory", 1)
    try:
        yield
    finally:
        server.config_set("maxmemory", 0)


def test_on_a_full_server_what_runs_ends_what_is_asked_is_refused_and_what_waits_goes_on_after_it(
    own_site: Site,
) -> None:
    site = own_site
    pool_id = site.pool(workers=2)
    group = site.group(pool_id)
    ran, go = site.directory / "ran", site.directory / "go"
    running = [
        site.shell(pool_id, f"echo ran >> {ran}; while [ ! -e {go} ]; do sleep 0.05; done; echo {n}") for n in range(2)
    ]
    eventually(lambda: len(lines(ran)) == 2)
    waiting = [site.shell(pool_id, f"echo ran >> {ran}") for _ in range(5)]

    with _full(site.redis):
        began = time.monotonic()
        with pytest.raises(errors.RedisFull, match="Raise its maxmemory"):
            site.shell(pool_id, "true")
        assert time.monotonic() - began < site.settings.submit_timeout + 20
        go.touch()
        assert [site.outcome(one).output for one in running] == ["0\n", "1\n"]
        eventually(lambda: "Nothing is claimed" in group.log())
        assert {site.task(one).status for one in waiting} == {"queued"}

    assert [site.outcome(one).status for one in waiting] == ["completed"] * 5
    assert len(lines(ran)) == 7
    assert {site.task(one).attempts for one in [*running, *waiting]} == {1}
    assert site.read_pool(pool_id).running == 0


def test_a_full_server_is_told_what_makes_room_and_keeps_leases_and_nodes_alive(own_site: Site) -> None:
    site = own_site
    pool_id, other = site.pool(workers=1), site.pool(workers=1)
    site.group(pool_id)
    held = site.shell(pool_id, "sleep 60")
    site.running(held)
    behind = site.shell(pool_id, "true")
    node = pools.NodeInfo(name="n2", pid=1, started=1.0)
    site.run(pools.node_beat(node, {}, ttl=60))
    about = {"pool_id": pool_id, "node": "n2", "pid": 1, "started": 1.0, "ttl": 60.0}
    assert site.run(leases.open_lease("beside", **about))

    with _full(site.redis):
        assert site.run(leases.refresh_leases(["beside"], ttl=60)) == [True]
        assert site.run(pools.node_beat(node, {}, ttl=60)) == ""
        assert site.run(node_reports.ask_nodes())
        report = NodeReport(request="how are you", node="n2", clock_skew=0.0, path="", limits=NodeLimits())
        assert site.run(node_reports.answer(report))
        site.run(pools.change_pool(other, status="paused"))
        assert site.run(tasks.cancel(behind, reason="it is full", result_ttl=60)) == "cancelled"
        assert site.run(tasks.cancel(held, reason="it is full", result_ttl=60)) == "asked"
        assert site.outcome(held).status == "cancelled"
        assert site.run(leases.reap("beside", cause="node", result_ttl=60)).left == 0

    assert site.read_pool(other).status == "paused"
    assert site.task(behind).status == "cancelled"


def test_after_a_fail_over_to_the_replica_groups_and_clients_find_the_new_primary(
    own_site: Site, own_valkey_server: PrivateValkey, make_proxy: type[Proxy]
) -> None:
    """The address stays (a name, a virtual address, a proxy); the server behind it is a replica for a while."""
    site, server = own_site, own_valkey_server
    proxy = make_proxy(server.port)
    url = site.url.replace(str(server.port), str(proxy.port))
    pool_id = site.pool(workers=2)
    group = site.group(pool_id, url=url)
    go = site.directory / "go"
    running = site.shell(pool_id, f"while [ ! -e {go} ]; do sleep 0.05; done")
    site.running(running)

    # The server is a replica now: reads are answered, writes are refused.
    site.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    go.touch()
    eventually(lambda: "Claims wait for Redis" in group.log())
    with pytest.raises(errors.RedisUnavailable, match="Name the primary"):
        site.shell(pool_id, "true")
    site.redis.execute_command("REPLICAOF", "NO", "ONE")

    assert site.outcome(running).ok
    assert site.task(running).attempts == 1
    assert site.outcome(site.shell(pool_id, "true")).ok
    assert group.process.poll() is None


@pytest.mark.parametrize("days", [-3, 3])
def test_a_group_whose_clock_is_wrong_runs_everything_in_time_and_asks_no_more_than_others(
    own_site: Site, days: int
) -> None:
    site = own_site
    pool_id = site.pool(workers=2)
    site.group(pool_id, env={"CLOCK_SHIFT": str(days * 86400)})
    assert site.outcome(site.shell(pool_id, "true")).ok
    app = site.client()
    spec = {"task_type": "shell", "payload": {"command": "true"}}
    began = time.monotonic()
    later = app.send_task(names.RUN_TASK, args=[spec], queue=names.queue_of(pool_id), countdown=3).id
    eventually(lambda: site.redis.zcard(keys.key("delayed", prefix="", of=pool_id)))
    site.redis.config_resetstat()
    looks = []

    def look() -> TaskResult:
        looks.append(site.task(later))
        return looks[-1]

    task = eventually(look, until=lambda found: found.ok, within=30)
    assert time.monotonic() - began > 2
    assert site.redis.info("commandstats")["cmdstat_evalsha"]["calls"] - len(looks) < 100
    assert task.created_at is not None
    assert task.finished_at is not None
    assert 0 < (task.finished_at - task.created_at).total_seconds() < 60
