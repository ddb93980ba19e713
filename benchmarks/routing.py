"""How evenly pools are chosen by several producers at once, and how long a choice takes."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from benchmarks.figures import Figure, quantile
from benchmarks.stack import Bench, pool, running
from mahavishnu_pools import PoolSelector, names
from mahavishnu_pools.routing.chooser import Chooser, Wish
from mahavishnu_pools.routing.eligibility import Need
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.pools import change_pool, create_pool
from mahavishnu_pools.store.steps import run_steps_sync
from mahavishnu_pools.store.tasks import route

#: Tasks, pools and producers of the first measurement.
TASKS, POOLS, PRODUCERS = 3000, 3, 4

#: Pools of the last measurement of choices; most of them have no workers.
MANY = 1000

#: Choices timed for each number of pools.
DECISIONS = 4000

HOLD = {"task_type": "bench-nap", "payload": {"seconds": 3600.0}, "timeout": 3600}


async def run(most_pools: int = 100) -> list[Figure]:
    """Measure on two stacks of their own."""
    async with running() as bench:
        figures = await _evenness(bench)
    async with running() as bench:
        made = 0
        for wanted in sorted({1, 10, most_pools}):
            configs = [pool(f"pool-{number}", 1) for number in range(made, wanted)]
            await asyncio.gather(*(bench.manager.spawn_pool(config=config) for config in configs))
            made = wanted
            figures += await asyncio.to_thread(_latency, bench, wanted)
        await asyncio.to_thread(_make_unplaced, bench, MANY - made)
        return figures + await asyncio.to_thread(_latency, bench, MANY)


def _make_unplaced(bench: Bench, number: int) -> None:
    """Make pools that count as running but that no node has, because a choice looks at the registry alone."""
    with SyncStore(bench.redis_url, timeout=30.0) as store:
        for _ in range(number):
            pool_id = names.new_pool_id()
            config = pool(pool_id.replace("_", "-"), 1, tags=["nowhere"])
            store.run(create_pool(pool_id, config))
            store.run(change_pool(pool_id, status=PoolStatus.RUNNING))


async def _evenness(bench: Bench) -> list[Figure]:
    for number in range(POOLS):
        await bench.manager.spawn_pool(config=pool(f"pool-{number}", 1))
        await bench.manager.submit(HOLD, pool=f"pool-{number}")  # from now on its only worker is busy
    environment = {**os.environ, "MAHAVISHNU_REDIS_URL": bench.redis_url}
    command = (sys.executable, "-m", "benchmarks.producer", str(TASKS // PRODUCERS))
    pipe = asyncio.subprocess.PIPE
    producers = [
        await asyncio.create_subprocess_exec(*command, env=environment, stdin=pipe, stdout=pipe)
        for _ in range(PRODUCERS)
    ]
    for producer in producers:
        assert producer.stdout is not None
        await producer.stdout.readline()  # it is connected
    began = time.perf_counter()
    await asyncio.gather(*(producer.communicate(b"go\n") for producer in producers))
    taken = time.perf_counter() - began
    counts = [info.queued + info.running - 1 for info in await bench.manager.list_pools()]
    ideal = TASKS / POOLS
    return [
        Figure(f"tasks routed by {PRODUCERS} processes at once", sum(counts), at_least=TASKS, at_most=TASKS),
        Figure("  tasks of the fullest pool", max(counts), at_most=ideal * 1.01),
        Figure("  tasks of the emptiest pool", min(counts), at_least=ideal * 0.99),
        Figure("  single submits a second, all producers together", TASKS / taken, "1/s"),
    ]


def _latency(bench: Bench, pools: int) -> list[Figure]:
    """Time choices as the Celery router makes them: the view of the pools is kept, the choice is one script."""
    with SyncStore(bench.redis_url, timeout=30.0) as store:
        chooser = Chooser.from_settings(bench.settings)
        wish = Wish(selector=PoolSelector.LEAST_LOADED)
        taken = []
        for _ in range(DECISIONS):
            began = time.perf_counter()
            run_steps_sync(store, chooser.choose(Need("shell"), wish, route))
            taken.append((time.perf_counter() - began) * 1000)
        bare = []
        for _ in range(DECISIONS):
            began = time.perf_counter()
            store.redis.ping()
            bare.append((time.perf_counter() - began) * 1000)
    limit = 2.0 if pools == 100 else None
    return [
        Figure(f"routing decision among {pools} pools, median", quantile(taken, 0.5), "ms"),
        Figure(f"routing decision among {pools} pools, p99", quantile(taken, 0.99), "ms", limit),
        Figure("  a bare PING in the same run, median", quantile(bare, 0.5), "ms"),
        Figure("  a bare PING in the same run, p99", quantile(bare, 0.99), "ms"),
    ]
