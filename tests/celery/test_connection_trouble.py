"""Lost connections and replies, a server that restarts, a lease taken back: nothing is lost, nothing runs twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mahavishnu_pools.store import keys, leases
from mahavishnu_pools.store.calls import script
from tests.fixtures.groups import GroupProcess, Site, lines
from tests.fixtures.proxies import Proxy
from tests.waiting import eventually

#: Seconds after which a group must be at work again when its server is back.
BACK_SECONDS = 30.0

#: What a busy machine may add, in seconds, to a time in which something must be told.
MARGIN = 20.0


@pytest.fixture(scope="module")
def env(site: Site) -> Iterator[dict[str, str]]:
    return {"SHOP_URL": site.url, "SHOP_DIR": str(site.directory)}


def _writing(path: Path, rest: str = "") -> str:
    return f"echo ran >> {path}; {rest}"


def _until(path: Path) -> str:
    return f"while [ ! -e {path} ]; do sleep 0.05; done"


def _cut(site: Site, group: GroupProcess) -> None:
    """Cut every connection of a group to the server, when Celery's consumer has its own, too."""
    eventually(lambda: " ready." in group.log())
    for address in group.addresses(site.server.port):
        site.redis.execute_command("CLIENT", "KILL", "ADDR", address)


def test_a_task_that_runs_while_every_connection_is_cut_runs_once_and_its_outcome_arrives(site: Site) -> None:
    """Points 2 and 11: Celery's on_close forgets reserved requests and closes channels; claims do not notice."""
    pool_id = site.pool(workers=2)
    group = site.group(pool_id)
    ran, go = site.directory / "cut", site.directory / "cut-go"
    first = [site.shell(pool_id, _writing(ran, _until(go))) for _ in range(2)]
    waiting = site.shell(pool_id, _writing(ran))
    eventually(lambda: len(lines(ran)) == 2)

    _cut(site, group)
    eventually(lambda: "Trying to re-establish" in group.log() or "Connection to broker lost" in group.log())
    go.touch()

    assert [site.outcome(one).status for one in [*first, waiting]] == ["completed"] * 3
    assert len(lines(ran)) == 3
    assert [site.task(one).attempts for one in [*first, waiting]] == [1, 1, 1]
    assert site.outcome(site.shell(pool_id, "true"), within=BACK_SECONDS).ok
    group.end()


def test_users_tasks_waiting_for_their_rate_survive_a_cut(site: Site, env: dict[str, str]) -> None:
    """Point 2: the buckets of rate limits are cleared with a connection; what was in them is handed over again."""
    pool_id = site.pool("rates", workers=8, celery_app="tests.fakes.shop:app")
    group = site.group(pool_id, env=env)
    app = site.client()
    sent = [app.send_task("tests.fakes.shop.limited", args=("rates", n), queue=f"pool.{pool_id}").id for n in range(5)]
    eventually(lambda: lines(site.directory / "rates"))

    _cut(site, group)

    assert [site.outcome(one, within=30).status for one in sent] == ["completed"] * 5
    assert sorted(lines(site.directory / "rates")) == ["0", "1", "2", "3", "4"]
    group.end()


def test_remote_control_works_again_soon_after_a_cut(site: Site) -> None:
    """Point 10: Celery's own back-off goes up to 30 s."""
    pool_id = site.pool()
    group = site.group(pool_id)
    eventually(site.client().control.inspect([group.node], timeout=0.3, limit=1).ping)

    _cut(site, group)

    eventually(site.client().control.inspect([group.node], timeout=0.3, limit=1).ping, within=30)
    group.end()


def test_a_restart_of_the_server_loses_and_doubles_nothing(own_site: Site) -> None:
    """Points 2 and 18: outcomes are kept and sent until they are confirmed."""
    site = own_site
    pool_id = site.pool(workers=2)
    group = site.group(pool_id)
    ran, go = site.directory / "ran", site.directory / "go"
    tasks = [site.shell(pool_id, _writing(ran, _until(go))) for _ in range(2)]
    tasks += [site.shell(pool_id, _writing(ran)) for _ in range(3)]
    eventually(lambda: len(lines(ran)) == 2)

    site.server.stop()
    go.touch()
    eventually(lambda: psutil.Process(group.pid).children() == [])
    eventually(lambda: "Claims wait for Redis" in group.log())
    site.server.start()

    assert [site.outcome(one, within=BACK_SECONDS).status for one in tasks] == ["completed"] * 5
    assert len(lines(ran)) == 5
    assert [site.task(one).attempts for one in tasks] == [1] * 5
    assert group.process.poll() is None
    assert site.outcome(site.shell(pool_id, "true"), within=BACK_SECONDS).ok


def test_each_message_is_delivered_once_when_the_replies_of_claims_are_lost(
    own_site: Site, make_proxy: type[Proxy]
) -> None:
    """Point 1: a repeated script that is not idempotent would hold the messages of the lost reply for ever."""
    site = own_site
    proxy = make_proxy(site.server.port)
    url = site.url.replace(str(site.server.port), str(proxy.port))
    pool_id = site.pool(workers=4)
    site.group(pool_id, url=url)
    ran = site.directory / "ran"
    proxy.lose(script("claim").sha.encode(), times=3)

    tasks = [site.shell(pool_id, _writing(ran)) for _ in range(8)]

    assert [site.outcome(one).status for one in tasks] == ["completed"] * 8
    assert proxy.lost == 3
    assert len(lines(ran)) == 8
    assert [site.task(one).attempts for one in tasks] == [1] * 8
    eventually(lambda: site.read_pool(pool_id).running == 0)


def test_an_outcome_whose_confirmation_is_lost_is_written_once(own_site: Site, make_proxy: type[Proxy]) -> None:
    """Point 1, for finish: the repetition is answered with "again" and counts nothing twice."""
    site = own_site
    proxy = make_proxy(site.server.port)
    url = site.url.replace(str(site.server.port), str(proxy.port))
    pool_id = site.pool(workers=2)
    group = site.group(pool_id, url=url)
    proxy.lose(script("finish").sha.encode(), times=2)

    tasks = [site.shell(pool_id, "true") for _ in range(2)]

    assert [site.outcome(one).status for one in tasks] == ["completed"] * 2
    eventually(lambda: site.read_pool(pool_id).running == 0)
    assert proxy.lost >= 1
    assert site.read_pool(pool_id).counts["completed"] == 2
    assert "came too late" not in group.log()


def test_a_group_whose_lease_was_reaped_ends_its_runs_and_leaves_with_75(site: Site) -> None:
    """Point 17: late commands do nothing; the runs are ended before the group leaves."""
    pool_id = site.pool(workers=2)
    group = site.group(pool_id)
    pids, ran = site.directory / "reaped-pids", site.directory / "reaped"
    task_id = site.shell(pool_id, f"trap '' TERM; echo $$ >> {pids}; {_writing(ran)} sleep 60 & wait; sleep 60")
    eventually(lambda: lines(ran))

    while site.run(leases.reap(group.lease, cause="node", result_ttl=60)).left:
        continue

    assert group.process.wait(timeout=30) == 75
    assert not psutil.pid_exists(int(lines(pids)[0]))
    again = site.task(task_id)
    assert (again.status, again.attempts) == ("queued", 1)


def test_a_lease_that_only_ran_out_of_time_is_no_reason_to_end_anything(site: Site) -> None:
    """A server that was frozen or away for longer than a lease lasts expires nobody; only a reaper does."""
    pool_id = site.pool(workers=2)
    group = site.group(pool_id)
    ran, go = site.directory / "late", site.directory / "late-go"
    task_id = site.shell(pool_id, _writing(ran, _until(go)))
    eventually(lambda: lines(ran))

    site.redis.delete(keys.key("lease", prefix="", of=group.lease))
    other = site.shell(pool_id, "true")
    eventually(lambda: "time has run out" in group.log())
    assert site.task(other).attempts == 0
    site.run(leases.refresh_leases([group.lease], ttl=60))
    go.touch()

    assert site.outcome(task_id).ok
    assert site.outcome(other).ok
    assert (site.task(task_id).attempts, group.process.poll()) == (1, None)
    group.end()


def test_a_producer_is_answered_in_time_while_the_server_is_frozen(own_site: Site) -> None:
    """Point 13: stock ``delay()`` waits for ever on a frozen socket."""
    site = own_site
    pool_id = site.pool()
    task_id = site.shell(pool_id, "true")
    assert task_id
    os.kill(site.server.pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(Exception, match="does not answer"):
            site.shell(pool_id, "true")
    finally:
        os.kill(site.server.pid, signal.SIGCONT)
    assert time.monotonic() - began < site.settings.submit_timeout + MARGIN
