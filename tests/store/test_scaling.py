"""What the autoscaler reads and writes: true figures, one node at a time, never over somebody else's change."""

from __future__ import annotations

import time

from mahavishnu_pools.store import limits, pools, scaling
from mahavishnu_pools.store.steps import run_steps_sync
from tests.store.world import World

TURN = 5.0


def look(world: World, *ids: str, node: str = "node1") -> dict[str, scaling.Sample]:
    return world.run(scaling.look(node, dict.fromkeys(ids, 1), turn=TURN))


def set_workers(world: World, pool_id: str, before: int, after: int, *, node: str = "node1") -> bool:
    return world.run(scaling.set_workers(pool_id, node, before=before, after=after, reason="why not"))


def test_what_waits_and_runs_is_seen_with_the_time_of_the_longest_waiting(world: World) -> None:
    pool_id = world.pool("a")
    ids = world.to(pool_id, 3)
    created = float(world.redis.hget(world.key("task", ids[0]), "created") or 0)

    sample = look(world, pool_id)[pool_id]

    assert (sample.workers, sample.queued, sample.running, sample.ended) == (1, 3, 0, 0)
    assert abs(sample.waited - (sample.at - created)) < 1e-3


def test_what_could_not_run_now_with_any_number_of_workers_does_not_count(world: World) -> None:
    pool_id = world.pool("a")
    world.to(pool_id, 2)
    soon, later = (world.stock_message(one) for one in ("soon", "later"))
    now = time.time()
    delayed = {f"soon\n0\n{soon}": now - 5, f"later\n0\n{later}": now + 600}
    world.redis.zadd(world.key("delayed", pool_id), delayed)
    world.redis.rpush(world.key("suspects", pool_id), "suspect\n0\n" + world.stock_message("suspect"))

    assert look(world, pool_id)[pool_id].queued == 3
    assert look(world, pool_id)[pool_id].rate is None
    run_steps_sync(world.store, limits.limit_rate(pool_id, rate="30/m"))
    assert look(world, pool_id)[pool_id].rate == 0.5


def test_a_pool_with_nothing_to_do_and_its_least_workers_is_left_out(world: World) -> None:
    idle, large = world.pool("idle"), world.pool("large", workers=4)

    assert list(look(world, idle, large)) == [large]


def test_messages_of_stock_producers_and_rubbish_do_not_hide_what_waits(world: World) -> None:
    pool_id = world.pool("a")
    world.push_raw(pool_id, "rubbish")
    world.push_raw(pool_id, world.stock_message("not-ours"))
    world.run(pools.reindex())

    sample = look(world, pool_id)[pool_id]

    assert (sample.queued, sample.waited) == (2, 0.0)


def test_one_node_scales_a_pool_until_its_turn_is_over(world: World) -> None:
    pool_id = world.pool("a")
    world.to(pool_id, 3)
    look(world, pool_id)

    assert look(world, pool_id, node="node2") == {}
    assert not set_workers(world, pool_id, 1, 3, node="node2")
    world.redis.delete(world.key("scaler", pool_id))
    assert list(look(world, pool_id, node="node2")) == [pool_id]
    assert not set_workers(world, pool_id, 1, 3, node="node1")
    assert world.read_pool(pool_id).workers == 1


def test_a_repeated_change_is_done_once_and_one_over_another_change_not_at_all(world: World) -> None:
    pool_id = world.pool("a")
    world.to(pool_id, 4)
    look(world, pool_id)

    assert set_workers(world, pool_id, 1, 4)
    assert set_workers(world, pool_id, 1, 4)
    assert not set_workers(world, pool_id, 1, 2)

    record = world.read_pool(pool_id)
    assert (record.workers, record.scaled_because) == (4, "why not")
    assert world.loads() == {pool_id: 1}
    assert world.index_is_true()


def test_a_limit_that_was_lowered_meanwhile_holds(world: World) -> None:
    pool_id = world.pool("a")
    world.to(pool_id, 4)
    look(world, pool_id)
    config = world.read_pool(pool_id).config.model_copy(update={"max_workers": 3})
    world.run(pools.change_pool(pool_id, config=config.model_dump_json()))

    assert not set_workers(world, pool_id, 1, 4)
    assert set_workers(world, pool_id, 1, 3)


def test_a_number_chosen_by_hand_is_told_until_the_autoscaler_changes_it(world: World) -> None:
    pool_id = world.pool("a")
    world.to(pool_id, 4)
    assert look(world, pool_id)[pool_id].chosen_at is None

    world.run(pools.change_pool(pool_id, workers=2))

    sample = look(world, pool_id)[pool_id]
    assert sample.chosen_at is not None
    assert 0 <= sample.at - sample.chosen_at < 60
    assert set_workers(world, pool_id, 2, 3)
    assert look(world, pool_id)[pool_id].chosen_at is None
