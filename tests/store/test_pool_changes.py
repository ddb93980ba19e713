"""Changes of a pool's configuration: of two at once none is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mahavishnu_pools import errors, names
from mahavishnu_pools.store import limits, pools
from mahavishnu_pools.store.calls import Argument
from mahavishnu_pools.store.pool_changes import change_as_read, change_by, give_pool_up, grow_pool
from mahavishnu_pools.store.pools import PoolRecord
from mahavishnu_pools.store.steps import run_steps_sync
from tests.store.nodes import Node
from tests.store.world import World


def one_worker_less(record: PoolRecord) -> dict[str, Argument]:
    config = record.config.model_copy(update={"max_workers": record.config.max_workers - 1})
    return {"config": config.model_dump_json()}


def test_a_change_that_comes_between_reading_and_writing_is_kept(world: World) -> None:
    pool = world.pool()
    most = world.read_pool(pool).config.max_workers
    first = limits.limit_rate(pool, rate="30/m")
    write = first.send(world.run(next(first)))

    run_steps_sync(world.store, change_by(pool, one_worker_less))
    assert world.run(write) is False
    again = first.send(world.run(first.send(False)))
    assert world.run(again) is True
    with pytest.raises(StopIteration):
        first.send(True)

    config = world.read_pool(pool).config
    assert (config.rate_limit, config.max_workers) == ("30/m", most - 1)


def test_of_many_changes_at_once_every_one_counts(world: World) -> None:
    pool = world.pool()
    most = world.read_pool(pool).config.max_workers

    def shrink(_: int) -> None:
        run_steps_sync(world.store, change_by(pool, one_worker_less))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(shrink, range(40)))

    assert world.read_pool(pool).config.max_workers == most - 40


def test_other_fields_may_change_meanwhile(world: World) -> None:
    pool = world.pool()
    record = world.read_pool(pool)
    world.run(pools.change_pool(pool, workers=5, status="paused"))

    assert world.run(change_as_read(record, one_worker_less(record))) is True


def test_a_pool_that_is_gone_is_not_changed(world: World) -> None:
    pool = world.pool()
    record = world.read_pool(pool)
    assert world.run(pools.remove_pool(pool)) is None

    with pytest.raises(errors.PoolNotFound):
        world.run(change_as_read(record, {"workers": 1}))
    with pytest.raises(errors.PoolNotFound):
        run_steps_sync(world.store, limits.limit_rate(names.new_pool_id(), rate=None))
    assert world.redis.exists(world.key("pool", pool)) == 0


def test_of_many_requests_for_more_and_fewer_workers_at_once_every_one_counts(world: World) -> None:
    pool = world.pool(workers=3)

    def grow(number: int) -> None:
        world.run(grow_pool(pool, 2 if number % 2 else 1))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(grow, range(40)))

    assert world.read_pool(pool).workers == 3 + 60
    assert world.index_is_true()
    assert world.run(grow_pool(pool, -60)) == 3


def test_a_repeated_request_for_more_workers_counts_once(world: World) -> None:
    pool = world.pool()
    call = grow_pool(pool, 2)

    assert [world.run(call), world.run(call)] == [3, 3]

    assert world.read_pool(pool).workers == 3
    assert world.redis.ttl(world.key("grown", str(call.arguments[0]))) > 0


@pytest.mark.parametrize("change", [-1, 1000])
def test_no_more_and_no_fewer_workers_than_the_limits_allow(world: World, change: int) -> None:
    pool = world.pool()

    with pytest.raises(errors.ScaleOutOfRange) as caught:
        world.run(grow_pool(pool, change))

    assert (caught.value.target, caught.value.min_workers, caught.value.max_workers) == (1 + change, 1, 1000)
    assert world.read_pool(pool).workers == 1
    with pytest.raises(errors.PoolNotFound):
        world.run(grow_pool("pool_none", 1))


def test_a_node_that_gives_a_pool_up_leaves_the_others_as_they_are_by_then(world: World) -> None:
    pool, nodes = world.pool(), ["a", "b", "c"]
    for node in nodes:
        Node(world, node, [])
        assert world.run(pools.assign_node(pool, node, replicas=3, first=True))

    assert [world.run(give_pool_up(pool, node)) for node in ("a", "a", "c")] == [True, False, True]

    assert world.read_pool(pool).assigned == ("b",)
    assert world.run(give_pool_up("pool_none", "a")) is False
