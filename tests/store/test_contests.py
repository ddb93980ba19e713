"""Contests: one decision, made by the script that writes an outcome; who is not needed any more ends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.contest import Contest, ContestKind
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec, TaskStatus
from mahavishnu_pools.store import batches, dead, leases, pools, tasks
from mahavishnu_pools.store.contests import Opening, submit_contest
from tests.store.inspection import Check, kinds
from tests.store.world import RESULT_TTL, World

RACE = Opening(ContestKind.RACE, 1)


def start(
    world: World, targets: Sequence[str], opening: Opening = RACE, *, batch: str = "b", **fields: Any
) -> list[str]:
    choice = Choice("pool", targets=tuple(targets))
    envelopes = world.envelopes(len(targets), **fields)
    sent = world.run(submit_contest(envelopes, choice, batch=batch, opening=opening, client="c"))
    return [one.task_id for one in sent]


def judge(world: World, pool: str) -> batches.Follower:
    spec = TaskSpec(task_type="judge", payload={"batch_id": "b", "prompt": "which?"})
    return batches.Follower(envelope(spec, task_id=names.new_task_id(), max_bytes=10_000), (pool,), pool)


def contest(world: World, batch: str = "b") -> Contest:
    found = world.run(batches.read_batch(batch))
    assert found is not None
    assert found.contest is not None
    return found.contest


class Runners:
    """Claims everything of some pools, and ends tasks by id."""

    def __init__(self, world: World, pool_ids: Sequence[str]) -> None:
        self.world = world
        self.held: dict[str, leases.Held] = {}
        self.leases: dict[str, str] = {}
        for pool in pool_ids:
            lease = self.leases[pool] = world.lease(pool)
            self.held |= {one.task_id: world.held(lease, pool, one) for one in world.claim(lease, pool, 50)}

    def end(self, task_id: str, *, status: str = "completed", answer: Mapping[str, Any] | None = None) -> leases.Ending:
        outcome = {"status": status, **(answer or {"output": "done"})}
        celery = {"completed": "SUCCESS", "cancelled": "REVOKED"}.get(status, "FAILURE")
        meta = {"status": celery, "result": outcome, "task_id": task_id, "traceback": None}
        call = leases.finish(
            self.held[task_id],
            status=status,
            outcome=json.dumps(outcome),
            meta=json.dumps(meta),
            result_ttl=RESULT_TTL,
        )
        return self.world.run(call)

    def asked(self, pool: str) -> set[str]:
        """Return the tasks of a pool that are to be ended, as its worker group hears it."""
        found = self.world.run(self.world.claim_call(self.leases[pool], pool, 50))
        assert found is not None
        assert not found.claims
        return set(found.cancels)


def test_the_first_success_wins_and_the_others_are_asked_to_end(world: World) -> None:
    first, other = world.pool("first"), world.pool("other")
    a, b, c = start(world, [first, other, other])
    run = Runners(world, [first, other])

    run.end(b)

    assert run.asked(first) == {a}
    assert run.asked(other) == {c}
    run.end(a, status="cancelled")
    run.end(c, status="cancelled")
    found = contest(world)
    assert (found.winners, found.reason) == ((b,), f"{b} (pool other) won the race.")
    assert [world.task(one).error for one in (a, c)] == [found.reason] * 2
    batch = world.run(batches.read_batch("b"))
    assert batch is not None
    assert (batch.total, batch.successful, batch.failed) == (3, 1, 2)
    assert 0 < world.redis.ttl(world.key("batch", "b")) <= RESULT_TTL
    assert world.index_is_true()


def test_those_that_wait_in_any_way_never_run(world: World) -> None:
    here, there = world.pool("here"), world.pool("there")
    (a, b, c) = start(world, [here, there, there])
    run = Runners(world, [here])
    lease = world.lease(there)
    (claim,) = world.claim(lease, there, 1)
    world.run(leases.retry(world.held(lease, there, claim), outcome='{"error": "x"}', delay=30, result_ttl=RESULT_TTL))

    run.end(a)

    assert [world.task(one).status for one in (b, c)] == [TaskStatus.CANCELLED] * 2
    assert world.read_pool(there).queued == 0
    assert world.loads()[there] == 0
    assert world.claim(lease, there, 10) == []
    assert world.index_is_true()


@pytest.mark.parametrize("fields", [{"approval": "required"}, {}])
def test_losers_that_await_approval_are_not_asked_about_any_more(world: World, fields: dict[str, Any]) -> None:
    pool, other = world.pool(), world.pool()
    envelopes = [*world.envelopes(1), *world.envelopes(1, **fields)]
    call = submit_contest(envelopes, Choice("pool", targets=(pool, other)), batch="b", opening=RACE)
    a, b = (one.task_id for one in world.run(call))

    Runners(world, [pool]).end(a)

    assert world.task(b).status is TaskStatus.CANCELLED
    assert not world.redis.exists(world.key("held", b), world.key("awaiting"))
    assert world.claim(world.lease(other), other, 5) == []


@pytest.mark.parametrize("together", [True, False])
def test_of_two_that_succeed_at_once_one_wins(world: World, together: bool) -> None:
    pool = world.pool()
    ids = start(world, [pool] * 3)
    run = Runners(world, [pool])
    calls = [world.finish_call(run.held[one]) for one in ids[:2]]

    if together:
        world.store.run_many(calls)
    else:
        for call in (*calls, *calls):
            world.run(call)

    assert contest(world).winners == (ids[0],)
    assert [world.task(one).status.value for one in ids] == ["completed", "completed", "running"]


def test_a_race_that_nobody_wins_says_so(world: World) -> None:
    pool = world.pool()
    ids = start(world, [pool] * 3)
    run = Runners(world, [pool])

    for one, status in zip(ids, ("failed", "timeout", "cancelled"), strict=True):
        assert contest(world).decided_at is None
        run.end(one, status=status)

    found = contest(world)
    assert found.decided_at is not None
    assert (found.winners, found.reason) == ((), "No candidate succeeded.")


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_quorum_of_equal_answers_does_not_ask_for_their_order(world: World, order: tuple[int, ...]) -> None:
    pool = world.pool()
    ids = start(world, [pool] * 4, Opening(ContestKind.QUORUM, 2, agree=True))
    run = Runners(world, [pool])
    answers = ({"output": " Yes,\n it is "}, {"output": "no"}, {"output": "yes, IT is"})

    for place in order:
        run.end(ids[place], answer=answers[place])

    agreeing = tuple(ids[place] for place in order if place != 1)
    assert contest(world).winners == agreeing
    assert run.asked(pool) == {ids[3]}


def test_values_agree_whatever_the_order_of_their_keys(world: World) -> None:
    pool = world.pool()
    ids = start(world, [pool] * 4, Opening(ContestKind.QUORUM, 2, agree=True))
    run = Runners(world, [pool])

    run.end(ids[0], answer={"output": "same", "value": {"a": [1, None], "b": "x"}})
    run.end(ids[1], answer={"output": "same", "value": {"a": [1, "null"], "b": "x"}})
    run.end(ids[2], answer={"output": "other", "value": {"b": "x", "a": [1.0, None]}})

    assert contest(world).winners == (ids[0], ids[2])


@pytest.mark.parametrize(
    ("one", "other"),
    [(1234567890123456, 1234567890123457), (0.1 + 0.2, 0.3), ({"n": 1e300}, {"n": 1.0000000000000002e300})],
)
def test_numbers_that_differ_a_little_do_not_agree(world: World, one: Any, other: Any) -> None:
    pool = world.pool()
    ids = start(world, [pool] * 3, Opening(ContestKind.QUORUM, 2, agree=True))
    run = Runners(world, [pool])

    run.end(ids[0], answer={"output": "same", "value": one})
    run.end(ids[1], answer={"output": "same", "value": other})
    assert contest(world).decided_at is None
    run.end(ids[2], answer={"output": "same", "value": one})

    assert contest(world).winners == (ids[0], ids[2])


def test_what_is_known_of_a_loser_is_kept_as_it_is(world: World) -> None:
    pool = world.pool()
    winner, loser = start(world, [pool] * 2)
    run = Runners(world, [pool])
    told = {"files": [], "tokens": 123456789012345678, "cost_usd": 0.1 + 0.2}

    run.end(winner)
    run.end(loser, status="cancelled", answer={"output": "half", "error": "cancelled", "metadata": told})

    found = world.task(loser)
    assert (found.status, found.output, found.metadata) == (TaskStatus.CANCELLED, "half", told)
    assert found.error == contest(world).reason


def test_a_quorum_that_cannot_be_reached_any_more_ends_the_rest(world: World) -> None:
    pool = world.pool()
    ids = start(world, [pool] * 4, Opening(ContestKind.QUORUM, 3))
    run = Runners(world, [pool])

    run.end(ids[0])
    run.end(ids[1], status="failed")
    assert contest(world).decided_at is None
    run.end(ids[2], status="failed")

    assert contest(world).reason == "There can be no 3 answers any more."
    assert run.asked(pool) == {ids[3]}


def test_cancelling_all_candidates_ends_the_contest_and_its_judge(world: World) -> None:
    pool = world.pool()
    after = judge(world, pool)
    ids = start(world, [pool] * 3, Opening(ContestKind.BEST_OF, judge=after))
    judge_id = after.envelope.task_id

    world.run(tasks.cancel_many([judge_id, *ids], reason="no", result_ttl=RESULT_TTL))

    assert {world.task(one).status for one in (judge_id, *ids)} == {TaskStatus.CANCELLED}
    assert world.claim(world.lease(pool), pool, 10) == []
    assert world.index_is_true()


def test_the_judge_starts_when_all_have_ended(world: World) -> None:
    pool = world.pool()
    after = judge(world, pool)
    ids = start(world, [pool] * 2, Opening(ContestKind.BEST_OF, judge=after))
    run = Runners(world, [pool])
    judge_id = after.envelope.task_id

    run.end(ids[0])
    assert world.places([pool]) == {}
    assert (contest(world).judge_id, world.task(judge_id).status) == (judge_id, TaskStatus.QUEUED)
    run.end(ids[1], status="failed")

    assert world.places([pool]) == {judge_id: 1}


def test_without_an_answer_there_is_nothing_to_judge(world: World) -> None:
    pool = world.pool()
    after = judge(world, pool)
    ids = start(world, [pool] * 2, Opening(ContestKind.BEST_OF, judge=after))
    run = Runners(world, [pool])

    for one in ids:
        run.end(one, status="failed")

    found = world.task(after.envelope.task_id)
    assert (found.status, found.error) == (TaskStatus.FAILED, "No candidate has an answer to judge.")
    assert world.places([pool]) == {}


def test_a_contest_that_is_there_is_not_made_again(world: World) -> None:
    pool = world.pool()
    ids = start(world, [pool] * 2)

    again = start(world, [pool] * 5, Opening(ContestKind.QUORUM, 3))

    assert again == ids
    assert contest(world).kind is ContestKind.RACE
    assert world.read_pool(pool).queued == 2


def test_a_worker_that_was_lost_wins_nothing_when_it_comes_back(world: World) -> None:
    lost, other = world.pool("lost"), world.pool("other")
    a, b = start(world, [lost, other])
    run = Runners(world, [lost, other])
    world.reap(run.leases[lost], cause="node")

    assert run.end(a) == "fenced"
    assert contest(world).decided_at is None
    run.end(b)

    assert contest(world).winners == (b,)
    assert world.task(a).status is TaskStatus.CANCELLED
    assert world.claim(world.lease(lost), lost, 5) == []


def test_a_loser_whose_worker_is_lost_has_lost_all_the_same(world: World) -> None:
    lost, other = world.pool("lost"), world.pool("other")
    a, b = start(world, [lost, other])
    run = Runners(world, [lost, other])
    run.end(b)

    world.reap(run.leases[lost], cause="loss")

    found = world.task(a)
    assert (found.status, found.error) == (TaskStatus.CANCELLED, contest(world).reason)
    assert world.places([lost]) == {}


def test_candidates_of_a_pool_that_is_closed_have_failed(world: World) -> None:
    closed, other = world.pool("closed"), world.pool("other")
    start(world, [closed, closed, other])
    run = Runners(world, [other])
    world.run(pools.change_pool(closed, status="stopped"))
    while world.run(pools.empty_pool(closed, reason="it was closed", result_ttl=60)):
        pass
    assert contest(world).decided_at is None

    run.end(next(iter(run.held)))

    assert len(contest(world).winners) == 1


def test_a_pool_that_is_emptied_decides_and_goes_on(world: World) -> None:
    pool = world.pool("p")
    ids = start(world, [pool] * 4, Opening(ContestKind.QUORUM, 4))
    other = world.to(pool, 2)
    world.run(pools.change_pool(pool, status="stopped"))

    while world.run(pools.empty_pool(pool, reason="it was closed", result_ttl=60)):
        pass

    assert {world.task(one).status for one in (*ids, *other)} == {TaskStatus.CANCELLED}
    assert world.places([pool]) == {}
    assert not world.redis.exists(world.key("ended", pool))


def test_a_dead_candidate_that_is_replayed_changes_nothing_that_was_decided(world: World) -> None:
    pool = world.pool()
    a, b = start(world, [pool] * 2)
    run = Runners(world, [pool])
    run.end(a, status="dead")
    run.end(b)

    world.run(dead.replay_letters([a], pool_id=None, request="r"))
    again = Runners(world, [pool])
    again.end(a)

    assert contest(world).winners == (b,)


async def test_check_finds_nothing_wrong_with_contests(world: World, look: Check) -> None:
    pool = world.pool()
    after = judge(world, pool)
    start(world, [pool] * 2, Opening(ContestKind.BEST_OF, judge=after))
    start(world, [pool] * 3, batch="race")
    assert kinds(await look()) == set()
    run = Runners(world, [pool])
    assert kinds(await look()) == set()

    for one in run.held:
        run.end(one)

    assert kinds(await look()) == set()
