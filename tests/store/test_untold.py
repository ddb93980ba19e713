"""Messages of members of groups that ended without Celery: kept, given to one worker at a time until Celery is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mahavishnu_pools.store import leases, pools, tasks
from tests.store.world import World


def grouped(world: World, pool: str, task_id: str, *, of: str | None = "g") -> None:
    """Put a message of a group (None: of no group) into the queue, of a task that is known."""
    world.push_raw(pool, world.stock_message(task_id, group=of))
    world.redis.hset(world.key("task", task_id), mapping={"status": "queued", "pool": pool, "bucket": "0"})


def untold(world: World, *, by: str = "w", told: str = "") -> str:
    return world.run(leases.next_untold("", by=by, told=told))


def cancel(world: World, task_id: str) -> str:
    return world.run(tasks.cancel(task_id, reason="no", result_ttl=60))


def cancelled(world: World, pool: str) -> None:
    assert cancel(world, "t") == "cancelled"


def cancelled_deep_in_the_queue(world: World, pool: str) -> None:
    for number in range(1100):
        world.push_raw(pool, world.stock_message(f"before {number}"))
    world.redis.lmove(world.key("queue", pool), world.key("queue", pool), "RIGHT", "LEFT")
    cancelled(world, pool)
    assert untold(world) == ""
    lease = world.lease(pool)
    while world.claim(lease, pool, 100):
        pass


def in_a_pool_that_is_emptied(world: World, pool: str) -> None:
    while world.run(pools.empty_pool(pool, reason="closed", result_ttl=60)):
        pass


def cancelled_while_its_worker_was_lost(world: World, pool: str) -> None:
    lease = world.lease(pool)
    world.claim(lease, pool)
    assert cancel(world, "t") == "asked"
    world.reap(lease)


def cancelled_when_it_was_handed_back(world: World, pool: str) -> None:
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    assert cancel(world, "t") == "asked"
    world.run(leases.hand_back(world.held(lease, pool, claim)))


def given_up(world: World, pool: str) -> None:
    for _ in range(4):
        lease = world.lease(pool)
        world.claim(lease, pool, alone=True) or world.claim(lease, pool)
        world.reap(lease, cause="kill")


WAYS = [
    cancelled,
    cancelled_deep_in_the_queue,
    in_a_pool_that_is_emptied,
    cancelled_while_its_worker_was_lost,
    cancelled_when_it_was_handed_back,
    given_up,
]


@pytest.mark.parametrize("end", WAYS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("group", ["g", None])
def test_the_message_of_a_member_that_ends_without_celery_is_kept_once(
    world: World, end: Callable[[World, str], None], group: str | None
) -> None:
    pool = world.pool("p")
    grouped(world, pool, "t", of=group)

    end(world, pool)

    message = untold(world)
    assert ('"t"' in message) == (group is not None)
    assert world.task("t").done
    assert untold(world, told=message) == ""


def test_one_worker_at_a_time_tells_and_what_it_has_told_is_forgotten(world: World) -> None:
    pool = world.pool("p")
    for task_id in ("a", "b"):
        grouped(world, pool, task_id)
        cancel(world, task_id)

    first = untold(world, by="one")
    assert '"a"' in first
    assert untold(world, by="other") == ""
    assert untold(world, by="one") == first
    second = untold(world, by="one", told=first)
    assert '"b"' in second

    # It dies: after its turn the other one goes on where it was.
    assert 0 < world.redis.pttl(world.key("telling")) <= leases.TURN * 1000
    world.redis.delete(world.key("telling"))
    assert untold(world, by="other") == second
    assert untold(world, by="other", told=second) == ""
    assert not world.redis.exists(world.key("untold"), world.key("telling"))


def test_who_claims_hears_that_celery_is_to_be_told(world: World) -> None:
    pool = world.pool("p")
    lease = world.lease(pool)
    grouped(world, pool, "t")
    cancel(world, "t")

    before = world.run(world.claim_call(lease, pool))
    untold(world, told=untold(world))
    after = world.run(world.claim_call(lease, pool))

    assert before is not None
    assert after is not None
    assert (before.untold, after.untold) == (True, False)
    assert world.redis.ttl(world.key("untold")) == -2
