"""Claiming, finishing and taking back: fences, repeats, order, and messages of others."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.store import leases, pools, tasks
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.dead import replay_letters
from tests.store.world import RESULT_TTL, World


@pytest.fixture
def pool(world: World) -> str:
    return world.pool("p")


@pytest.fixture
def lease(world: World, pool: str) -> str:
    return world.lease(pool)


def test_a_claim_repeated_with_its_request_id_brings_the_same(world: World, pool: str, lease: str) -> None:
    world.to(pool, 5)
    call = world.claim_call(lease, pool, 3, request="r")

    first, again = world.run(call), world.run(call)

    assert first is not None
    assert again is not None
    assert len(first.claims) == 3
    assert again.claims == first.claims
    assert [claim.attempt for claim in again.claims] == [1, 1, 1]


def test_tasks_of_higher_priority_come_first_and_equals_in_order(world: World, pool: str, lease: str) -> None:
    sent = [(priority, world.to(pool, priority=priority)[0]) for priority in (0, 5, 9, 5, 9, 1, 0)]

    claimed = [claim.task_id for claim in world.claim(lease, pool, 10)]

    assert claimed == [task_id for _, task_id in sorted(sent, key=lambda pair: -pair[0])]


def test_an_outcome_is_written_once(world: World, pool: str, lease: str) -> None:
    (task_id,) = world.to(pool)
    (claim,) = world.claim(lease, pool)
    held = world.held(lease, pool, claim)

    endings = [world.run(world.finish_call(held, output="first")), world.run(world.finish_call(held, output="second"))]

    assert endings == ["ok", "again"]
    result = world.task(task_id)
    assert (result.status, result.output) == (TaskStatus.COMPLETED, "first")
    assert world.read_pool(pool).counts["completed"] == 1


def test_a_worker_whose_lease_was_reaped_can_write_nothing(world: World, pool: str, lease: str) -> None:
    (task_id,) = world.to(pool)
    (late,) = world.claim(lease, pool)
    world.reap(lease, cause="node")
    other = world.lease(pool)
    (claim,) = world.claim(other, pool)

    endings = [
        world.run(world.finish_call(world.held(lease, pool, late), output="late")),
        world.run(leases.retry(world.held(lease, pool, late), outcome="{}", delay=0)),
        world.run(leases.hand_back(world.held(lease, pool, late))),
        world.run(world.finish_call(world.held(other, pool, claim), output="right")),
    ]

    assert endings == ["fenced", "fenced", "fenced", "ok"]
    assert world.task(task_id).output == "right"
    assert world.run(world.claim_call(lease, pool)) is None
    assert world.run(leases.refresh_leases([lease, other], ttl=60)) == [False, True]


def test_a_task_handed_back_is_the_next_and_the_attempt_does_not_count(world: World, pool: str, lease: str) -> None:
    first, second = world.to(pool, 2)
    (claim,) = world.claim(lease, pool)
    held = world.held(lease, pool, claim)

    assert [world.run(leases.hand_back(held)), world.run(leases.hand_back(held))] == ["ok", "again"]
    claims = world.claim(lease, pool, 5)

    assert [(one.task_id, one.attempt) for one in claims] == [(first, 1), (second, 1)]


def test_a_retry_waits_until_it_is_due(world: World, pool: str, lease: str) -> None:
    (task_id,) = world.to(pool)
    (claim,) = world.claim(lease, pool)
    held = world.held(lease, pool, claim)

    assert [world.run(leases.retry(held, outcome='{"error": "busy"}', delay=60)) for _ in range(2)] == ["ok", "again"]

    found = world.run(world.claim_call(lease, pool, 5))
    assert found is not None
    assert found.claims == ()
    assert found.due == pytest.approx(time.time() + 60, abs=5)
    result = world.task(task_id)
    assert (result.status, result.error) == (TaskStatus.RETRYING, "busy")
    assert world.loads()[pool] == 1


def test_a_retry_that_is_due_runs_as_the_next_attempt(world: World, pool: str, lease: str) -> None:
    (task_id,) = world.to(pool)
    (claim,) = world.claim(lease, pool)
    world.run(leases.retry(world.held(lease, pool, claim), outcome="{}", delay=0))

    (again,) = world.claim(lease, pool)

    assert (again.task_id, again.attempt) == (task_id, 2)


def test_what_is_due_runs_in_the_order_of_its_times_before_the_rest(world: World, pool: str, lease: str) -> None:
    early, late, waiting = world.to(pool, 3)
    first, second = world.claim(lease, pool, 2)
    world.run(leases.retry(world.held(lease, pool, second), outcome="{}", delay=60))
    world.run(leases.retry(world.held(lease, pool, first), outcome="{}", delay=30))
    for member, due in world.redis.zrange(world.key("delayed", pool), 0, -1, withscores=True):
        world.redis.zadd(world.key("delayed", pool), {member: due - 120})

    assert [claim.task_id for claim in world.claim(lease, pool, 5)] == [early, late, waiting]


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8)), None], ids=str
)
@pytest.mark.parametrize("micros", [0, 123456])
def test_the_time_of_a_celery_message_is_read_in_every_zone(
    world: World, pool: str, lease: str, zone: timezone | None, micros: int
) -> None:
    now = datetime.now(UTC).replace(microsecond=micros)
    past, future = now - timedelta(hours=1), now + timedelta(hours=1)

    def written(moment: datetime) -> str:
        return moment.astimezone(zone).isoformat() if zone else moment.replace(tzinfo=None).isoformat()

    world.push_raw(pool, world.stock_message("later", eta=written(future)))
    world.push_raw(pool, world.stock_message("now", eta=written(past)))
    world.push_raw(pool, world.stock_message("expired", expires=written(past)))
    world.push_raw(pool, world.stock_message("fresh", expires=written(future)))

    found = world.run(world.claim_call(lease, pool, 10))

    assert found is not None
    assert [claim.task_id for claim in found.claims] == ["now", "fresh"]
    assert found.due == pytest.approx(future.timestamp(), abs=0.001)
    assert world.task("expired").status is TaskStatus.CANCELLED
    assert world.index_is_true()


@pytest.mark.parametrize("day", ["2024-02-29", "2024-03-01", "2026-12-31", "2027-01-01", "2100-03-01", "1999-12-31"])
def test_dates_are_counted_as_the_calendar_does(world: World, pool: str, lease: str, day: str) -> None:
    world.push_raw(pool, world.stock_message("t", eta=f"{day}T23:59:59Z"))
    moment = datetime.fromisoformat(f"{day}T23:59:59+00:00").timestamp()

    found = world.run(world.claim_call(lease, pool, 10))

    assert found is not None
    if moment > time.time():
        assert found.due == pytest.approx(moment)
    else:
        assert [claim.task_id for claim in found.claims] == ["t"]


def test_a_task_that_waited_longer_than_its_limit_is_cancelled(world: World, pool: str, lease: str) -> None:
    (task_id,) = world.to(pool, expires=0.001)
    until = time.time() + 0.01
    while time.time() < until:
        pass

    assert world.claim(lease, pool, 5) == []
    assert world.task(task_id).status is TaskStatus.CANCELLED
    assert "expires" in str(world.task(task_id).error)


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", "{}", '{"headers": {}}', '{"headers": {"id": 5, "task": "t"}, "properties": {}}', "null"],
)
def test_a_message_that_cannot_be_read_becomes_a_dead_letter_and_blocks_nobody(
    world: World, pool: str, lease: str, text: str
) -> None:
    world.push_raw(pool, text)
    (good,) = world.to(pool, priority=0)

    claims = world.claim(lease, pool, 5)

    assert [claim.task_id for claim in claims] == [good]
    (dead,) = world.redis.zrange(world.key("dead"), 0, -1)
    assert world.redis.hget(world.key("dead_letter", dead), "message") == text
    assert world.index_is_true()


def test_a_message_that_is_no_text_becomes_a_dead_letter(world: World, pool: str, lease: str) -> None:
    world.redis.lpush(world.key("queue", pool), b"\xff\xfe\x00")

    assert world.claim(lease, pool, 5) == []
    assert world.redis.zcard(world.key("dead")) == 1


def test_a_copy_of_a_finished_task_is_dropped(world: World, pool: str, lease: str) -> None:
    world.push_raw(pool, world.stock_message("t"))
    (claim,) = world.claim(lease, pool)
    world.run(world.finish_call(world.held(lease, pool, claim)))
    world.push_raw(pool, world.stock_message("t"))

    assert world.claim(lease, pool, 5) == []
    assert world.places([pool], [lease]) == {}


@pytest.mark.parametrize("status", [PoolStatus.PAUSED, PoolStatus.DRAINING, PoolStatus.STOPPED])
def test_a_pool_that_is_not_running_gives_nothing_out(world: World, pool: str, lease: str, status: PoolStatus) -> None:
    world.to(pool)
    world.run(pools.change_pool(pool, status=status))

    found = world.run(world.claim_call(lease, pool, 5))

    assert found is not None
    assert (found.claims, found.pool_status) == ((), status.value)


def test_cancelling_a_running_task_tells_its_worker(world: World, pool: str, lease: str) -> None:
    (task_id,) = world.to(pool)
    (claim,) = world.claim(lease, pool)

    assert world.run(tasks.cancel(task_id, reason="no", result_ttl=60)) == "asked"
    found = world.run(world.claim_call(lease, pool, 0))
    world.run(world.finish_call(world.held(lease, pool, claim), status="cancelled"))
    after = world.run(world.claim_call(lease, pool, 0))

    assert found is not None
    assert after is not None
    assert found.cancels == {task_id}
    assert after.cancels == frozenset()


def test_a_task_that_kills_its_worker_three_times_alone_is_given_up(world: World, pool: str) -> None:
    (task_id,) = world.to(pool)
    for _ in range(3):
        lease = world.lease(pool)
        world.claim(lease, pool)
        reaped = world.reap(lease)

    assert reaped.dead == 1
    assert world.task(task_id).status is TaskStatus.DEAD
    assert world.redis.zrange(world.key("dead"), 0, -1) == [task_id]
    assert world.places([pool]) == {}


def test_a_task_that_must_not_run_twice_fails_with_its_worker(world: World, pool: str, lease: str) -> None:
    (task_id,) = world.to(pool, on_worker_lost="fail")
    world.claim(lease, pool)

    assert world.reap(lease, cause="node").failed == 1
    assert world.task(task_id).status is TaskStatus.FAILED


def test_many_claims_are_reaped_in_pieces_and_keep_their_order(world: World, pool: str, lease: str) -> None:
    sent = world.to(pool, 450)
    world.claim(lease, pool, 450)
    after = world.to(pool, 3)

    first = world.run(leases.reap(lease, cause="node", result_ttl=RESULT_TTL))
    rest = world.reap(lease, cause="node")

    assert (first.requeued, first.left) == (200, 250)
    assert rest.requeued == 250
    again = world.lease(pool)
    assert [claim.task_id for claim in world.claim(again, pool, 500)] == sent + after
    assert world.run(leases.reap(lease, cause="node", result_ttl=RESULT_TTL)) == leases.Reaped(0, 0, 0, 0)


def test_a_task_that_was_read_ahead_has_the_times_of_its_run(world: World, pool: str, lease: str) -> None:
    world.to(pool, 2)
    first, second = (world.held(lease, pool, claim) for claim in world.claim(lease, pool, 2))
    claimed = world.task(first.task_id).started_at
    assert claimed is not None

    world.run(finish_at(first, waited=0.0001, ran=0.0002))
    world.run(finish_at(second, waited=3600.0, ran=60.0))

    one = world.task(first.task_id)
    assert (one.started_at, one.duration) == (claimed + timedelta(seconds=0.0001), pytest.approx(0.0002, abs=2e-6))
    other = world.task(second.task_id)
    assert other.started_at is not None
    assert other.finished_at is not None
    assert claimed <= other.started_at < other.finished_at < datetime.now(UTC) + timedelta(seconds=30)
    spent = (one.duration or 0) + (other.duration or 0)
    assert world.read_pool(pool).duration_sum == pytest.approx(spent, abs=4e-6)


def finish_at(held: leases.Held, *, waited: float, ran: float) -> Call[leases.Ending]:
    meta = json.dumps({"result": {}})
    return leases.finish(held, status="completed", outcome="{}", meta=meta, result_ttl=RESULT_TTL, times=(waited, ran))


def test_a_stock_celery_client_finds_the_result(world: World, pool: str, lease: str) -> None:
    (task_id,) = world.to(pool)
    (claim,) = world.claim(lease, pool)
    world.run(world.finish_call(world.held(lease, pool, claim), output="x"))

    meta = json.loads(world.redis.get(world.key("meta", task_id)))

    assert (meta["status"], meta["result"]["output"]) == ("SUCCESS", "x")


def test_a_lease_needs_a_pool(world: World) -> None:
    call = leases.open_lease(secrets.token_hex(4), pool_id="pool_0", node="n", pid=1, started=1.0, ttl=60)

    assert world.run(call) is False


def test_many_cancelled_messages_do_not_hold_the_server_up_and_leave_with_the_next_claims(
    world: World, pool: str, lease: str
) -> None:
    cancelled, kept = world.to(pool, 1800), world.to(pool, 2)
    answers = world.run(tasks.cancel_many(cancelled, reason="no", result_ttl=RESULT_TTL))
    assert set(answers) == {"cancelled"}
    assert world.read_pool(pool).queued == 2
    assert sum(world.places([pool]).values()) == 802

    replies = [world.run(world.claim_call(lease, pool, 5)) for _ in range(3)]

    assert [reply.more for reply in replies if reply] == [True, False, False]
    assert [claim.task_id for reply in replies if reply for claim in reply.claims] == kept
    assert world.read_pool(pool).queued == 0


def test_a_task_that_was_to_run_again_in_a_pool_that_is_gone_is_dead_and_may_be_replayed(world: World) -> None:
    pool, gone = world.pool("p"), world.pool("gone")
    world.push_raw(pool, world.stock_message("t"))
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    again = tasks.Envelope("t", "celery:user.task", "", 0, '{"headers":{"id":"t","task":"user.task"},"to":"', '"}')
    assert world.run(tasks.republish(again, pool_id=gone, due=None, lease=lease))
    world.run(pools.change_pool(gone, status=PoolStatus.STOPPED))
    assert world.run(pools.remove_pool(gone)) is None

    ended = leases.release(world.held(lease, pool, claim), status="completed", outcome="{}", result_ttl=60)

    assert world.run(ended) == "ok"
    died = f"It was to run again in the pool {gone}, which was closed meanwhile."
    assert (world.task("t").status, world.task("t").error) == (TaskStatus.DEAD, died)
    assert json.loads(world.redis.get(world.key("meta", "t")))["status"] == "FAILURE"
    world.run(replay_letters(["t"], pool_id=pool, request="r"))
    assert world.places([pool]) == {"t": 1}
