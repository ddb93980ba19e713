"""Batches: counts, and the task that follows the last outcome."""

from __future__ import annotations

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.task import TaskSpec, TaskStatus
from mahavishnu_pools.store import batches, dead, pools, tasks
from tests.store.world import LEAST_LOADED, RESULT_TTL, World
from workers.services import batch_reader


def follower(world: World, *candidates: str, task_type: str = "reduce") -> batches.Follower:
    spec = TaskSpec(task_type=task_type, payload={"batch_id": "b"})
    made = envelope(spec, task_id=names.new_task_id(), max_bytes=10_000)
    return batches.Follower(made, candidates, candidates[0])


def seal(world: World, after: batches.Follower | None) -> None:
    expected = after.envelope.task_id if after else ""
    assert world.run(batches.seal("b", follower=after, client="c", result_ttl=60)) == expected


def end_one(world: World, pool: str, *, status: str = "completed") -> None:
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    world.run(world.finish_call(world.held(lease, pool, claim), status=status))


@pytest.mark.parametrize("sealed_after", [0, 1, 2])
def test_the_follower_starts_once_after_the_last_outcome(world: World, sealed_after: int) -> None:
    pool = world.pool("p")
    sent = world.to(pool, 2, batch="b")
    after = follower(world, pool)
    for ended in range(3):
        if ended == sealed_after:
            seal(world, after)
            seal(world, after)
        if ended < 2:
            end_one(world, pool, status="completed" if ended == 0 else "failed")

    lease = world.lease(pool)
    assert [claim.task_id for claim in world.claim(lease, pool, 5)] == [after.envelope.task_id]
    batch = world.run(batches.read_batch("b"))
    assert batch == batches.Batch(2, 1, 1, after.envelope.task_id, tuple(sent))
    assert world.index_is_true()


def test_the_follower_waits_for_the_seal(world: World) -> None:
    pool = world.pool("p")
    world.to(pool, 1, batch="b")
    end_one(world, pool)
    world.to(pool, 1, batch="b")
    end_one(world, pool)

    assert world.places([pool]) == {}


def test_a_cancelled_task_counts_as_an_outcome(world: World) -> None:
    pool = world.pool("p")
    (task_id,) = world.to(pool, 1, batch="b")
    after = follower(world, pool)
    seal(world, after)

    world.run(tasks.cancel(task_id, reason="no", result_ttl=60))

    assert world.places([pool])[after.envelope.task_id] == 1


def test_the_follower_of_a_batch_whose_pools_went_takes_another_pool(world: World) -> None:
    first, other = world.pool("first"), world.pool("other")
    world.to(first, 1, batch="b")
    after = follower(world, first)
    seal(world, after)

    world.run(pools.change_pool(first, status="stopped"))
    while world.run(pools.empty_pool(first, reason="it was closed", result_ttl=60)):
        pass

    assert world.task(after.envelope.task_id).pool_id == other
    assert world.places([first, other]) == {after.envelope.task_id: 1}


def test_a_judge_is_given_to_no_pool_that_was_none_of_its_candidates(world: World) -> None:
    first, other = world.pool("first"), world.pool("other")
    world.to(first, 1, batch="b")
    after = follower(world, first, task_type="judge")
    seal(world, after)

    world.run(pools.change_pool(first, status="stopped"))
    while world.run(pools.empty_pool(first, reason="it was closed", result_ttl=60)):
        pass

    result = world.task(after.envelope.task_id)
    assert (result.status, result.error) == (TaskStatus.FAILED, "No pool was left to run it.")
    assert world.places([first, other]) == {}


def test_a_follower_without_any_pool_fails(world: World) -> None:
    pool = world.pool("only")
    world.to(pool, 1, batch="b")
    after = follower(world, pool)
    seal(world, after)
    world.run(pools.change_pool(pool, status="stopped"))

    while world.run(pools.empty_pool(pool, reason="it was closed", result_ttl=60)):
        pass

    result = world.task(after.envelope.task_id)
    assert (result.status, result.error) == (TaskStatus.FAILED, "No pool was left to run it.")
    assert world.run(pools.remove_pool(pool)) is None


def test_an_unknown_batch_is_none(world: World) -> None:
    assert world.run(batches.read_batch("nothing")) is None
    assert world.run(batches.seal("nothing", follower=None, client=None, result_ttl=60)) is None


def test_a_batch_is_kept_until_its_last_outcome_however_long_that_takes(world: World) -> None:
    pool = world.pool("p")
    world.to(pool, 2, batch="b")
    seal(world, None)

    end_one(world, pool)
    kept = [world.redis.ttl(world.key(name, "b")) for name in ("batch", "batch_tasks")]
    end_one(world, pool)

    assert kept == [-1, -1]
    assert all(world.redis.ttl(world.key(name, "b")) > 0 for name in ("batch", "batch_tasks"))


def test_a_member_whose_result_has_expired_is_a_failure_to_what_follows(world: World) -> None:
    pool = world.pool("p")
    first, second = world.to(pool, 2, batch="b")
    end_one(world, pool)
    end_one(world, pool)
    world.redis.delete(world.key("task", first))

    results = batch_reader(world.store)("b")

    assert [(result.task_id, result.status.value) for result in results] == [(first, "failed"), (second, "completed")]
    assert "result_expires" in (results[0].error or "")


def keyed(world: World, key: str, batch: str) -> tasks.Submitted:
    call = tasks.submit(world.envelopes(idempotency_key=key), LEAST_LOADED, client="c", batch=batch)
    (first,) = world.run(call)
    (again,) = world.run(call)
    assert again.task_id == first.task_id
    return first


def counts(world: World, batch: str) -> tuple[int, int, int]:
    found = world.run(batches.read_batch(batch))
    assert found is not None
    return (found.total, found.successful, found.failed)


def test_a_task_known_by_its_key_is_a_member_of_every_batch_it_was_given_to(world: World) -> None:
    pool = world.pool("p")
    ended = keyed(world, "ended", "a")
    end_one(world, pool)
    waiting = keyed(world, "waiting", "a")

    twins = [keyed(world, key, "b") for key in ("ended", "waiting", "new")]
    before = counts(world, "b")
    end_one(world, pool, status="failed")
    end_one(world, pool)

    assert [one.new for one in twins] == [False, False, True]
    assert [one.task_id for one in twins[:2]] == [ended.task_id, waiting.task_id]
    assert world.run(batches.read_batch("b")) == batches.Batch(3, 2, 1, None, tuple(one.task_id for one in twins))
    assert before == (3, 1, 0)
    assert counts(world, "a") == (2, 1, 1)


def test_a_batch_of_tasks_that_have_all_ended_goes_on_at_its_seal_and_has_a_lifetime(world: World) -> None:
    pool = world.pool("p")
    keyed(world, "k", "a")
    end_one(world, pool)
    keyed(world, "k", "b")
    after = follower(world, pool)

    seal(world, after)

    assert world.places([pool]) == {after.envelope.task_id: 1}
    assert all(0 < world.redis.ttl(world.key(name, "b")) <= RESULT_TTL for name in ("batch", "batch_tasks"))


def test_a_dead_task_that_is_replayed_counts_anew_in_every_batch(world: World) -> None:
    pool = world.pool("p")
    task_id = keyed(world, "k", "a").task_id
    end_one(world, pool, status="dead")
    keyed(world, "k", "b")
    died = counts(world, "b")

    world.run(dead.replay_letters([task_id], pool_id=None, request="r"))
    end_one(world, pool)

    assert died == (1, 0, 1)
    assert counts(world, "a") == counts(world, "b") == (1, 1, 0)
