"""Pause and drain with real worker groups: stored states that also bind a group that starts later."""

from __future__ import annotations

from pathlib import Path

from celery import signature

from mahavishnu_pools import names
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store import draining, pools
from tests.fixtures.agents import is_gone
from tests.fixtures.groups import Site, lines
from tests.waiting import eventually


def resume(site: Site, pool_id: str) -> None:
    site.run(pools.change_pool(pool_id, status=PoolStatus.RUNNING, drain_until="", works_off=""))


def test_a_paused_pool_starts_nothing_on_a_group_that_starts_later_until_it_is_resumed(site: Site) -> None:
    pool_id = site.pool(workers=2)
    site.run(pools.change_pool(pool_id, only_if=(PoolStatus.RUNNING,), status=PoolStatus.PAUSED))
    waiting = [site.shell(pool_id, "echo hi") for _ in range(3)]

    first = site.group(pool_id)
    first.end()
    site.group(pool_id)
    # Both groups have asked for work and got an answer, or they would not be ready.
    assert {site.task(one).status for one in waiting} == {"queued"}

    resume(site, pool_id)
    assert {site.outcome(one).output for one in waiting} == {"hi\n"}


def test_after_its_deadline_a_drain_ends_what_runs_and_hands_it_back(site: Site, tmp_path: Path) -> None:
    pool_id = site.pool(workers=2)
    site.group(pool_id)
    marks = tmp_path / "marks"
    long = site.shell(pool_id, f"echo began >> {marks}; sleep 60 & echo $! >> {marks}; wait")
    eventually(lambda: lines(marks), until=lambda found: len(found) == 2)

    site.run(draining.drain_pool(pool_id, reason="drained", seconds=0.3))
    short = eventually(lambda: site.task(long), until=lambda task: task.status == "queued")

    assert short.attempts == 0
    eventually(lambda: is_gone(int(lines(marks)[1])))
    # A group that starts now keeps to it, too.
    site.group(pool_id)
    assert site.task(long).status == "queued"
    resume(site, pool_id)
    assert site.running(long).attempts == 1


def test_what_follows_a_task_that_was_handed_back_comes_after_its_next_run(site: Site, tmp_path: Path) -> None:
    pool_id = site.pool(workers=1)
    site.group(pool_id)
    app, queue, marks = site.client(), names.queue_of(pool_id), tmp_path / "marks"
    script = f"echo run >> {marks}; test -e {tmp_path}/go || sleep 60"
    spec = {"task_type": "shell", "payload": {"command": ["sh", "-c", script]}}
    then = {"task_type": "shell", "payload": {"command": ["sh", "-c", f"echo after >> {marks}"]}}
    link = signature(names.RUN_TASK, args=(then,), app=app, immutable=True).set(queue=queue)
    sent = app.send_task(names.RUN_TASK, args=[spec], queue=queue, link=link)
    eventually(lambda: lines(marks), until=lambda found: found == ["run"])

    site.run(draining.drain_pool(pool_id, reason="drained", seconds=0.2))
    eventually(lambda: site.task(sent.id).status, until=lambda status: status == "queued")
    (tmp_path / "go").touch()
    resume(site, pool_id)

    eventually(lambda: lines(marks), until=lambda found: found == ["run", "run", "after"])
    assert site.outcome(sent.id).attempts == 1


def test_a_pool_that_works_off_what_waits_runs_it_and_takes_nothing_new(site: Site) -> None:
    pool_id = site.pool(workers=1)
    waiting = [site.shell(pool_id, "echo hi") for _ in range(3)]
    site.run(draining.drain_pool(pool_id, reason="closing", work_off=True))

    site.group(pool_id)

    assert {site.outcome(one).output for one in waiting} == {"hi\n"}
    assert site.read_pool(pool_id).status == "draining"
