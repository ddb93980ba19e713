"""Draining: stored once, kept by every worker group that asks for work, also by one that starts later."""

from __future__ import annotations

import time

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store import draining, leases, pools, tasks
from tests.store.world import World
from tests.waiting import eventually


def asked(world: World, pool_id: str, lease: str, most: int = 5) -> leases.Claimed:
    found = world.run(world.claim_call(lease, pool_id, most))
    assert found is not None
    return found


def test_a_drained_pool_starts_nothing_whoever_asks(world: World) -> None:
    pool = world.pool("a")
    world.to(pool, 3)
    before = world.lease(pool)
    world.run(draining.drain_pool(pool, reason="drained"))

    assert [asked(world, pool, lease).claims for lease in (before, world.lease(pool))] == [(), ()]
    assert asked(world, pool, before).pool_status == "draining"
    with pytest.raises(errors.InvalidField, match="draining"):
        world.to(pool)


def test_a_pool_that_works_off_takes_nothing_new_and_starts_what_waits(world: World) -> None:
    pool = world.pool("a")
    ids = world.to(pool, 3)
    world.run(draining.drain_pool(pool, reason="closing", work_off=True))

    assert [claim.task_id for claim in asked(world, pool, world.lease(pool)).claims] == ids
    with pytest.raises(errors.InvalidField, match="draining"):
        world.to(pool)


@pytest.mark.parametrize("work_off", [False, True])
def test_after_the_deadline_groups_are_told_to_hand_back_and_start_nothing(world: World, work_off: bool) -> None:
    pool = world.pool("a")
    world.to(pool, 3)
    lease = world.lease(pool)
    world.claim(lease, pool)
    began = time.time()
    world.run(draining.drain_pool(pool, reason="x", seconds=1.5, work_off=work_off))
    drained = time.time()

    soon = asked(world, pool, lease, most=0)
    assert soon.due is not None
    assert began + 1.4 < soon.due < drained + 1.6
    assert soon.pool_status == "draining"
    eventually(lambda: asked(world, pool, lease, most=0).pool_status == "handback")
    late = asked(world, pool, world.lease(pool))
    assert (late.pool_status, late.claims, late.due) == ("handback", (), None)


def test_resuming_forgets_the_deadline(world: World) -> None:
    pool = world.pool("a")
    world.run(draining.drain_pool(pool, reason="x", seconds=0, work_off=True))
    world.run(pools.change_pool(pool, status=PoolStatus.RUNNING, drain_until="", works_off=""))
    world.run(draining.drain_pool(pool, reason="x"))

    assert asked(world, pool, world.lease(pool)).pool_status == "draining"
    assert not world.read_pool(pool).works_off


@pytest.mark.parametrize("status", [PoolStatus.STOPPED, PoolStatus.FAILED, PoolStatus.INITIALIZING])
def test_a_pool_that_is_not_up_cannot_be_drained(world: World, status: PoolStatus) -> None:
    pool = world.pool("a", status=status)

    with pytest.raises(errors.InvalidField, match=f"is {status}"):
        world.run(draining.drain_pool(pool, reason="x"))
    with pytest.raises(errors.PoolNotFound):
        world.run(draining.drain_pool("pool_none", reason="x"))


def test_a_pool_ends_only_when_nothing_of_it_waits_or_runs(world: World) -> None:
    a = world.pool("a")
    world.to(a, 2)
    lease = world.lease(a)
    [claim] = world.claim(lease, a)

    assert world.run(draining.end_pool(a, reason="closed")) == (1, 1)
    assert world.read_pool(a).status == "running"
    world.run(world.finish_call(world.held(lease, a, claim)))
    [claim] = world.claim(lease, a)
    assert world.run(draining.end_pool(a, reason="closed")) == (0, 1)
    world.run(world.finish_call(world.held(lease, a, claim)))

    assert world.run(draining.end_pool(a, reason="closed")) is None
    assert world.read_pool(a).status == "stopped"


def test_a_cancellation_that_was_asked_for_wins_over_running_again(world: World) -> None:
    pool = world.pool("a")
    ids = world.to(pool, 2)
    lease = world.lease(pool)
    held = [world.held(lease, pool, claim) for claim in world.claim(lease, pool, 2)]
    for task_id in ids:
        assert world.run(tasks.cancel(task_id, reason="no more", result_ttl=60)) == "asked"

    assert world.run(leases.hand_back(held[0])) == "ok"
    assert world.run(leases.retry(held[1], outcome='{"error": "busy"}', delay=0)) == "ok"

    for task_id in ids:
        result = world.task(task_id)
        assert (result.status, result.error) == ("cancelled", "no more")
        assert world.redis.ttl(world.key("task", task_id)) > 60
    assert world.places([pool]) == {}
    assert world.index_is_true()


def test_a_time_that_is_past_wakes_nobody(world: World) -> None:
    pool = world.pool("a")
    world.to(pool, 1)
    lease = world.lease(pool)
    [claim] = world.claim(lease, pool)
    world.run(leases.retry(world.held(lease, pool, claim), outcome="{}", delay=0.02))
    world.run(pools.change_pool(pool, status=PoolStatus.PAUSED))

    eventually(lambda: asked(world, pool, lease).due is None)
    world.run(pools.change_pool(pool, status=PoolStatus.RUNNING))
    assert len(asked(world, pool, lease).claims) == 1
