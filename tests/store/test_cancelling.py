"""Cancelled tasks whose messages wait still: they never run and are no load, however deep in a queue they lie."""

from __future__ import annotations

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store import batches, leases, moves, pools, tasks
from tests.store.world import RESULT_TTL, World

#: More than a cancel looks through.
DEEP = 1500


@pytest.fixture
def pool(world: World) -> str:
    return world.pool("p")


def cancel(world: World, *ids: str) -> list[str]:
    answers: list[str] = []
    for start in range(0, len(ids), 200):
        answers += world.run(tasks.cancel_many(ids[start : start + 200], reason="no", result_ttl=RESULT_TTL))
    return answers


def messages(world: World, *pool_ids: str) -> int:
    return sum(world.places(pool_ids).values())


def buried(world: World, pool: str) -> tuple[list[str], str]:
    """Queue many tasks and cancel the newest; returns the others and it."""
    ids = world.to(pool, DEEP)
    assert cancel(world, ids[-1]) == ["cancelled"]
    assert messages(world, pool) == DEEP
    return ids[:-1], ids[-1]


def run_all(world: World, pool: str) -> list[str]:
    ran: list[str] = []
    lease = world.lease(pool)
    while claims := world.claim(lease, pool, 100):
        for claim in claims:
            world.run(world.finish_call(world.held(lease, pool, claim)))
            ran.append(claim.task_id)
    return ran


def test_a_paused_pool_with_ten_thousand_cancelled_tasks_is_not_loaded(world: World, pool: str) -> None:
    ids = [one for _ in range(20) for one in world.to(pool, 500)]
    world.run(pools.change_pool(pool, status=PoolStatus.PAUSED))

    assert set(cancel(world, *reversed(ids))) == {"cancelled"}

    assert world.read_pool(pool).queued == 0
    world.run(pools.change_pool(pool, status=PoolStatus.RUNNING))
    assert world.loads() == {pool: 0.0}
    (kept,) = world.to(pool)
    assert world.read_pool(pool).queued == 1
    lease = world.lease(pool)
    found = [claim.task_id for _ in range(25) for claim in world.claim(lease, pool, 5)]
    assert found == [kept]
    assert messages(world, pool) == world.redis.exists(world.key("ended", pool)) == 0


def test_a_task_cancelled_so_long_ago_that_its_record_expired_does_not_run(world: World, pool: str) -> None:
    kept, cancelled = buried(world, pool)
    world.redis.delete(world.key("task", cancelled), world.key("meta", cancelled))

    assert run_all(world, pool) == kept

    assert world.redis.exists(world.key("task", cancelled), world.key("ended", pool)) == 0
    assert world.index_is_true()


def test_a_cancelled_task_does_not_move_to_another_pool(world: World, pool: str) -> None:
    kept, cancelled = buried(world, pool)
    world.redis.delete(world.key("task", cancelled))
    other = world.pool("other")
    lots = {"prompt\n\n\n": DEEP, "celery:mahavishnu.run_task\n\n\n": DEEP}
    window = -1
    while window:
        order = moves.MoveOrder(pool, other, str(names.celery_priority(5)), window=window, quotas=lots)
        window = world.run(moves.move(order, request=f"r{window}")).window

    assert world.places([pool, other]) == dict.fromkeys(kept, 1)
    assert (world.read_pool(pool).queued, world.read_pool(other).queued) == (0, len(kept))


def test_emptying_a_pool_counts_only_those_that_had_no_outcome(world: World, pool: str) -> None:
    kept, _ = buried(world, pool)
    left, cancelled = 0, 0
    while True:
        gone, ended = world.run(tasks.cancel_waiting(pool, most=400, reason="no", result_ttl=RESULT_TTL))
        left, cancelled = left + gone, cancelled + ended
        if not gone:
            break

    assert (left, cancelled) == (DEEP, len(kept))
    assert world.redis.exists(world.key("ended", pool)) == 0


def test_a_repeated_cancel_has_no_second_effect(world: World, pool: str) -> None:
    kept, cancelled = buried(world, pool)

    assert cancel(world, cancelled, cancelled) == ["cancelled", "cancelled"]

    assert world.read_pool(pool).queued == len(kept)
    assert world.read_pool(pool).counts["cancelled"] == 1


def test_one_that_waits_for_its_next_attempt_or_to_run_alone_leaves_too(world: World, pool: str) -> None:
    world.to(pool, 3)
    lease = world.lease(pool)
    first, *_ = claims = world.claim(lease, pool, 3)
    world.run(leases.retry(world.held(lease, pool, first), outcome="{}", delay=60))
    world.reap(lease, cause="loss")

    assert cancel(world, *(claim.task_id for claim in claims)) == ["cancelled"] * 3

    assert messages(world, pool) == 0
    assert world.index_is_true()


def test_huge_messages_are_looked_through_in_bounded_pieces(world: World, pool: str) -> None:
    ids = [one for _ in range(10) for one in world.to(pool, 10, prompt="x" * 70_000)]

    assert cancel(world, ids[-1]) == ["cancelled"]

    assert messages(world, pool) == 100
    assert world.read_pool(pool).queued == 99
    assert cancel(world, ids[0]) == ["cancelled"]
    assert messages(world, pool) == 99


def test_what_follows_a_batch_is_cancelled_before_it_has_a_message(world: World, pool: str) -> None:
    spec = TaskSpec(task_type="reduce", payload={"batch_id": "b"})
    made = envelope(spec, task_id=names.new_task_id(), max_bytes=10_000)
    members = world.to(pool, 2, batch="b")
    assert world.run(batches.seal("b", follower=batches.Follower(made, (pool,), pool), client="c", result_ttl=60))

    assert cancel(world, made.task_id) == ["cancelled"]

    assert world.read_pool(pool).queued == 2
    assert run_all(world, pool) == members
    assert world.task(made.task_id).status == "cancelled"
    assert world.index_is_true()
