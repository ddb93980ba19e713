"""What a check finds in stored state, and that repairing it leaves nothing to find and loses no task."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest_asyncio

from mahavishnu_pools import names
from mahavishnu_pools.checks.run import CheckReport, check
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import leases, pools, tasks
from mahavishnu_pools.store.calls import script
from mahavishnu_pools.store.client import AsyncStore
from tests.fixtures.valkey import PrivateValkey
from tests.store.world import World

Check = Callable[..., Awaitable[CheckReport]]

LUA = Path(pools.__file__).parent / "lua"

#: Found in a world without agents, and none of these tests' business.
WITHOUT_AGENTS = {"no_agent", "server_connections"}


@pytest_asyncio.fixture
async def look(settings: Settings) -> AsyncIterator[Check]:
    assert settings.redis_url is not None
    async with AsyncStore.from_settings(settings, settings.redis_url.get_secret_value()) as store:

        async def run(*, repair: bool = False) -> CheckReport:
            return await check(store, settings, repair=repair)

        yield run


def kinds(report: CheckReport) -> set[str]:
    return set(report.found) - WITHOUT_AGENTS


async def assert_found_and_mended(look: Check, *wanted: str) -> None:
    """Find the same thing twice without repairing, then repair it, then find nothing."""
    assert kinds(await look()) == set(wanted)
    assert kinds(await look()) == set(wanted)
    assert set((await look(repair=True)).repaired) == set(wanted)
    assert kinds(await look()) == set()


def run_everything(world: World, *pool_ids: str) -> int:
    """Claim and complete whatever waits; returns how many tasks ran."""
    ran = 0
    for pool_id in pool_ids:
        lease = world.lease(pool_id)
        while some := world.claim(lease, pool_id, 50):
            for claim in some:
                assert world.run(world.finish_call(world.held(lease, pool_id, claim))) == "ok"
                ran += 1
        world.reap(lease, cause="node")
    return ran


def busy(world: World) -> tuple[str, str, list[leases.Claim]]:
    """Make a pool with tasks that wait, run, retry, are suspect and are done."""
    pool = world.pool("busy", workers=4)
    ids = world.to(pool, 12)
    lease = world.lease(pool)
    claims = world.claim(lease, pool, 5)
    world.run(world.finish_call(world.held(lease, pool, claims[0])))
    world.run(leases.retry(world.held(lease, pool, claims[1]), outcome="{}", delay=60))
    crashed = world.lease(pool)
    world.claim(crashed, pool, 3)
    world.reap(crashed, cause="loss")
    world.run(tasks.cancel(ids[-1], reason="no", result_ttl=60))
    return pool, lease, claims[2:]


async def test_a_world_in_order_has_no_findings(world: World, look: Check) -> None:
    busy(world)
    world.submit(3, batch="b1")
    world.run(tasks.seal("b1", follower=None, client=None, result_ttl=60))

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
    world.redis.lpop(queue)  # the one that was cancelled: no message is missed
    lost = json.loads(world.redis.lpop(queue))["headers"]["id"]
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


async def test_a_load_that_is_off_is_corrected(world: World, look: Check) -> None:
    pool, _, _ = busy(world)
    world.redis.zincrby(world.key("load"), 7, world.redis.hget(world.key("pool", pool), "member"))

    await assert_found_and_mended(look, "load_off")

    assert world.index_is_true()


async def test_a_missing_entry_of_the_load_index_is_made(world: World, look: Check) -> None:
    busy(world)
    world.redis.delete(world.key("load"))

    await assert_found_and_mended(look, "load_off")


async def test_entries_of_pools_and_leases_that_do_not_exist_are_removed(world: World, look: Check) -> None:
    pool, _, _ = busy(world)
    ghost = names.new_pool_id()
    for order in ("pools", "turns", "affinity_turns"):
        world.redis.zadd(world.key(order), {ghost: 1})
    world.redis.zadd(world.key("load"), {f"{7:015d}:{ghost}": 1})
    world.redis.hset(world.key("pool_names"), "ghost", ghost)
    world.redis.sadd(world.key("pool_leases", pool), "ghost-lease")

    await assert_found_and_mended(
        look,
        *(f"registry_{one}" for one in ("pools", "turns", "affinity_turns", "load", "pool_names", "pool_leases")),
    )


async def test_a_lease_its_pool_does_not_know_is_made_known(world: World, look: Check) -> None:
    pool, lease, _ = busy(world)
    world.redis.srem(world.key("pool_leases", pool), lease)
    world.run(pools.reindex())

    assert kinds(await look()) == {"registry_leases"}
    await look(repair=True)
    await look(repair=True)  # only then the load could be seen to be off

    assert kinds(await look()) == set()
    assert world.index_is_true()


async def test_claims_of_a_lease_nobody_knows_are_handed_back(world: World, look: Check) -> None:
    pool, lease, claims = busy(world)
    world.redis.hdel(world.key("leases"), lease)
    world.redis.srem(world.key("pool_leases", pool), lease)
    world.run(pools.reindex())

    found = await look()
    assert "lease_unknown" in kinds(found)
    await look(repair=True)
    await look(repair=True)

    assert kinds(await look()) == set()
    assert all(world.places([pool])[claim.task_id] == 1 for claim in claims)
    assert world.redis.exists(*(world.key(name, lease) for name in ("claims", "reply", "cancels"))) == 0


async def test_what_a_closed_pool_left_is_removed_and_its_tasks_are_ended(world: World, look: Check) -> None:
    pool, ghost = world.pool("p"), names.new_pool_id()
    (task_id,) = world.to(pool)
    for name in ("groups", "recent", "bell", "binding"):
        world.redis.set(world.key(name, ghost), "x")
    world.push_raw(ghost, world.stock_message("stock-9"), bucket=3)
    world.redis.zadd(world.key("delayed", ghost), {f"stock-8\n0\n{world.stock_message('stock-8')}": 1e12})

    await assert_found_and_mended(look, "pool_remains")

    assert world.task("stock-9").status == world.task("stock-8").status == "cancelled"
    assert world.task(task_id).status == "queued"
    assert not [key for key in world.redis.scan_iter(world.store.prefix + "*") if ghost in key]


async def test_a_lease_of_a_pool_that_is_gone_is_reaped_when_nobody_keeps_it(world: World, look: Check) -> None:
    pool, lease, _ = busy(world)
    left = world.places([pool], [lease])
    world.redis.delete(world.key("pool", pool))
    alive = await look(repair=True)
    assert "lease_of_gone_pool" in alive.found
    assert "lease_of_gone_pool" not in alive.repaired
    world.redis.delete(world.key("lease", lease))

    for _ in range(3):
        await look(repair=True)

    assert kinds(await look()) == set()
    assert all(world.task(task_id).done for task_id in left)
    assert not [key for key in world.redis.scan_iter(world.store.prefix + "*") if pool in key or lease in key]


async def test_the_counts_of_a_batch_are_those_of_its_members(world: World, look: Check) -> None:
    pool = world.pool("p")
    world.submit(3, batch="b1")
    lease = world.lease(pool)
    for claim, status in zip(world.claim(lease, pool, 2), ("completed", "failed"), strict=True):
        world.run(world.finish_call(world.held(lease, pool, claim), status=status))
    world.redis.hset(world.key("batch", "b1"), mapping={"total": 9, "successful": 5, "failed": 0})

    await assert_found_and_mended(look, "batch_counts")

    batch = world.run(tasks.read_batch("b1"))
    assert batch is not None
    assert (batch.total, batch.successful, batch.failed) == (3, 1, 1)


async def test_members_that_expired_do_not_make_a_batch_wrong(world: World, look: Check) -> None:
    pool = world.pool("p")
    ids = world.submit(3, batch="b1")
    run_everything(world, pool)
    world.redis.delete(*(world.key("task", one) for one in ids[:2]))

    assert kinds(await look()) == set()


async def test_what_follows_a_batch_is_started_when_all_have_ended(world: World, look: Check) -> None:
    pool = world.pool("p")
    world.submit(2, batch="b1")
    follower = world.envelopes(1)[0]
    plan = tasks.Follower(follower, (pool,), pool)
    world.run(tasks.seal("b1", follower=plan, client=None, result_ttl=60))
    assert kinds(await look()) == set()
    run_everything(world, pool)
    # As if the last outcome had not started it.
    world.redis.hset(world.key("batch", "b1"), "then", plan.text())
    world.redis.hset(world.key("task", follower.task_id), "status", "queued")
    world.redis.persist(world.key("task", follower.task_id))

    await assert_found_and_mended(look, "batch_stuck")

    assert run_everything(world, pool) == 1


async def test_keys_that_would_stay_for_ever_get_a_lifetime(world: World, look: Check) -> None:
    pool = world.pool("p")
    (task_id,) = world.run(
        tasks.submit(world.envelopes(1, idempotency_key="key"), Choice("pool", pool=pool), client="c")
    )
    run_everything(world, pool)
    for name, of in (("task", task_id.task_id), ("meta", task_id.task_id)):
        assert world.redis.persist(world.key(name, of))
    world.redis.set(world.key("idem", "lost"), "task_nobody")
    world.redis.xadd(world.key("log", "task_x"), {"s": "stdout", "t": "x"})
    world.redis.set(world.key("affinity", "k"), pool)
    world.redis.set(world.key("gone", "old"), "1")

    await assert_found_and_mended(
        look, "record_endless", "meta_endless", "idem_endless", "log_endless", "affinity_endless", "gone_endless"
    )

    assert world.redis.ttl(world.key("idem", "lost")) > 0


async def test_results_a_users_own_application_keeps_for_ever_are_left_alone(world: World, look: Check) -> None:
    world.redis.set(world.key("meta", "6d3a9c3e-0000-4000-8000-000000000000"), "{}")

    assert kinds(await look(repair=True)) == set()


async def test_a_check_of_a_busy_world_finds_nothing_that_is_only_on_its_way(world: World, look: Check) -> None:
    pool_ids = [world.pool(f"p{n}", workers=3) for n in range(3)]
    end = threading.Event()
    other = World(world.store.url, world.store.namespace)

    def work() -> None:
        mine = {pool: other.lease(pool) for pool in pool_ids}
        while not end.is_set():
            other.submit(20, batch="b" + secrets.token_hex(3))
            for pool, lease in mine.items():
                for number, claim in enumerate(other.claim(lease, pool, 7)):
                    held = other.held(lease, pool, claim)
                    retry = leases.retry(held, outcome="{}", delay=0.01)
                    other.run((retry, leases.hand_back(held), other.finish_call(held))[number % 3])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        found = [kinds(await look()) for _ in range(10)]
    finally:
        end.set()
        thread.join()
        other.store.close()

    assert found == [set()] * 10


async def test_a_check_keeps_the_server_busy_only_for_moments(
    own_valkey_server: PrivateValkey, namespace: str, settings: Settings
) -> None:
    world = World(own_valkey_server.url, namespace)
    pool = world.pool("p")
    for _ in range(20):
        world.to(pool, 300)
    shas = {script(file.stem).sha for file in LUA.glob("check_*.lua")}
    world.redis.config_set("slowlog-log-slower-than", 0)
    world.redis.config_set("slowlog-max-len", 10_000)
    world.redis.slowlog_reset()

    async with AsyncStore(own_valkey_server.url, namespace=namespace) as store:
        report = await check(store, settings)

    entries = [(str(one["command"]), one["duration"]) for one in world.redis.slowlog_get(10_000)]
    durations = [duration for command, duration in entries if any(sha in command for sha in shas)]
    assert report.keys["task"] == 6000
    assert len(durations) > 50
    assert sorted(durations)[len(durations) // 2] < 20_000  # microseconds; a single one may meet a busy machine
    world.store.close()
