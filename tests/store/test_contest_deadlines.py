"""Contests that are not decided when their time is over: nobody wins, whatever is answered later, and all end."""

from __future__ import annotations

import pytest

from mahavishnu_pools.schemas.contest import ContestKind, result_of
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.store import contests, leases, tasks
from mahavishnu_pools.store.contests import Opening
from mahavishnu_pools.store.steps import run_steps_sync
from tests.store.test_contests import Runners, contest, judge, start
from tests.store.world import RESULT_TTL, World

OVER = "Nobody had won when its time was over (deadline: 600 s)."


def pass_time(world: World, *batches: str) -> int:
    """Have the time of contests be over, and look as beat does; returns how many it looked at."""
    world.redis.zadd(world.key("contests"), dict.fromkeys(batches or ("b",), 0.0))
    return run_steps_sync(world.store, contests.expire_contests(result_ttl=RESULT_TTL))


@pytest.mark.parametrize(("kind", "needed"), [(ContestKind.RACE, 1), (ContestKind.QUORUM, 2)])
def test_when_its_time_is_over_all_end_and_nobody_wins_later(world: World, kind: ContestKind, needed: int) -> None:
    pool, other = world.pool(), world.pool()
    runs, waits, *more = start(world, [pool, other] + [pool] * (needed - 1), Opening(kind, needed, deadline=600))
    run = Runners(world, [pool])
    for one in more:
        run.end(one)
    assert run_steps_sync(world.store, contests.expire_contests(result_ttl=RESULT_TTL)) == 0

    assert pass_time(world) == 1

    assert (contest(world).winners, contest(world).reason, contest(world).deadline) == ((), OVER, 600)
    assert (world.task(waits).status, world.task(waits).error) == (TaskStatus.CANCELLED, OVER)
    assert run.asked(pool) == {runs}
    assert world.read_pool(other).queued == 0
    run.end(runs)
    assert (contest(world).winners, world.task(runs).status) == ((), TaskStatus.COMPLETED)
    assert pass_time(world) == 1
    assert world.task(runs).status is TaskStatus.COMPLETED
    assert not world.redis.exists(world.key("contests"))
    assert world.index_is_true()


def test_a_decision_in_time_stands(world: World) -> None:
    pool = world.pool()
    ids = start(world, [pool] * 2, Opening(ContestKind.RACE, 1, deadline=600))

    Runners(world, [pool]).end(ids[0])

    assert not world.redis.exists(world.key("contests"))
    pass_time(world)
    assert contest(world).winners == (ids[0],)


def test_without_a_deadline_nothing_is_kept_of_it(world: World) -> None:
    start(world, [world.pool()] * 2)

    assert not world.redis.exists(world.key("contests"))
    assert contest(world).deadline is None


def test_a_judge_that_has_not_begun_never_does(world: World) -> None:
    pool = world.pool()
    after = judge(world, pool)
    ids = start(world, [pool] * 2, Opening(ContestKind.BEST_OF, judge=after, deadline=600))
    run = Runners(world, [pool])
    run.end(ids[0])

    pass_time(world)

    told = world.task(after.envelope.task_id)
    assert (told.status, told.error) == (TaskStatus.CANCELLED, OVER)
    assert run.asked(pool) == {ids[1]}
    run.end(ids[1])
    assert world.places([pool]) == {}
    assert world.read_pool(pool).queued == 0
    assert not world.redis.exists(world.key("ended", pool))
    assert contest(world).reason == OVER


def test_a_judge_that_is_late_names_no_winner(world: World) -> None:
    pool = world.pool()
    after = judge(world, pool)
    judge_id = after.envelope.task_id
    ids = start(world, [pool] * 2, Opening(ContestKind.BEST_OF, judge=after, deadline=600))
    run = Runners(world, [pool])
    for one in ids:
        run.end(one)
    judging = Runners(world, [pool])

    pass_time(world)

    assert judging.asked(pool) == {judge_id}
    judging.end(judge_id, answer={"value": {"winner": 0}})
    found = result_of("b", contest(world), [world.task(one) for one in ids], world.task(judge_id))
    assert (found.status, found.winner, found.reason) == ("failed", None, OVER)


def test_a_verdict_in_time_stands(world: World) -> None:
    pool = world.pool()
    after = judge(world, pool)
    start(world, [pool] * 2, Opening(ContestKind.BEST_OF, judge=after, deadline=600))
    for _ in range(2):
        run = Runners(world, [pool])
        for one in run.held:
            run.end(one, answer={"value": {"winner": 1}})

    pass_time(world)

    assert contest(world).reason is None
    assert world.task(after.envelope.task_id).status is TaskStatus.COMPLETED


def test_one_that_is_between_two_attempts_ends_and_many_end_at_one_look(world: World) -> None:
    pool = world.pool()
    names = [f"b{n}" for n in range(2 * contests.EXPIRED_MOST + 1)]
    opening = Opening(ContestKind.RACE, 1, deadline=600)
    ids = [one for name in names for one in start(world, [pool] * 2, opening, batch=name)]
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool, 1)
    world.run(leases.retry(world.held(lease, pool, claim), outcome='{"error": "x"}', delay=30, result_ttl=RESULT_TTL))

    assert pass_time(world, "gone", *names) == len(names) + 1

    assert {world.task(one).status for one in ids} == {TaskStatus.CANCELLED}
    assert world.claim(lease, pool, 50) == []
    assert not world.redis.exists(world.key("contests"))


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("over", [True, False])
@pytest.mark.parametrize("earlier", [None, "of_somebody_else"])
def test_a_candidate_that_was_there_before_is_left_alone(
    world: World, runs: bool, over: bool, earlier: str | None
) -> None:
    pool, other = world.pool(), world.pool()
    choice = Choice("pool", pool=other)
    (shared,) = world.envelopes(1, idempotency_key="k")
    world.run(tasks.submit([shared], choice, batch=earlier))
    ids = start(world, [pool] * 2, Opening(ContestKind.RACE, 1, deadline=600))
    joined = world.run(tasks.submit(world.envelopes(1, idempotency_key="k"), choice, batch="b"))
    assert [one.task_id for one in joined] == [shared.task_id]
    run = Runners(world, [pool, *([other] if runs else [])])

    if over:
        pass_time(world)
    else:
        run.end(ids[0])

    assert contest(world).decided_at is not None
    assert world.task(shared.task_id).status is (TaskStatus.RUNNING if runs else TaskStatus.QUEUED)
    run = run if runs else Runners(world, [other])
    assert run.asked(other) == set()
    run.end(shared.task_id)
    assert world.task(shared.task_id).status is TaskStatus.COMPLETED
    assert world.index_is_true()
