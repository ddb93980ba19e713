"""Nothing stays for ever: after all kinds of work a key has a lifetime, or it is one of the few that stay small."""

from __future__ import annotations

import json
import re

import pytest

from mahavishnu_pools.checks.keyspace import owner_of
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.store import batches, leases, logs, moves, pools, tasks
from mahavishnu_pools.store.keys import KEYS
from mahavishnu_pools.store.node_names import claim_name
from mahavishnu_pools.store.node_reports import ask_nodes
from mahavishnu_pools.store.task_briefs import read_briefs
from tests.store.world import RESULT_TTL, World

#: Keys that are kept, and the most entries each may have once all pools are closed and all nodes have left; indexes by
#: pool are empty then.
KEPT = {
    "registry": 1,
    "seq": 1,
    "events": 400,  # those of the test
    "outbox_count": 1,
    "outbox_id": 1,
    "instance": 1,
    "bus_count": 7,  # one field a type of message
    "sink": 20,  # fields of one; there are as many as memory servers
    "periodic": 20,  # more are dropped
    "dead": 100,  # the dead letters of the test
    "dead_letter": 10,  # fields of one
}

#: Lifetimes that a clean-up ends: whatever closes the pool, reaps the lease or takes the node out.
CLEANED = {
    "until closed",
    "until released or reaped",
    "until left or forgotten",
    "until removed",
    "until they have ended",
    "until decided",
    "until decided or over",
}

#: Indexes and lists that closing the last pool empties.
EMPTIED = {"pools", "pool_names", "load", "turns", "affinity_turns"}

LIFETIME = re.compile(
    r"\d+ (day|hour|minute)s?\b|some seconds|result_expires|with the (task|batch)|lease_ttl|node_lost_after"
)


def test_every_key_of_the_table_has_a_lifetime_or_a_cleaner_or_is_kept_and_small() -> None:
    stored = [key for key in KEYS if key.kind not in ("-", "channel")]
    unaccounted = [
        key.name
        for key in stored
        if not (LIFETIME.search(key.lifetime) or key.lifetime in CLEANED or key.name in KEPT | dict.fromkeys(EMPTIED))
    ]

    assert unaccounted == []
    assert {key.name for key in stored if key.lifetime == "kept"} <= KEPT.keys() | EMPTIED


def work(world: World) -> list[str]:
    """Have everything happen that a task can meet; returns the pools."""
    ids = [world.pool(f"p{n}", workers=2) for n in range(3)]
    a, b, _ = ids
    world.run(pools.node_beat(pools.NodeInfo(name="n", pid=1, started=1.0), {a: None}, ttl=60))
    world.run(claim_name("n", "agent"))
    world.run(ask_nodes())
    for strategy in ("least_loaded", "round_robin", "random", "affinity"):
        some = world.envelopes(4, idempotency_key=f"key-{strategy}")
        choice = Choice(strategy, affinity="user-7", random=0.5)
        for _ in range(2):
            world.run(tasks.submit(some, choice, client="c", counted=strategy))
        again = world.envelopes(1, idempotency_key=f"key-{strategy}")
        world.run(tasks.submit(again, choice, batch=f"known-{strategy}"))
    batched(world, a)
    endings(world, a)
    losses(world, b)
    strangers(world, a)
    (waiting,) = world.to(a)
    world.run(tasks.cancel(waiting, reason="no", result_ttl=RESULT_TTL))
    world.to(a, 3, expires=0.001)
    lots = world.run(moves.count_waiting(a, "4")).lots
    order = moves.MoveOrder(a, b, "4", -1, {lot: 1 for lot in lots if lot})
    assert world.run(moves.move(order, request="m")).count > 0
    return ids


def batched(world: World, pool: str) -> None:
    world.to(pool, 3, batch="b1")
    plan = batches.Follower(world.envelopes(1)[0], (pool,), pool)
    world.run(batches.seal("b1", follower=plan, client="c", result_ttl=RESULT_TTL))
    world.to(pool, 2, batch="b2")


def endings(world: World, pool: str) -> None:
    world.to(pool, 6)
    lease = world.lease(pool)
    done, again, back, asked, *_ = world.claim(lease, pool, 6)
    world.run(logs.write_log(done.task_id, [("stdout", "x"), ("stdout", "y")], ttl=RESULT_TTL))
    entries = [piece.entry for piece in world.run(logs.read_log(done.task_id))]
    world.run(logs.drop_log(done.task_id, entries[:1], mark_after=entries[0]))
    world.run(world.finish_call(world.held(lease, pool, done)))
    world.run(leases.retry(world.held(lease, pool, again), outcome="{}", delay=0))
    world.run(leases.hand_back(world.held(lease, pool, back)))
    world.run(tasks.cancel(asked.task_id, reason="no", result_ttl=RESULT_TTL))
    world.reap(lease, cause="node")


def losses(world: World, pool: str) -> None:
    world.to(pool, 2)
    world.to(pool, 1, on_worker_lost="fail")
    for cause in ("loss", "kill", "kill"):
        lease = world.lease(pool)
        world.claim(lease, pool, 5)
        world.reap(lease, cause=cause)
    for _ in range(3):
        lease = world.lease(pool)
        assert world.claim(lease, pool, alone=True)
        world.reap(lease)


def strangers(world: World, pool: str) -> None:
    world.push_raw(pool, "no message at all")
    world.push_raw(pool, world.stock_message("stock-1"))
    world.push_raw(pool, world.stock_message("stock-2", eta="2999-01-01T00:00:00+00:00"))
    world.push_raw(pool, world.stock_message("stock-3", expires="2001-01-01T00:00:00+00:00"))
    world.redis.sadd(world.key("binding", pool), "x")
    for n in range(50):
        world.redis.lpush(world.key("periodic"), world.stock_message(f"tick-{n}", task="mahavishnu.periodic.tick"))
    world.run(pools.reindex())


def finish_everything(world: World, ids: list[str]) -> None:
    for pool in ids:
        lease = world.lease(pool)
        for alone in (False, True):
            while some := world.claim(lease, pool, 20, alone=alone):
                for claim in some:
                    assert world.run(world.finish_call(world.held(lease, pool, claim))) == "ok"
        world.reap(lease, cause="node")


def close_everything(world: World, ids: list[str]) -> None:
    for pool in ids:
        world.run(pools.change_pool(pool, status=PoolStatus.STOPPED))
        while world.run(pools.empty_pool(pool, reason="closed", result_ttl=RESULT_TTL)):
            continue
        assert world.run(pools.remove_pool(pool)) is None
    world.run(pools.node_leave("n"))


def kept_keys(world: World) -> dict[str, str]:
    """Return the keys without a lifetime: key and family."""
    by_pattern = {key.pattern: key.name for key in KEYS}
    found = {}
    for name in world.redis.scan_iter(world.store.prefix + "*"):
        if world.redis.ttl(name) == -1:
            bare = name.removeprefix(world.store.prefix)
            owner = owner_of(bare)
            found[name] = owner[0] if owner else by_pattern.get(bare, "unknown")
    return found


def size_of(world: World, name: str) -> int:
    sizes = {"hash": "HLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD", "stream": "XLEN"}
    kind = world.redis.type(name)
    return int(world.redis.execute_command(sizes[kind], name)) if kind in sizes else 1


def sizes(world: World) -> dict[str, int]:
    """Return the sizes of what is kept, but for the events, whose number is limited."""
    return {name: size_of(world, name) for name, family in kept_keys(world).items() if family != "events"}


@pytest.mark.parametrize("finished", [True, False])
def test_after_all_pools_are_closed_only_small_keys_are_kept(world: World, finished: bool) -> None:
    ids = work(world)
    if finished:
        finish_everything(world, ids)

    close_everything(world, ids)

    left = kept_keys(world)
    assert {family for family in left.values() if family not in KEPT} == set(), left
    assert [name for name, family in left.items() if size_of(world, name) > KEPT[family]] == []
    letters = set(world.redis.scan_iter(world.key("dead_letter", "*")))
    assert letters == {world.key("dead_letter", one) for one in world.redis.zrange(world.key("dead"), 0, -1)}


def test_what_lives_on_with_a_pool_is_bounded_while_it_works(world: World) -> None:
    pool = world.pool("p")
    for _ in range(15):
        world.to(pool, 100, affinity="one")
        finish_everything(world, [pool])
    figures, bell = world.key("figures", pool), world.key("bell", pool)
    before = {key: size for key, size in sizes(world).items() if key not in (figures, bell)}

    for _ in range(15):
        world.to(pool, 100, affinity="one")
        finish_everything(world, [pool])

    after = sizes(world)
    assert {key: size for key, size in after.items() if key not in (figures, bell)} == before
    assert after[figures] < 30  # a field for each kind of outcome and run time
    # The outbox has limits of its own (test_outbox).
    assert world.redis.llen(world.key("recent", pool)) == 1000


def test_the_bell_of_a_pool_keeps_the_newest_entry_and_few_older_ones(world: World) -> None:
    pool = world.pool("p")
    bell = world.key("bell", pool)
    for _ in range(300):
        world.to(pool)
    (before, _), *_ = world.redis.xrevrange(bell, count=1)

    world.to(pool)

    (newest, _), *_ = world.redis.xrevrange(bell, count=1)
    assert newest != before
    # Only whole nodes of a stream are dropped; one has a hundred entries.
    assert world.redis.xlen(bell) <= 200


def test_periodic_work_is_no_task_of_the_pool_that_does_it(world: World) -> None:
    pool = world.pool("quiet")
    (task_id,) = world.to(pool)
    world.redis.lpush(world.key("periodic"), world.stock_message("tick", task="mahavishnu.periodic.tick"))
    lease = world.lease(pool)

    claims = {claim.task_id for claim in world.claim(lease, pool, 5)}

    assert claims == {task_id, "tick"}
    assert world.read_pool(pool).running == 1
    briefs = world.run(read_briefs([task_id, "tick"]))
    assert [brief.periodic for brief in briefs] == [False, True]


def test_periodic_work_is_left_out_however_many_tasks_run_beside_it(world: World) -> None:
    pool = world.pool("busy")
    world.to(pool, 20)
    lease = world.lease(pool)

    def tick(name: str) -> leases.Claim:
        message = world.stock_message(name, task="mahavishnu.periodic.tick")
        world.redis.lpush(world.key("periodic"), message)
        (claim,) = (one for one in world.claim(lease, pool, 30) if one.task_id == name)
        return claim

    first = tick("first")
    assert world.read_pool(pool).running == 20
    world.run(world.finish_call(world.held(lease, pool, first)))
    assert world.read_pool(pool).running == 20
    second, third = tick("second"), tick("third")

    assert world.read_pool(pool).running == 20
    # Only claims that are held are kept in mind.
    assert world.redis.hget(world.key("reply", lease), "periodic") == f"{third.number},{second.number}"


def test_periodic_work_that_was_handed_back_is_no_task_of_its_pool_either(world: World) -> None:
    pool = world.pool("quiet")
    world.redis.lpush(world.key("periodic"), world.stock_message("tick", task="mahavishnu.periodic.tick"))
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool, 5)
    world.run(leases.hand_back(world.held(lease, pool, claim)))

    other = world.lease(pool)

    assert [one.task_id for one in world.claim(other, pool, 5)] == ["tick"]
    assert world.read_pool(pool).running == 0


def test_periodic_tasks_that_nobody_has_a_worker_for_do_not_pile_up(world: World) -> None:
    for n in range(100):
        world.redis.lpush(world.key("periodic"), json.dumps({"n": n}))

    world.run(pools.reindex())

    left = [json.loads(text)["n"] for text in world.redis.lrange(world.key("periodic"), 0, -1)]
    assert left == list(range(99, 79, -1))


def test_a_batch_whose_tasks_were_all_known_before_ends_with_them(world: World) -> None:
    pool = world.pool("p")
    choice = Choice("least_loaded")
    world.run(tasks.submit(world.envelopes(1, idempotency_key="k"), choice, batch="first"))

    world.run(tasks.submit(world.envelopes(1, idempotency_key="k"), choice, batch="second"))

    assert [world.redis.ttl(world.key("batch", one)) for one in ("first", "second")] == [-1, -1]
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    world.run(world.finish_call(world.held(lease, pool, claim)))
    world.run(tasks.submit(world.envelopes(1, idempotency_key="k"), choice, batch="third"))
    assert all(world.redis.ttl(world.key("batch", one)) > 0 for one in ("first", "second", "third"))
    world.run(tasks.submit(world.envelopes(1), choice, batch="third"))
    assert world.redis.ttl(world.key("batch", "third")) == -1
