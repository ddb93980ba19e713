"""Who is blamed for the death of a worker group: suspects run alone, and only a loss while alone counts."""

from __future__ import annotations

import pytest

from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.store import leases, pools
from tests.store.world import RESULT_TTL, World


@pytest.fixture
def pool(world: World) -> str:
    return world.pool("p")


def test_deaths_that_no_task_can_have_caused_do_not_count(world: World, pool: str) -> None:
    sent = world.to(pool, 1)
    for _ in range(5):
        lease = world.lease(pool)
        assert len(world.claim(lease, pool, 2)) == len(sent)
        assert world.reap(lease, cause="node").requeued == len(sent)

    lease = world.lease(pool)
    assert [claim.task_id for claim in world.claim(lease, pool, 2)] == sent


def test_tasks_that_ran_together_when_their_group_crashed_run_again_one_at_a_time(world: World, pool: str) -> None:
    sent = world.to(pool, 3)
    lease, alone = world.lease(pool), world.lease(pool)
    world.claim(lease, pool, 3)

    assert world.reap(lease, cause="loss").requeued == 3

    assert world.claim(world.lease(pool), pool, 3) == []
    assert world.read_pool(pool).queued == world.read_pool(pool).suspects == 3
    for task_id in sent:
        (claim,) = world.claim(alone, pool, 3, alone=True)
        assert claim.task_id == task_id
        assert world.claim(alone, pool, 3, alone=True) == []
        world.run(world.finish_call(world.held(alone, pool, claim)))
    assert world.read_pool(pool).suspects == 0


def test_a_kill_makes_suspects_only_the_second_time(world: World, pool: str) -> None:
    sent = world.to(pool, 2)
    for waiting_apart in (0, 2):
        lease = world.lease(pool)
        assert len(world.claim(lease, pool, 2)) == 2
        assert world.reap(lease, cause="kill").requeued == len(sent)
        assert world.read_pool(pool).suspects == waiting_apart


def test_a_lost_worker_makes_an_attempt_and_no_retry(world: World, pool: str) -> None:
    world.to(pool)
    for _ in range(2):
        lease = world.lease(pool)
        world.claim(lease, pool)
        world.reap(lease, cause="node")
    lease = world.lease(pool)

    (claim,) = world.claim(lease, pool)
    world.run(leases.retry(world.held(lease, pool, claim), outcome="{}", delay=0))
    call = world.claim_call(lease, pool, request="again")
    first, repeated = world.run(call), world.run(call)

    assert (claim.attempt, claim.retries) == (3, 0)
    assert first is not None
    assert repeated is not None
    assert [(one.attempt, one.retries) for one in [*first.claims, *repeated.claims]] == [(4, 1)] * 2


def test_a_suspect_that_kills_its_group_alone_is_given_up_after_three_deaths(world: World, pool: str) -> None:
    guilty, innocent = world.to(pool, 2)
    lease = world.lease(pool)
    world.claim(lease, pool, 2)
    world.reap(lease, cause="loss")

    for _ in range(3):
        lease = world.lease(pool)
        (claim,) = world.claim(lease, pool, alone=True)
        assert claim.task_id == guilty
        world.reap(lease, cause="kill")

    assert world.task(guilty).status is TaskStatus.DEAD
    assert [claim.task_id for claim in world.claim(world.lease(pool), pool, alone=True)] == [innocent]


def test_a_suspect_stays_one_when_it_is_handed_back_and_is_none_after_it_failed(world: World, pool: str) -> None:
    world.to(pool, 2)
    lease = world.lease(pool)
    world.claim(lease, pool, 2)
    world.reap(lease, cause="loss")
    alone = world.lease(pool)

    (claim,) = world.claim(alone, pool, alone=True)
    world.run(leases.hand_back(world.held(alone, pool, claim)))
    assert world.read_pool(pool).suspects == 2

    (claim,) = world.claim(alone, pool, alone=True)
    world.run(leases.retry(world.held(alone, pool, claim), outcome="{}", delay=0))
    assert world.read_pool(pool).suspects == 1
    assert [again.task_id for again in world.claim(world.lease(pool), pool)] == [claim.task_id]


def test_a_pool_with_suspects_is_closed_as_any_other(world: World, pool: str) -> None:
    sent = world.to(pool, 2)
    lease = world.lease(pool)
    world.claim(lease, pool, 2)
    world.reap(lease, cause="loss")

    assert world.run(pools.empty_pool(pool, reason="it was closed", result_ttl=RESULT_TTL)) == 2
    assert {world.task(task_id).status for task_id in sent} == {TaskStatus.CANCELLED}
    assert world.run(pools.remove_pool(pool)) is None
    assert world.redis.keys(world.key("suspects", pool)) == []
