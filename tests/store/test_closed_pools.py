"""A worker group whose lease was taken back knows whether its pool was closed, which is nothing to worry about."""

from __future__ import annotations

from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store import pools
from tests.store.world import World
from workers.pool_group import is_closed


def test_a_pool_is_closed_from_the_end_of_its_tasks_on_and_no_sooner(world: World) -> None:
    pool = world.pool()
    for status in (PoolStatus.RUNNING, PoolStatus.DRAINING, PoolStatus.PAUSED):
        world.run(pools.change_pool(pool, status=status))
        assert not is_closed(world.store, pool)

    world.run(pools.change_pool(pool, status=PoolStatus.STOPPED))
    assert is_closed(world.store, pool)
    world.run(pools.remove_pool(pool))
    assert is_closed(world.store, pool)
