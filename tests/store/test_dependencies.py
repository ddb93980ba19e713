"""Tasks that come after others, in the store: who waits, who is told, who goes on, and what becomes of the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.routing.chooser import Chooser, Wish
from mahavishnu_pools.routing.releasing import release_some
from mahavishnu_pools.routing.submission import Sender, pack, send
from mahavishnu_pools.schemas.pool import PoolSelector, PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.store import approvals, batches, dead, dependencies, pools, tasks
from mahavishnu_pools.store.approvals import Word
from mahavishnu_pools.store.batches import sort_batch
from mahavishnu_pools.store.steps import run_steps_sync
from mahavishnu_pools.store.task_briefs import read_briefs
from tests.store.world import RESULT_TTL, World


@pytest.fixture
def pool(world: World) -> str:
    return world.pool("p", workers=2)


def graph(world: World, *items: dict[str, Any], batch: str | None = None, wish: Wish = Wish()) -> list[str]:  # noqa: B008
    """Send tasks as a manager does, and return their ids."""
    chooser, sender = Chooser(default=PoolSelector.LEAST_LOADED), Sender("c", 100_000)
    parcels = run_steps_sync(
        world.store, pack(chooser, sender, [item if "task_type" in item else {"prompt": "x", **item} for item in items])
    )
    sent = run_steps_sync(world.store, send(chooser, sender, parcels, wish, batch=batch))
    return [one.task_id for one in sent]


def release(world: World, who: str = "agent") -> None:
    """Do what agents do."""
    chooser = Chooser(default=PoolSelector.LEAST_LOADED)
    while run_steps_sync(world.store, release_some(chooser, who, result_ttl=RESULT_TTL)):
        pass


def work_off(world: World, pool: str, *, status: str = "completed") -> list[str]:
    """Run what waits in the pool's queue, and return the tasks in the order in which they were taken."""
    lease, ran = world.lease(pool), []
    while claims := world.claim(lease, pool, 10):
        ran += [claim.task_id for claim in claims]
        world.store.run_many([world.finish_call(world.held(lease, pool, claim), status=status) for claim in claims])
        release(world)
    return ran


def statuses(world: World, ids: Sequence[str]) -> list[str]:
    return [world.task(task_id).status.value for task_id in ids]


def leaves_nothing(world: World) -> None:
    families = ("waiting", "ready", "releasing")
    assert not world.redis.exists(*(world.key(name) for name in families))
    patterns = [world.key(name, "*") for name in ("held", "children")]
    assert [key for pattern in patterns for key in world.redis.scan_iter(pattern, count=1000)] == []
    assert world.index_is_true()


@pytest.mark.parametrize(
    "odd", [{"need": {"task_type": "", "priority": "high"}}, {"need": None}, {"wish": {"filters": 5}}, None]
)
def test_a_task_that_cannot_be_read_keeps_no_other_back(world: World, pool: str, odd: dict[str, Any] | None) -> None:
    _, bad, good = graph(world, {"name": "a"}, {"after": ["a"]}, {"after": ["a"]})
    held = world.key("held", bad)
    more = json.loads(str(world.redis.hget(held, "more")))
    world.redis.hset(held, "more", json.dumps({**more, "after": {**more["after"], **odd}}) if odd else "{}")

    assert len(work_off(world, pool)) == 2

    assert statuses(world, [bad, good]) == ["waiting", "completed"]
    found = world.task(bad).dependencies
    assert found is not None
    assert found.held_up


def test_a_task_waits_in_no_queue_until_all_that_it_comes_after_have_ended(world: World, pool: str) -> None:
    c, a, b = graph(world, {"name": "c", "after": ["a", "b"]}, {"name": "a"}, {"name": "b"}, batch="g")
    lease = world.lease(pool)
    claims = world.claim(lease, pool, 10)

    assert [claim.task_id for claim in claims] == [a, b]
    found = world.task(c)
    assert (found.status, found.name, found.done) == (TaskStatus.WAITING, "c", False)
    assert found.dependencies is not None
    assert [(one.task_id, one.status) for one in found.dependencies.parents] == [(a, None), (b, None)]
    assert found.dependencies.waits == 2
    assert world.loads()[pool] == 1.0
    world.run(world.finish_call(world.held(lease, pool, claims[0])))
    release(world)
    assert (world.task(c).status, world.claim(lease, pool, 10)) == ("waiting", [])
    assert world.run(dependencies.list_waiting(most=10)) == [c]
    world.run(world.finish_call(world.held(lease, pool, claims[1])))
    release(world)

    assert work_off(world, pool) == [c]
    assert statuses(world, [a, b, c]) == ["completed"] * 3
    assert world.redis.hmget(world.key("batch", "g"), "total", "successful", "failed") == ["3", "3", "0"]
    leaves_nothing(world)


@pytest.mark.parametrize("how", ["failed", "timeout", "cancelled", "dead"])
def test_when_one_does_not_complete_the_policy_says_what_becomes_of_the_others(
    world: World, pool: str, how: str
) -> None:
    ids = graph(
        world,
        {"name": "a"},
        {"name": "skipped", "after": ["a"]},
        {"name": "failed", "after": ["a"], "on_parent_failure": "fail"},
        {"name": "run", "after": ["a"], "on_parent_failure": "run"},
        {"name": "grandchild", "after": ["skipped"]},
        {"name": "other", "after": ["grandchild"], "on_parent_failure": "run"},
        batch="g",
    )
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool, 10)
    world.run(world.finish_call(world.held(lease, pool, claim), status=how))
    release(world)

    assert set(work_off(world, pool)) == {ids[3], ids[5]}
    assert statuses(world, ids) == [how, "cancelled", "failed", "completed", "cancelled", "completed"]
    skipped, failed, _, grandchild = (world.task(task_id) for task_id in ids[1:5])
    assert str(skipped.error).startswith(f"It was skipped: a ({ids[0]}), which it comes after, ")
    assert "on_parent_failure: fail" in str(failed.error)
    assert str(grandchild.error) == f"It was skipped: skipped ({ids[1]}), which it comes after, was cancelled."
    assert skipped.dependencies is not None
    assert skipped.dependencies.ended_by == ids[0]
    states = [json.loads(world.redis.get(world.key("meta", task_id)))["status"] for task_id in ids[1:3]]
    assert states == ["REVOKED", "FAILURE"]
    assert world.redis.hmget(world.key("batch", "g"), "total", "successful", "failed") == ["6", "2", "4"]
    leaves_nothing(world)


def test_a_batch_keeps_the_order_in_which_it_was_written(world: World, pool: str) -> None:
    one = graph(world, {"name": "a"}, batch="g")
    some = graph(world, {"after": ["c"], "name": "b"}, {"name": "c", "task_type": "http", "payload": URL}, batch="g")
    found = world.run(batches.read_batch("g"))
    assert found is not None
    assert found.task_ids == (*one, *some)
    brief = world.run(read_briefs([some[0]]))[0]
    assert (brief.name, brief.waits) == ("b", 1)

    assert not world.run(sort_batch("g", [one[0], some[0]]))
    assert world.redis.ttl(world.key("batch_tasks", "g")) == -1
    work_off(world, pool)
    assert world.run(sort_batch("g", [*some, *one]))
    assert world.redis.ttl(world.key("batch_tasks", "g")) > 0


URL = {"url": "http://127.0.0.1:9/"}


def test_one_that_died_and_was_replayed_before_the_others_were_told_is_waited_for(world: World, pool: str) -> None:
    a, b = graph(world, {"name": "a"}, {"name": "b", "after": ["a"]})
    (claim,) = world.claim(lease := world.lease(pool), pool, 1)
    world.run(world.finish_call(world.held(lease, pool, claim), status="dead"))
    world.run(dead.replay_letters([a], pool_id=None, request="r"))
    release(world)

    assert statuses(world, [a, b]) == ["queued", "waiting"]
    assert work_off(world, pool) == [a, b]
    leaves_nothing(world)


def test_a_task_may_come_after_one_that_has_ended_before(world: World, pool: str) -> None:
    (good,) = world.finished(pool, 1)
    (bad,) = world.finished(pool, 1, status="failed")

    after_good, after_both = graph(world, {"after": [good]}, {"after": [good, bad]})
    release(world)

    assert work_off(world, pool) == [after_good]
    assert statuses(world, [after_good, after_both]) == ["completed", "cancelled"]
    leaves_nothing(world)


def test_what_cannot_be_is_refused_before_anything_is_made(world: World, pool: str) -> None:
    before = world.redis.dbsize()
    for items, said in (
        ([{"name": "a", "after": ["b"]}, {"name": "b", "after": ["a"]}], "a after b after a"),
        ([{"name": "a", "after": ["a"]}], "'a' comes after itself"),
        ([{"after": [0]}], "task 0 of the batch comes after itself"),
        ([{"name": "a"}, {"after": ["A"]}], "task 1 of the batch comes after 'A'"),
        ([{"name": "a"}, {"after": [7]}], "comes after '7'"),
        ([{"after": ["nope"]}], "no task has the id 'nope'"),
        ([{"after": [7]}], "no task has the id '7'"),
        ([{"name": "a"}, {"name": "a"}, {"after": ["a"]}], "two tasks: task 0 of the batch and task 1"),
        ([{}, {"after": ["task_0123456789abcdef"]}], "no task has the id 'task_0123456789abcdef'"),
        ([{"name": "task_1"}], "must not begin with task_"),
        ([{"after": ["a b"]}], "without spaces"),
        ([{"after": [True]}], "after"),
    ):
        with pytest.raises(errors.InvalidField, match=said.replace("(", "\\(")):
            graph(world, *items, batch="g")
    assert world.redis.dbsize() == before
    # The store looks itself, too: the record may have expired since.
    made = world.envelopes(1, after=["task_0123456789abcdef"])
    with pytest.raises(errors.InvalidField, match="no task has the id"):
        world.run(tasks.submit(made, Choice("least_loaded"), batch="g"))
    assert world.redis.dbsize() == before


def test_a_repeated_submit_and_a_known_key_change_nothing(world: World, pool: str) -> None:
    items = [{"name": "a", "idempotency_key": "ka"}, {"name": "b", "after": ["a"], "idempotency_key": "kb"}]
    first = graph(world, *items, batch="g")
    again = graph(world, *items, batch="g")
    (later,) = graph(world, {"name": "c", "after": [first[0]]})

    assert first == again
    mixed = graph(world, items[0], {"name": "d", "after": ["a"]})
    assert mixed[0] == first[0]
    parents = world.task(mixed[1]).dependencies
    assert parents is not None
    assert [one.task_id for one in parents.parents] == [first[0]]
    assert work_off(world, pool) == [first[0], first[1], later, mixed[1]]
    assert world.redis.hmget(world.key("batch", "g"), "total", "successful") == ["2", "2"]
    leaves_nothing(world)


def test_a_cancelled_task_that_waited_takes_those_with_it_that_come_after(world: World, pool: str) -> None:
    a, b, c = graph(world, {"name": "a"}, {"name": "b", "after": ["a"]}, {"name": "c", "after": ["b"]})

    assert world.run(tasks.cancel(b, reason="no", result_ttl=RESULT_TTL)) == "cancelled"
    release(world)

    assert statuses(world, [a, b, c]) == ["queued", "cancelled", "cancelled"]
    assert work_off(world, pool) == [a]
    leaves_nothing(world)


def test_a_cancelled_batch_ends_all_of_it(world: World, pool: str) -> None:
    ids = graph(world, {"name": "a"}, {"name": "b", "after": ["a"]}, {"name": "c", "after": ["b"]}, batch="g")

    world.run(tasks.cancel_many(ids, reason="no", result_ttl=RESULT_TTL))
    release(world)

    assert statuses(world, ids) == ["cancelled"] * 3
    assert [world.task(task_id).error for task_id in ids] == ["no"] * 3
    leaves_nothing(world)


def test_an_approval_is_asked_for_when_the_others_have_ended(world: World, pool: str) -> None:
    a, b = graph(world, {"name": "a"}, {"name": "b", "after": ["a"], "approval": "required", "expires": 60})
    word, sent_at = Word("ana", "", "r1"), world.task(b).created_at
    with pytest.raises(errors.InvalidField, match="waits for other tasks"):
        world.run(approvals.approve(b, word, Choice("pool", pool=pool), result_ttl=RESULT_TTL))

    assert work_off(world, pool) == [a]

    assert world.task(b).status == "awaiting_approval"
    assert world.run(approvals.list_awaiting(most=10)) == [b]
    world.run(approvals.approve(b, word, Choice("pool", pool=pool), result_ttl=RESULT_TTL))
    assert world.redis.hexists(world.key("task", b), "expires_at")
    assert work_off(world, pool) == [b]
    assert (world.task(b).created_at, world.run(read_briefs([b]))[0].created_at) == (sent_at, sent_at)
    leaves_nothing(world)


def test_one_that_is_dead_and_replayed_does_not_bring_back_what_was_skipped(world: World, pool: str) -> None:
    a, b = graph(world, {"name": "a", "on_worker_lost": "requeue"}, {"name": "b", "after": ["a"]})
    for _ in range(3):
        lease = world.lease(pool)
        world.claim(lease, pool, 1)
        world.claim(lease, pool, 1, alone=True)
        world.reap(lease)
    release(world)
    assert statuses(world, [a, b]) == ["dead", "cancelled"]

    world.run(dead.replay_letters([a], pool_id=None, request="r"))
    (c,) = graph(world, {"name": "c", "after": [a]})
    release(world)

    assert statuses(world, [a, b, c]) == ["queued", "cancelled", "waiting"]
    assert work_off(world, pool) == [a, c]
    leaves_nothing(world)


def test_one_whose_pool_is_gone_fails_and_one_without_a_pool_now_waits(world: World, pool: str) -> None:
    other = world.pool("q")
    (a,) = graph(world, {"name": "a"}, wish=Wish(pool="p"))
    (strict,) = graph(world, {"after": [a]}, wish=Wish(pool="q"))
    (free,) = graph(world, {"after": [a]})
    world.run(pools.change_pool(other, status=PoolStatus.STOPPED))
    world.run(pools.remove_pool(other))
    lease = world.lease(pool)
    claims = world.claim(lease, pool, 10)
    world.run(pools.change_pool(pool, status=PoolStatus.PAUSED))
    for claim in claims:
        world.run(world.finish_call(world.held(lease, pool, claim)))
    release(world)

    assert statuses(world, [strict, free]) == ["failed", "waiting"]
    assert "closed" in str(world.task(strict).error)
    dependency = world.task(free).dependencies
    assert dependency is not None
    assert "paused" in str(dependency.held_up)
    world.run(pools.change_pool(pool, status=PoolStatus.RUNNING))
    world.redis.zadd(world.key("ready"), {free: 0})
    release(world)
    assert work_off(world, pool) == [free]
    leaves_nothing(world)


def test_many_children_are_told_in_pieces_and_by_one_agent_at_a_time(world: World, pool: str) -> None:
    ids = graph(world, {"name": "a"}, *({"after": ["a"]} for _ in range(450)))
    (claim,) = world.claim(lease := world.lease(pool), pool, 1)
    world.run(world.finish_call(world.held(lease, pool, claim)))

    first = world.run(dependencies.release("one", result_ttl=RESULT_TTL))
    assert (len(first.ready), first.more, first.idle) == (200, True, False)
    other = world.run(dependencies.release("two", result_ttl=RESULT_TTL))
    assert (other.ready, other.more, other.idle) == ((), False, False)
    release(world, "one")

    assert world.read_pool(pool).queued == 450
    assert work_off(world, pool) == ids[1:]
    assert world.run(dependencies.release("one", result_ttl=RESULT_TTL)).idle
    leaves_nothing(world)


def test_of_many_children_that_are_skipped_fewer_are_told_in_one_call(world: World, pool: str) -> None:
    graph(world, {"name": "a"}, *({"after": ["a"]} for _ in range(130)), batch="g")
    (claim,) = world.claim(lease := world.lease(pool), pool, 1)
    world.run(world.finish_call(world.held(lease, pool, claim), status="failed"))

    def failed() -> int:
        found = world.run(batches.read_batch("g"))
        return 0 if found is None else found.failed

    counts = []
    while world.run(dependencies.release("one", result_ttl=RESULT_TTL)).more:
        counts.append(failed())

    assert counts == [51, 101]
    assert failed() == 131
    assert world.run(dependencies.release("one", result_ttl=RESULT_TTL)).idle
    leaves_nothing(world)


def test_a_message_with_the_id_of_a_task_that_waits_starts_nothing(world: World, pool: str) -> None:
    a, b = graph(world, {"name": "a"}, {"name": "b", "after": ["a"]})
    world.push_raw(pool, world.stock_message(b))

    assert work_off(world, pool) == [a, b]

    assert world.task(b).attempts == 1
    leaves_nothing(world)
