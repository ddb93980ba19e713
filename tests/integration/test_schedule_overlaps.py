"""What becomes of a run of a schedule when the one before it has not ended."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.schedules.sending import send_due, send_now
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store import leases, pools, schedules, tasks
from mahavishnu_pools.store.steps import run_steps_sync
from tests.store.scheduling import add, again, finish, look, outcomes, until, way
from tests.store.world import World


def by_hand(world: World, name: str = "s") -> str:
    """Run a schedule by hand, and return its task."""
    schedule = world.run(schedules.read_schedule(name))
    task_id = run_steps_sync(world.store, send_now(way(), schedule, datetime.now(UTC))).task_id
    assert task_id is not None
    return task_id


def test_while_the_last_run_has_not_ended_the_next_is_left_out_with_the_reason(world: World) -> None:
    pool = world.pool("p")
    add(world, overlap="skip")
    assert look(world) == 1
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)

    again(world)
    assert look(world) == 0

    left_out, run = world.run(schedules.read_runs("s"))
    assert (left_out.outcome, left_out.task_id) == ("skipped", None)
    assert str(run.task_id) in str(left_out.reason)
    assert run.outcome == "running"
    with pytest.raises(errors.ScheduleBusy) as caught:
        by_hand(world)
    assert caught.value.details() == {"name": "s", "task_id": run.task_id}
    world.run(leases.retry(world.held(lease, pool, claim), outcome='{"error": "x"}', delay=600, result_ttl=60))
    again(world)
    assert look(world) == 0
    assert world.run(tasks.cancel(claim.task_id, reason="enough", result_ttl=60)) == "cancelled"
    again(world)
    assert look(world) == 1
    assert outcomes(world) == ["queued", "skipped", "skipped", "cancelled"]


@pytest.mark.parametrize("how", ["dead", "gone", "removed"])
def test_a_last_run_that_has_an_outcome_or_no_record_holds_nobody_up(world: World, how: str) -> None:
    pool = world.pool("p")
    add(world, overlap="skip")
    assert look(world) == 1
    (run,) = world.run(schedules.read_runs("s"))
    if how == "dead":
        lease = world.lease(pool)
        (claim,) = world.claim(lease, pool)
        world.run(world.finish_call(world.held(lease, pool, claim), status="dead"))
    elif how == "gone":
        world.redis.delete(world.key("task", str(run.task_id)))
    else:
        world.run(schedules.remove_schedule("s"))
        add(world, overlap="skip", late=0.5)

    again(world)

    assert look(world) == 1


def test_the_next_run_cancels_one_that_waits_or_runs_and_says_so(world: World) -> None:
    pool = world.pool("p")
    add(world, overlap="cancel")
    assert look(world) == 1
    again(world)

    assert look(world) == 1

    new, old = world.run(schedules.read_runs("s"))
    assert (new.outcome, old.outcome) == ("queued", "cancelled")
    assert new.reason == f"cancelled the run before it ({old.task_id})"
    assert world.task(str(old.task_id)).error == "The next run of schedule s was due."
    assert world.read_pool(pool).queued == 1
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool, 5)
    third = by_hand(world)
    asked = world.run(world.claim_call(lease, pool))
    assert asked is not None
    assert (list(asked.cancels), [one.task_id for one in asked.claims]) == ([claim.task_id], [third])


@pytest.mark.parametrize(("overlap", "queued"), [("skip", 0), ("cancel", 1)])
def test_two_who_look_at_once_decide_alike_about_a_run_before(world: World, overlap: str, queued: int) -> None:
    pool = world.pool("p")
    add(world, overlap=overlap)
    look(world)
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    again(world)
    first, second = send_due(way()), send_due(way())
    seen = [world.run(next(first)), world.run(next(second))]
    call = until(world, first, "schedule_note", seen[0])
    # The first has decided; then the run before ends, and the second decides and notes before the first does.
    world.run(world.finish_call(world.held(lease, pool, claim)))

    sent = [finish(world, second, seen[1]), finish(world, first, world.run(call))]

    assert sent == [queued, 0]
    assert world.read_pool(pool).queued == queued
    assert outcomes(world) == ["queued" if queued else "skipped", "completed"]


def test_who_dies_after_cancelling_the_run_before_is_followed_by_one_who_starts_the_new_one_once(world: World) -> None:
    pool = world.pool("p")
    add(world, overlap="cancel")
    look(world)
    for last in ("cancel", "schedule_note"):
        again(world)
        steps = send_due(way())
        call = until(world, steps, last, world.run(next(steps)))
        if last == "cancel":
            world.run(call)
        steps.close()
        look(world)
        assert world.read_pool(pool).queued == 1


def test_a_run_that_no_pool_can_take_cancels_nothing(world: World) -> None:
    pool = world.pool("p")
    add(world, overlap="cancel", where={"pool": "p"})
    look(world)
    world.run(pools.change_pool(pool, status=PoolStatus.DRAINING))
    again(world)

    assert look(world) == 0

    assert outcomes(world) == ["refused", "queued"]


def test_a_schedule_that_is_removed_while_its_run_is_sent_leaves_nothing_behind(world: World) -> None:
    world.pool("p")
    add(world, overlap="skip")
    steps = send_due(way())
    seen = world.run(next(steps))
    world.run(schedules.remove_schedule("s"))

    finish(world, steps, seen)

    assert [key for key in world.redis.scan_iter(world.key("schedule") + "*") if "schedule" in key] == []
