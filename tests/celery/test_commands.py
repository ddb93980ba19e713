"""Plain ``celery`` commands in a checkout: a worker without an agent, and beat."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redbeat.schedulers import RedBeatSchedulerEntry, ensure_conf

from mahavishnu_pools.broker.celery_settings import celery_settings
from mahavishnu_pools.store import keys, leases
from tests.fixtures.groups import ROOT, Site
from tests.waiting import eventually
from workers.periodic import RECONCILE

Start = Callable[..., "Command"]


class Command:
    """A running ``celery`` command and its output."""

    def __init__(self, log: Path, *arguments: str, env: dict[str, str], cwd: Path = ROOT) -> None:
        self._log = log
        with log.open("wb") as out:
            command = [sys.executable, "-m", "celery", "-A", "workers.app", *arguments]
            self.process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **env}, stdout=out, stderr=out)

    def log(self) -> str:
        return self._log.read_text(errors="replace")


@pytest.fixture
def start(own_site: Site, tmp_path: Path) -> Iterator[Start]:
    made: list[Command] = []
    env = {"MAHAVISHNU_REDIS_URL": own_site.url, "MAHAVISHNU_DATA_DIR": str(tmp_path), "MAHAVISHNU_NODE_NAME": "here"}
    env |= {"MAHAVISHNU_ALLOWED_ROOTS": f'["{tmp_path}"]', "MAHAVISHNU_LEASE_TTL": "2"}

    def make(*arguments: str, **more: str) -> Command:
        made.append(Command(tmp_path / f"command{len(made)}.log", *arguments, env={**env, **more}))
        return made[-1]

    yield make
    for command in made:
        print(f"── {command.log()[-4000:]}")
        command.process.kill()
        command.process.wait()


def test_a_worker_without_an_agent_runs_a_pools_tasks_under_a_lease_of_its_own(own_site: Site, start: Start) -> None:
    site = own_site
    pool_id = site.pool(workers=3, worker_type="shell")
    command = start("worker", "-Q", f"pool.{pool_id}", "-n", "mine@here", "-l", "INFO")
    [lease] = eventually(lambda: site.run(leases.list_leases()), within=30)

    task_id = site.shell(pool_id, "sleep 3; echo done")

    assert site.outcome(task_id, within=30).output == "done\n"
    assert site.task(task_id).attempts == 1
    assert (lease.pool_id, lease.node, lease.pid) == (pool_id, "here", command.process.pid)
    # Its time is two seconds: somebody has refreshed it.
    assert [one.alive for one in site.run(leases.list_leases())] == [True]
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(timeout=30) == 0
    assert site.run(leases.list_leases()) == []


def test_the_beat_that_runs_is_redbeat_with_a_short_lock(own_site: Site) -> None:
    """Point 14: redbeat's own lock lasts 25 minutes, and as long nothing is sent when a beat dies."""
    found = celery_settings(own_site.settings, own_site.url)

    assert found["beat_scheduler"] == "redbeat.RedBeatScheduler"
    assert (found["beat_max_loop_interval"], found["redbeat_lock_timeout"]) == (5, 25)


def test_of_two_beats_one_sends_and_a_group_runs_what_is_due(own_site: Site, start: Start) -> None:
    """Point 14, and who runs periodic tasks: any worker group, with a claim it makes anyway."""
    site = own_site
    beats = [start("beat", "-S", "redbeat.RedBeatScheduler", "--pidfile", "", "-l", "DEBUG") for _ in range(2)]
    queue = keys.key("periodic", prefix="")
    eventually(lambda: any("Acquired lock" in beat.log() for beat in beats), within=60)
    # From then on neither writes the entries anew.
    eventually(lambda: all("beat: Ticking" in beat.log() for beat in beats), within=60)
    assert int(site.redis.ttl(keys.PREFIX + "beat::lock")) <= 25
    # Make the entry due now rather than in half a minute.
    entry = f"{keys.PREFIX}beat:{RECONCILE}"
    eventually(lambda: site.redis.exists(entry))
    app = site.client()
    ensure_conf(app)
    RedBeatSchedulerEntry.from_key(entry, app=app).reschedule(datetime(2020, 1, 1, tzinfo=UTC))
    eventually(lambda: site.redis.llen(queue), within=60)
    pool_id = site.pool()
    index = keys.key("load", prefix="")
    site.redis.zadd(index, {"000000000000001:pool_wrong": 5})

    site.group(pool_id)

    eventually(lambda: site.redis.zscore(index, "000000000000001:pool_wrong") is None)
    assert sum(beat.log().count("Scheduler: Sending due task") for beat in beats) == 1
    assert sum(site.read_pool(pool_id).counts.values()) == 0
    eventually(lambda: site.redis.llen(queue) == 0)
