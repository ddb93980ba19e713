"""Moving waiting tasks between pools: nothing lost, nothing twice, the order kept, the loads true."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mahavishnu_pools import errors, names
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.store import leases, moves, pools, tasks
from mahavishnu_pools.store.moves import MoveOrder
from tests.store.world import World

PROMPT = "prompt\n\n\n"

#: The bucket of priority 5, which tasks have that name none.
BUCKET = "4"


def move(world: World, source: str, target: str, **how: Any) -> moves.Moved:
    fields = {"place": BUCKET, "window": -1, "quotas": {PROMPT: 1000}, **how}
    return world.run(moves.move(MoveOrder(source, target, **fields), request=secrets.token_hex(8)))


def move_all(world: World, source: str, target: str, **how: Any) -> int:
    window, total = -1, 0
    while window:
        moved = move(world, source, target, **{**how, "window": window})
        window, total = moved.window, total + moved.count
    return total


def order_of(world: World, pool_id: str, bucket: int = 4) -> list[str]:
    """Return the ids that wait in a bucket, the next one first."""
    name = world.key("queue", pool_id) + (names.PRIORITY_SEPARATOR + str(bucket) if bucket else "")
    return [json.loads(text)["headers"]["id"] for text in reversed(world.redis.lrange(name, 0, -1))]


def test_all_of_a_long_queue_moves_in_order_behind_what_waits_there(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    there = world.to(b, 3)
    ids = world.to(a, 250)

    assert move_all(world, a, b) == 250

    assert order_of(world, b) == there + ids
    assert order_of(world, a) == []
    assert {world.task(one).pool_id for one in ids} == {b}
    assert world.loads() == {a: 0, b: 253}
    assert world.index_is_true()


def test_the_newest_of_a_window_go_and_those_that_stay_keep_their_place(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    ids = world.to(a, 10)

    moved = move(world, a, b, window=4)

    assert (moved.count, moved.window, moved.lots) == (4, 0, {PROMPT: 4})
    assert order_of(world, a) == ids[:6]
    assert order_of(world, b) == ids[6:]


def test_a_quota_takes_the_oldest_of_the_window(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    ids = world.to(a, 10)

    moved = move(world, a, b, window=6, quotas={PROMPT: 2})

    assert moved.count == 2
    assert order_of(world, b) == ids[4:6]
    assert order_of(world, a) == ids[:4] + ids[6:]


def test_only_lots_with_a_quota_go(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    prompts = world.to(a, 2)
    shells = world.to(a, 2, prompt=None, task_type="shell", payload={"command": "true"})
    special = world.to(a, 1, worker_type="terminal-claude")
    mixed = world.run(moves.count_waiting(a, BUCKET))

    moved = move(world, a, b, quotas={"shell\n\n\n": 9, "prompt\nterminal-claude\n\n": 9})

    assert mixed.lots == ("prompt\nterminal-claude\n\n", *["shell\n\n\n"] * 2, *[PROMPT] * 2)
    assert moved.lots == {"shell\n\n\n": 2, "prompt\nterminal-claude\n\n": 1}
    assert order_of(world, b) == shells + special
    assert order_of(world, a) == prompts


def test_a_bucket_goes_to_the_same_bucket(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    high, low = world.to(a, 2, priority=9), world.to(a, 2, priority=0)

    for place in moves.PLACES:
        move_all(world, a, b, place=place)

    assert (order_of(world, b, 0), order_of(world, b, 9)) == (high, low)


def test_delayed_tasks_and_suspects_go_to_where_they_belong(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    late, suspect, other = world.to(a, 3)
    lease = world.lease(a)
    claims = {claim.task_id: claim for claim in world.claim(lease, a, 3)}
    world.run(leases.retry(world.held(lease, a, claims[late]), outcome='{"error": "busy"}', delay=60))
    world.reap(lease)
    before = world.redis.zrange(world.key("delayed", a), 0, -1, withscores=True)

    for place in moves.PLACES:
        move_all(world, a, b, place=place)

    after = world.redis.zrange(world.key("delayed", b), 0, -1, withscores=True)
    assert [(value.split("\n")[0], due) for value, due in after] == [(late, before[0][1])]
    assert world.read_pool(b).suspects == 2
    assert world.places([b]) == {late: 1, suspect: 1, other: 1}
    assert world.places([a]) == {}
    alone = world.claim(world.lease(b), b, 5, alone=True)
    assert [claim.task_id for claim in alone] == [suspect]
    assert world.task(late).status == "retrying"


def test_a_message_names_its_new_queue_and_nothing_else_of_it_changes(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    [task_id] = world.to(a, env={"X": f'"routing_key":"pool.{a}"'})
    [before] = world.redis.lrange(world.key("queue", a) + names.PRIORITY_SEPARATOR + BUCKET, 0, -1)
    stock = world.stock_message("stock", shadow=f'"routing_key": "pool.{a}"')
    stock = stock[:-2] + f', "delivery_info": {{"exchange": "", "routing_key": "pool.{a}"}}}}}}'
    world.push_raw(a, stock)

    move(world, a, b)
    move(world, a, b, place="0", quotas={"celery:user.task\n\n\n": 1})

    [after] = world.redis.lrange(world.key("queue", b) + names.PRIORITY_SEPARATOR + BUCKET, 0, -1)
    [moved] = world.redis.lrange(world.key("queue", b), 0, -1)
    ours, theirs = json.loads(after), json.loads(moved)
    assert ours["properties"]["delivery_info"].pop("routing_key") == f"pool.{b}"
    expected = json.loads(before)
    del expected["properties"]["delivery_info"]["routing_key"]
    assert ours == expected
    assert ours["headers"]["id"] == task_id
    assert theirs["properties"]["delivery_info"]["routing_key"] == f"pool.{b}"
    assert theirs["headers"] == json.loads(stock)["headers"]
    # A message of a stock client has no record before it is claimed; the move makes no half of one.
    assert world.run(tasks.read_tasks(["stock"])) == [None]
    assert [claim.task_id for claim in world.claim(world.lease(b), b, 5)] == ["stock", task_id]


def test_a_request_that_is_sent_again_moves_nothing_more(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    world.to(a, 10)
    call = moves.move(MoveOrder(a, b, BUCKET, 3, {PROMPT: 3}), request="once")

    first, again = world.run(call), world.run(call)

    assert first == again
    assert (len(order_of(world, a)), len(order_of(world, b))) == (7, 3)
    assert 0 < world.redis.ttl(world.key("moved", "once")) <= 60


def test_moving_for_evenness_stops_before_the_target_is_the_fuller_one(world: World) -> None:
    a, b = world.pool("a"), world.pool("b", workers=2)
    world.to(a, 9)

    moved = move(world, a, b, even=True)

    assert (moved.count, moved.even) == (6, True)
    assert world.loads() == {a: 3, b: 3}
    assert move(world, a, b, even=True).count == 0


def test_cancelled_tasks_are_left_behind_and_unreadable_messages_are_dead(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    ids = world.to(a, 3)
    world.run(tasks.cancel(ids[1], reason="no", result_ttl=60))
    world.push_raw(a, "rubbish", bucket=4)

    assert move(world, a, b).count == 2

    assert order_of(world, b) == [ids[0], ids[2]]
    assert world.places([a]) == {}
    assert world.task(ids[1]).status == "cancelled"
    assert world.redis.zcard(world.key("dead")) == 1
    assert world.index_is_true()


@pytest.mark.parametrize("status", [PoolStatus.DRAINING, PoolStatus.STOPPED, PoolStatus.FAILED])
def test_a_pool_that_takes_no_tasks_gets_none(world: World, status: PoolStatus) -> None:
    a, b = world.pool("a"), world.pool("b", status=status)
    ids = world.to(a, 3)

    with pytest.raises(errors.InvalidField, match=f"'b' is {status}"):
        move(world, a, b)

    assert order_of(world, a) == ids


def test_tasks_with_an_affinity_key_are_a_lot_of_their_own_while_their_pool_lives(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    sticky = world.submit(3, choice=Choice("affinity", affinity="k"))
    home = world.task(sticky[0]).pool_id
    assert home is not None
    other = b if home == a else a

    bound = world.run(moves.count_waiting(home, BUCKET))
    assert set(bound.lots) == {f"prompt\n\n\n{home}"}
    assert move(world, home, other).count == 0
    world.run(pools.change_pool(home, status=PoolStatus.DRAINING))

    assert move(world, home, other).count == 3


def test_a_census_reads_long_queues_in_pieces(world: World) -> None:
    a = world.pool("a")
    world.to(a, 500)
    world.to(a, 200)

    first = world.run(moves.count_waiting(a, BUCKET))
    second = world.run(moves.count_waiting(a, BUCKET, start=len(first.lots)))

    assert (first.total, len(first.lots), len(second.lots)) == (700, moves.CENSUS_CHUNK, 200)


def test_moves_claims_and_cancels_at_the_same_time_lose_and_double_nothing(world: World, redis_url: str) -> None:
    a, b = world.pool("a"), world.pool("b")
    ids = [task_id for _ in range(6) for task_id in world.to(a, 100)]
    open_leases = {world.lease(a): a, world.lease(b): b}
    worlds = [World(redis_url, world.store.namespace) for _ in range(4)]

    def back_and_forth(own: World) -> None:
        for _ in range(20):
            move(own, a, b, window=150)
            move(own, b, a, window=100)

    def claim(own: World, lease: str, pool_id: str) -> None:
        for _ in range(40):
            own.claim(lease, pool_id, 2)

    def cancel(own: World) -> None:
        for task_id in ids[::7]:
            own.run(tasks.cancel(task_id, reason="no", result_ttl=60))

    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(back_and_forth, worlds[0]), threads.submit(cancel, worlds[1])]
        jobs += [threads.submit(claim, own, *pair) for own, pair in zip(worlds[2:], open_leases.items(), strict=True)]
        for job in jobs:
            job.result()
    for own in worlds:
        own.store.close()

    places = world.places([a, b], list(open_leases))
    for task_id, result in zip(ids, world.run(tasks.read_tasks(ids)), strict=True):
        assert result is not None
        # One cancelled while it waited may leave its message to the next claim, which drops it.
        assert places[task_id] in ((0, 1) if result.status == "cancelled" else (1,))
    assert world.index_is_true()


def test_whoever_waits_at_either_pool_is_woken(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    world.to(a, 1)
    before = [world.redis.xrevrange(world.key("bell", one), count=1) for one in (a, b)]

    move(world, a, b)

    assert all(world.redis.xrevrange(world.key("bell", x), count=1) != y for x, y in zip((a, b), before, strict=True))


def test_the_turn_to_take_over_is_given_once_and_only_for_a_pool_that_nobody_runs(world: World) -> None:
    a = world.pool("a")
    node = pools.NodeInfo(name="n1", pid=1, started=1.0)
    group = pools.GroupInfo(node="n1", status="ready", workers=1)

    def ask(who: str) -> bool:
        return world.run(moves.take_turn(a, node=who, seconds=30))

    assert not ask("n2")  # nothing waits
    world.to(a, 1)
    world.run(pools.node_beat(node, {a: group}, ttl=60))
    assert not ask("n2")
    world.run(pools.node_beat(node, {a: group.model_copy(update={"status": "failed"})}, ttl=60))
    world.run(pools.change_pool(a, status=PoolStatus.PAUSED))
    assert not ask("n2")
    world.run(pools.change_pool(a, status=PoolStatus.RUNNING))

    assert (ask("n2"), ask("n3")) == (True, False)
