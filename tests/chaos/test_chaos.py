"""A short run under faults, and long outages in the middle of a long task."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskResult, TaskSpec
from mahavishnu_pools.store import tasks
from tests.chaos.runner import Plan, run
from tests.chaos.site import ChaosSite
from tests.chaos.workload import read_diary
from tests.waiting import eventually

#: Seconds the server is away in the middle of a task; ten times as long as a lease lasts.
OUTAGE = 30.0


def test_a_short_run_under_faults_breaks_no_rule(valkey_binary: Path, tmp_path: Path) -> None:
    report = run(Plan(tasks=150, faults=6, seed=4, patience=90.0), valkey_binary, tmp_path)

    assert report.broken == [], report.text()
    assert len(report.recoveries) == 6
    assert report.history is not None
    assert len(report.history.outcomes) >= 150
    assert any(outcome.attempt > 1 for outcome in report.history.outcomes.values())


@pytest.fixture
def site(valkey_binary: Path, tmp_path: Path) -> Iterator[ChaosSite]:
    place = ChaosSite(valkey_binary, tmp_path)
    yield place
    print(place.log_tail())
    place.end()


def _long_task(site: ChaosSite, *, seconds: float) -> str:
    pool_id = site.pool("long", workers=1)
    payload = {"callable": "tests.chaos.payloads:write", "args": [seconds]}
    spec = TaskSpec.model_validate({"task_type": "python", "payload": payload, "env": {"CHAOS": str(site.diary)}})
    made = envelope(spec, task_id=names.new_task_id(), max_bytes=1 << 20)
    site.direct.run(tasks.submit([made], Choice("pool", pool=pool_id)))
    eventually(lambda: read_diary(site.diary))
    return made.task_id


def _outcome(site: ChaosSite, task_id: str, *, within: float) -> TaskResult:
    def look() -> TaskResult:
        (found,) = site.direct.run(tasks.read_tasks([task_id]))
        assert found is not None
        return found

    return eventually(look, until=lambda found: found.done, within=within)


def _ran_once(site: ChaosSite, result: TaskResult) -> None:
    assert (result.status, result.attempts) == ("completed", 1)
    assert [line.what for line in read_diary(site.diary)] == ["start", "effect"]


@pytest.mark.slow
def test_a_task_twenty_times_as_long_as_a_lease_runs_once(site: ChaosSite) -> None:
    task_id = _long_task(site, seconds=60)

    _ran_once(site, _outcome(site, task_id, within=90))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "swallowed"])
def test_a_long_absence_of_the_server_starts_nothing_a_second_time(site: ChaosSite, how: str) -> None:
    task_id = _long_task(site, seconds=OUTAGE + 10)
    began = time.monotonic()

    if how == "killed":
        site.server.kill()
        threading.Event().wait(OUTAGE)
        site.server.start()
    else:
        site.line.block()
        threading.Event().wait(OUTAGE)
        site.line.unblock()

    assert time.monotonic() - began >= OUTAGE
    _ran_once(site, _outcome(site, task_id, within=60))
