"""What a check finds of pools, leases, batches and lifetimes; that it repairs them, and disturbs nobody."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from mahavishnu_pools import names
from mahavishnu_pools.checks.run import check
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import batches, leases, pools, tasks
from mahavishnu_pools.store.calls import script
from mahavishnu_pools.store.client import AsyncStore
from tests.fixtures.valkey import PrivateValkey
from tests.store.inspection import Check, assert_found_and_mended, busy, kinds, run_everything
from tests.store.world import World

LUA = Path(pools.__file__).parent / "lua"


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

    batch = world.run(batches.read_batch("b1"))
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
    plan = batches.Follower(follower, (pool,), pool)
    world.run(batches.seal("b1", follower=plan, client=None, result_ttl=60))
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
    assert sorted(durations)[len(durations) // 2] < 100_000  # microseconds, on a machine that may be busy
    world.store.close()
