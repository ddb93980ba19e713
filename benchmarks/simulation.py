"""Routing at a size no one machine runs: the real scripts choose among thousands of pools, whose workers are simulated.

Pools differ in size (1–100 workers). Round by round tasks are submitted in bulk, and random pools end as many as their
workers would. How even the load stays is read from the index the scripts keep; how long they take from the server.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import Figure, quantile
from benchmarks.stack import running
from mahavishnu_pools import names
from mahavishnu_pools.broker.message import Messages, envelope
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store import keys, leases
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.pools import change_pool, create_pool
from mahavishnu_pools.store.tasks import submit

#: Tasks submitted in one call, and those of a round: so many in all, and so many for each pool where that is more.
BULK, ROUND, ROUND_OF_POOL = 500, 10_000, 10

#: Pools whose workers claim and end in one round trip of the simulation.
AT_ONCE = 50

#: Seconds an outcome is kept: the server holds what is under way, not a million results.
RESULT_TTL = 1.0

#: Nothing of this is anybody's pool: agents look at another namespace.
NAMESPACE = "simulation"

SPEC = TaskSpec(task_type="bench-nap")


@dataclass(slots=True)
class World:
    """Simulated pools: their ids, sizes and leases, and what was measured."""

    store: SyncStore
    rng: random.Random
    workers: dict[str, int] = field(default_factory=dict)
    submitting: float = 0.0
    submitted: int = 0
    ended: int = 0
    spreads: list[float] = field(default_factory=list)

    @property
    def round(self) -> int:
        """Return how many tasks come, and go, in a round."""
        return max(ROUND, ROUND_OF_POOL * len(self.workers))


async def run(sizes: tuple[int, ...], tasks: int, *, seed: int = 1) -> list[Figure]:
    """Simulate so many tasks among the largest number of pools, and a twentieth of them among the others."""
    figures: list[Figure] = []
    async with running() as bench:
        for size in sizes:
            share = tasks if size == max(sizes) else tasks // 20
            with SyncStore(bench.redis_url, namespace=f"{NAMESPACE}{size}", timeout=60.0) as store:
                figures += await asyncio.to_thread(_simulated, World(store, random.Random(seed)), size, share)
    return figures


def _simulated(world: World, size: int, tasks: int) -> list[Figure]:
    began = time.perf_counter()
    for number in range(size):
        _make(world, number)
    made = time.perf_counter() - began
    before = _usec(world)
    while world.submitted < tasks:
        _submit(world, min(world.round, tasks - world.submitted))
        world.spreads.append(_spread(world))
        _end(world)
    submitting = _usec(world) - before
    while world.ended < world.submitted:
        _end(world)
    return [
        Figure(f"{size:,} pools made", made, "s"),
        Figure("  tasks submitted with least_loaded", world.submitted, at_least=tasks, at_most=tasks),
        Figure("  tasks a second, submitted in bulk by one producer", world.submitted / world.submitting, "1/s"),
        Figure(
            "  most loaded minus least loaded pool after a round, tasks a worker, median", quantile(world.spreads, 0.5)
        ),
        Figure("  the same, worst round", max(world.spreads)),
        Figure("  server time of scripts, a task from submit to end", submitting / world.submitted, "µs"),
        Figure("  tasks ended", world.ended, at_least=tasks, at_most=tasks),
    ]


def _make(world: World, number: int) -> None:
    pool_id, workers = names.new_pool_id(), world.rng.randint(1, 100)
    config = PoolConfig(name=f"pool-{number}", min_workers=workers, max_workers=workers, memory_enabled=False)
    world.store.run(create_pool(pool_id, config))
    world.store.run(change_pool(pool_id, status=PoolStatus.RUNNING))
    lease = leases.open_lease(f"{pool_id}:sim", pool_id=pool_id, node="sim", pid=1, started=1.0, ttl=86400.0)
    world.store.run(lease)
    world.workers[pool_id] = workers


def _submit(world: World, count: int) -> None:
    messages = Messages()
    for start in range(0, count, BULK):
        number = min(BULK, count - start)
        ids = [names.new_task_id() for _ in range(number)]
        made = [envelope(SPEC, task_id=one, max_bytes=100_000, messages=messages) for one in ids]
        began = time.perf_counter()
        world.store.run(submit(made, Choice("least_loaded")))
        world.submitting += time.perf_counter() - began
        world.submitted += number


def _end(world: World) -> None:
    """Have random pools work off what waits in them, until about as much is gone as a round brings."""
    wanted = min(world.round, world.submitted - world.ended)
    pools = world.rng.sample(list(world.workers), len(world.workers))
    for first in range(0, len(pools), AT_ONCE):
        if wanted <= 0:
            return
        done = _worked_off(world, pools[first : first + AT_ONCE])
        wanted -= done
        world.ended += done


def _worked_off(world: World, pools: Sequence[str]) -> int:
    """Claim for all workers of these pools, and end what was claimed; each in one round trip."""
    held: dict[str, list[leases.Held]] = {}
    calls: list[Call[Any]] = [_claim(world, one) for one in pools]
    for pool_id, claimed in zip(pools, world.store.run_many(calls), strict=True):
        assert isinstance(claimed, leases.Claimed), "the lease of a simulated pool was reaped"
        lease = f"{pool_id}:sim"
        held[pool_id] = [leases.Held(lease, claim.number, claim.task_id, pool_id) for claim in claimed.claims]
    endings = [call for some in held.values() for call in leases.together([_ending(one) for one in some])]
    for verdicts in world.store.run_many(endings) if endings else ():
        assert isinstance(verdicts, list), "the server is full"
        assert set(verdicts) == {"ok"}, "a simulated claim was not its own"
    return sum(map(len, held.values()))


def _claim(world: World, pool_id: str) -> Call[leases.Claimed | None]:
    by = leases.Claimant(f"{pool_id}:sim", pool_id, f"{pool_id}@sim")
    most = min(100, world.workers[pool_id])
    return leases.claim(by, most=most, request=names.new_task_id(), result_ttl=RESULT_TTL)


def _ending(held: leases.Held) -> Call[leases.Ending]:
    return leases.finish(held, status="completed", outcome="{}", meta="{}", result_ttl=RESULT_TTL)


def _spread(world: World) -> float:
    index = keys.key("load", prefix=world.store.prefix)
    ends = [world.store.redis.zrange(index, place, place, withscores=True) for place in (0, -1)]
    low, high = (float(pairs[0][1]) for pairs in ends)
    return high - low


def _usec(world: World) -> float:
    stats = world.store.redis.info("commandstats")
    assert isinstance(stats, dict)
    return float(sum(about["usec"] for name, about in stats.items() if "eval" in name))
