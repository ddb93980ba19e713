"""What the tests of checks share: a world in which everything goes on, and how findings are looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mahavishnu_pools.checks.run import CheckReport
from mahavishnu_pools.store import leases, tasks
from tests.store.world import World

#: Checks the world; ``repair=True`` mends it.
Check = Callable[..., Awaitable[CheckReport]]

#: Found in a world without agents, and none of these tests' business.
WITHOUT_AGENTS = {"no_agent", "server_connections"}


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
