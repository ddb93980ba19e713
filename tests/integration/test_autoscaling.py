"""The autoscaler on real worker groups: it adds workers when tasks wait, takes idle ones, respects a chosen number."""

from __future__ import annotations

import time

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store import events, pools, tasks
from tests.fixtures.agents import Farm
from tests.waiting import eventually

REAL_GROUP = "workers.group_worker:run_group"


def submit(farm: Farm, pool_id: str, count: int, *, seconds: float) -> list[str]:
    spec = TaskSpec(task_type="shell", payload={"command": ["sleep", str(seconds)]})
    ids = [names.new_task_id() for _ in range(count)]
    sent = [envelope(spec, task_id=one, max_bytes=100_000) for one in ids]
    farm.run(tasks.submit(sent, Choice("pool", pool=pool_id)))
    return ids


def test_a_pool_grows_for_what_waits_takes_idle_workers_away_and_says_why(farm: Farm) -> None:
    farm.agent(group=REAL_GROUP, AUTOSCALE_QUIET="2").wait_ready()
    pool_id = farm.create(min_workers=1, max_workers=6, worker_type="shell")
    farm.wait_running(pool_id)

    ids = submit(farm, pool_id, 12, seconds=0.7)

    eventually(lambda: farm.pool(pool_id).ready_workers >= 3, within=30)
    eventually(lambda: all(farm.task(one).ok for one in ids), within=60)
    # Idle workers may be taken away already, which has another reason.
    scaled = [one.details for one in farm.run(events.read_older("pools")) if one.type == "pool_scaled"]
    assert any(one["after"] > one["before"] and "keep the wait under 2 s" in one["reason"] for one in scaled)
    assert farm.pool(pool_id).scaled_because is not None
    eventually(lambda: farm.pool(pool_id).ready_workers == 1, within=30)
    assert {farm.task(one).attempts for one in ids} == {1}  # nobody was taken away from a task


def test_a_number_chosen_by_hand_stays_although_tasks_wait(farm: Farm) -> None:
    farm.agent(group=REAL_GROUP).wait_ready()
    chosen = farm.create("chosen", min_workers=1, max_workers=6, worker_type="shell")
    fixed = farm.create("fixed", min_workers=1, max_workers=6, worker_type="shell", auto_scale=False)
    grows = farm.create("grows", min_workers=1, max_workers=6, worker_type="shell")
    for pool_id in (chosen, fixed, grows):
        farm.wait_running(pool_id)
    farm.run(pools.change_pool(chosen, workers=2))

    for pool_id in (chosen, fixed, grows):
        submit(farm, pool_id, 12, seconds=0.5)

    eventually(lambda: farm.pool(grows).workers > 1, within=30)
    eventually(lambda: not farm.pool(chosen).queued and not farm.pool(fixed).queued, within=60)
    assert (farm.pool(chosen).workers, farm.pool(fixed).workers) == (2, 1)


@pytest.mark.slow
def test_of_two_agents_one_scales_and_the_other_takes_over_when_it_is_gone(farm: Farm) -> None:
    first = farm.agent(group=REAL_GROUP).wait_ready()
    second = farm.agent("node2", group=REAL_GROUP).wait_ready()
    pool_id = farm.create(min_workers=2, max_workers=8, replicas=2, worker_type="shell")
    eventually(lambda: farm.pool(pool_id).ready_workers == 2, within=30)
    submit(farm, pool_id, 3, seconds=1)
    holder = eventually(lambda: farm.store.redis.get(f"{farm.store.prefix}mhv:scaler:{pool_id}"), within=30)
    gone, stays = (first, "node2") if holder == "node1" else (second, "node1")

    gone.end()
    ids = submit(farm, pool_id, 16, seconds=1)

    eventually(lambda: farm.store.redis.get(f"{farm.store.prefix}mhv:scaler:{pool_id}") == stays, within=60)
    eventually(lambda: all(farm.task(one).ok for one in ids), within=90)
    assert farm.pool(pool_id).workers > 2


@pytest.mark.slow
def test_ten_seconds_after_a_step_of_load_tasks_wait_no_longer_than_they_may(farm: Farm) -> None:
    farm.agent(group=REAL_GROUP).wait_ready()
    pool_id = farm.create(min_workers=1, max_workers=60, worker_type="shell")
    farm.wait_running(pool_id)
    begun, ids = time.time(), list[str]()

    def send() -> float:
        passed = time.time() - begun
        ids.extend(submit(farm, pool_id, max(0, int(passed * 6) - len(ids)), seconds=1))
        return passed

    eventually(send, until=lambda passed: passed > 20, within=60)

    eventually(lambda: all(farm.task(one).ok for one in ids), within=60)
    waits = [(one.created_at, one.started_at) for one in map(farm.task, ids) if one.created_at and one.started_at]
    assert len(waits) == len(ids) >= 100
    assert max((b - a).total_seconds() for a, b in waits if a.timestamp() > begun + 10) < 2
    scaled = [one.details for one in farm.run(events.read_older("pools")) if one.type == "pool_scaled"]
    assert 1 <= len(scaled) <= 5
    assert all(one["after"] > one["before"] and "keep the wait under" in one["reason"] for one in scaled)
