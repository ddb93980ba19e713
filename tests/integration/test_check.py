"""What a check finds of tasks and claims, and that repairing it leaves nothing to find and loses no task."""

from __future__ import annotations

import json

from mahavishnu_pools import names
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store import batches, pools, tasks
from tests.store.inspection import Check, assert_found_and_mended, busy, kinds, run_everything
from tests.store.world import World


async def test_a_world_in_order_has_no_findings(world: World, look: Check) -> None:
    busy(world)
    world.submit(3, batch="b1")
    world.run(batches.seal("b1", follower=None, client=None, result_ttl=60))

    report = await look(repair=True)

    assert kinds(report) == set()
    assert report.keys["task"] == 15
    assert report.server.append_only is True
    assert abs(report.clock_skew) < 1


async def test_nothing_stored_is_healthy(look: Check) -> None:
    report = await look()

    assert (report.status, report.findings) == ("healthy", ())


async def test_a_waiting_task_without_message_is_queued_again(world: World, look: Check) -> None:
    pool, _, _ = busy(world)
    queue = world.key("queue", pool) + names.PRIORITY_SEPARATOR + "4"
    message = world.redis.lindex(queue, 1)
    lost = json.loads(message)["headers"]["id"]
    world.redis.lrem(queue, 1, message)
    world.run(pools.reindex())

    await assert_found_and_mended(look, "message_lost")

    assert world.places([pool])[lost] == 1
    assert world.task(lost).status == "queued"


async def test_a_retrying_task_without_message_is_queued_again(world: World, look: Check) -> None:
    pool, _, _ = busy(world)
    (member,) = world.redis.zrange(world.key("delayed", pool), 0, -1)
    world.redis.zrem(world.key("delayed", pool), member)
    world.run(pools.reindex())

    await assert_found_and_mended(look, "message_lost")

    assert world.places([pool])[member.split("\n")[0]] == 1


async def test_a_repair_repeated_queues_a_task_once(world: World, look: Check) -> None:
    pool = world.pool("p")
    (task_id,) = world.to(pool)
    world.redis.delete(world.key("queue", pool) + names.PRIORITY_SEPARATOR + "4")

    await look(repair=True)
    await look(repair=True)

    assert world.places([pool])[task_id] == 1
    assert run_everything(world, pool) == 1
    assert world.task(task_id).status == "completed"


async def test_a_running_task_that_no_lease_holds_is_queued_again(world: World, look: Check) -> None:
    pool, lease, claims = busy(world)
    world.redis.hdel(world.key("claims", lease), claims[0].number)
    world.run(pools.reindex())

    await assert_found_and_mended(look, "claim_lost")

    assert world.task(claims[0].task_id).status == "queued"
    assert world.places([pool], [lease])[claims[0].task_id] == 1
    late = world.run(world.finish_call(world.held(lease, pool, claims[0])))
    assert late == "fenced"


async def test_a_lost_task_whose_cancel_was_asked_for_is_cancelled(world: World, look: Check) -> None:
    _, lease, claims = busy(world)
    world.run(tasks.cancel(claims[0].task_id, reason="enough", result_ttl=60))
    world.redis.hdel(world.key("claims", lease), claims[0].number)
    world.run(pools.reindex())

    await look(repair=True)

    assert world.task(claims[0].task_id).status == "cancelled"
    assert world.task(claims[0].task_id).error == "enough"


async def test_a_cancelled_task_whose_message_is_gone_hides_no_other_task(world: World, look: Check) -> None:
    pool, _, _ = busy(world)
    waiting = world.read_pool(pool).queued
    world.redis.sadd(world.key("ended", pool), "task_gone", "task_gone_too")
    world.run(pools.reindex())
    assert world.read_pool(pool).queued == waiting - 2

    await assert_found_and_mended(look, "ended_stale")

    assert world.read_pool(pool).queued == waiting
    assert world.index_is_true()


async def test_a_users_celery_task_that_was_lost_has_failed_because_only_its_message_knew_its_arguments(
    world: World, look: Check
) -> None:
    pool = world.pool("p")
    world.push_raw(pool, world.stock_message("stock-1"))
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    world.redis.hdel(world.key("claims", lease), claim.number)
    world.run(pools.reindex())

    await assert_found_and_mended(look, "claim_lost")

    assert world.task("stock-1").status == "failed"
    assert "Submit it again" in (world.task("stock-1").error or "")


async def test_a_lost_task_of_a_closing_pool_becomes_a_dead_letter(world: World, look: Check) -> None:
    pool = world.pool("p")
    (task_id,) = world.to(pool)
    world.redis.delete(world.key("queue", pool) + names.PRIORITY_SEPARATOR + "4")
    world.run(pools.change_pool(pool, status=PoolStatus.STOPPED))

    await look(repair=True)

    assert world.task(task_id).status == "dead"
    letter = world.redis.hgetall(world.key("dead_letter", task_id))
    assert json.loads(letter["message"])["headers"]["id"] == task_id


async def test_messages_of_stock_producers_without_record_are_a_note_and_no_fault(world: World, look: Check) -> None:
    pool = world.pool("p")
    world.push_raw(pool, world.stock_message("stock-1"))

    report = await look(repair=True)

    assert kinds(report) == {"message_unrecorded"}
    assert [one.level for one in report.findings if one.kind == "message_unrecorded"] == ["note"]


async def test_a_claim_whose_task_has_its_outcome_is_released(world: World, look: Check) -> None:
    pool, lease, claims = busy(world)
    world.redis.hset(world.key("task", claims[0].task_id), mapping={"status": "completed", "finished_by": "other:1"})
    world.redis.expire(world.key("task", claims[0].task_id), 60)

    await assert_found_and_mended(look, "claim_ended")

    assert world.run(world.finish_call(world.held(lease, pool, claims[0]), output="second")) == "fenced"


async def test_a_claim_without_record_gets_one_and_can_end(world: World, look: Check) -> None:
    pool, lease, claims = busy(world)
    world.redis.delete(world.key("task", claims[0].task_id))

    await assert_found_and_mended(look, "claim_unrecorded")

    assert world.run(world.finish_call(world.held(lease, pool, claims[0]))) == "ok"
