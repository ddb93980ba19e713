"""What tasks and idle pools cost: calls to Redis, how much of the time workers work, one queue against a hundred."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis.asyncio

from benchmarks.figures import Figure, quantile
from benchmarks.stack import Bench, pool, running, until

#: Tasks sent one after another, tasks sent in bulk, and rounds of what takes turns.
SINGLE, BULK, ROUNDS = 200, 5000, 3

#: Seconds for which idle connections are watched.
WATCHED = 24.0

#: Naps: their number, seconds and workers. The ceiling is all of them without a gap.
NAPS, NAP, WORKERS = 1000, 0.1, 100

#: Numbers of queues, and the tasks in all of them.
QUEUES, QUEUED = (10, 100), 20_000

#: What is never called inside a script: a call of a client, one round trip at most.
CALLS = ("eval", "evalsha", "xread", "brpop", "subscribe", "unsubscribe", "ping", "multi", "hello")

NOOP: dict[str, Any] = {"task_type": "bench-nap", "payload": {}}


async def run() -> list[Figure]:
    """Measure on stacks of their own."""
    async with running() as bench, redis.asyncio.Redis.from_url(bench.redis_url) as server:
        figures = await _idle(bench, server)
        figures += await _calls(bench, server)
        figures += await _naps(bench)
        figures += await _memory(bench, server)
    for queues in QUEUES:
        async with running() as bench:
            figures += await _queues(bench, queues)
    return figures


async def _idle(bench: Bench, server: redis.asyncio.Redis) -> list[Figure]:
    """Compare a stack with an idle group to the same one without it, when what a stack does at first is over."""
    await bench.manager.spawn_pool(config=pool("resting", WORKERS))
    await until(lambda: _ready(bench, 1))
    connections = len(await server.client_list()) - 1
    both = await _rate(server)
    await bench.manager.close_pool("resting")
    rest = await _rate(server)
    await bench.manager.spawn_pool(config=pool("idle", WORKERS))
    await until(lambda: _ready(bench, 1))
    return [
        Figure(f"calls to Redis by an idle group of {WORKERS} workers", max(0.0, both - rest), "1/s", at_most=2),
        Figure("  by the rest of the stack (agent, beat, this manager)", rest, "1/s"),
        Figure("  connections of the stack with one group", connections),
    ]


async def _calls(bench: Bench, server: redis.asyncio.Redis) -> list[Figure]:
    """Count calls while tasks run; what the stack does anyway counts, too."""
    await bench.manager.spawn_pool(config=pool("busy", 10))
    await bench.manager.execute_on_pool("busy", NOOP)
    calls, inside = await _asked(server), await _inside(server)
    for _ in range(SINGLE):
        await bench.manager.execute_on_pool("busy", NOOP)
    single = await _asked(server) - calls, await _inside(server) - inside
    calls, inside = await _asked(server), await _inside(server)
    sent = await bench.manager.submit_many([NOOP] * BULK, pool="busy")
    done = [result async for result in bench.manager.results(one.task_id for one in sent)]
    bulk = await _asked(server) - calls, await _inside(server) - inside
    return [
        Figure("calls to Redis for a task, one after another with its result", single[0] / SINGLE, at_most=6),
        Figure("  commands the server counts, those inside scripts, too", single[1] / SINGLE),
        Figure("calls to Redis for a task, in bulk with all results", bulk[0] / len(done), at_most=2),
        Figure("  commands the server counts, those inside scripts, too", bulk[1] / len(done)),
    ]


async def _naps(bench: Bench) -> list[Figure]:
    """Let all workers nap without a pause; the clock runs from the first begin to the last end that records tell."""
    nap: dict[str, Any] = {"task_type": "bench-nap", "payload": {"seconds": NAP}}
    shares = []
    for _ in range(ROUNDS):
        await bench.manager.pause_pool("idle")
        sent = await bench.manager.submit_many([nap] * NAPS, pool="idle")
        await bench.manager.resume_pool("idle")
        done = [result async for result in bench.manager.results(one.task_id for one in sent)]
        begins = [one.started_at for one in done if one.started_at]
        ends = [one.finished_at for one in done if one.finished_at]
        shares.append(NAPS * NAP / WORKERS / (max(ends) - min(begins)).total_seconds())
    return [
        Figure(
            f"{NAPS:,} tasks of {NAP:g} s on {WORKERS} workers, share of the ceiling, median",
            quantile(shares, 0.5),
            at_least=0.97,
        ),
        Figure("  least", min(shares)),
    ]


async def _memory(bench: Bench, server: redis.asyncio.Redis) -> list[Figure]:
    """Return what the server holds for a task that waits, and for one whose result is kept."""

    async def used() -> int:
        return int((await server.info("memory"))["used_memory"])

    await bench.manager.pause_pool("busy")
    empty = await used()
    await bench.manager.submit_many([NOOP] * BULK, pool="busy")
    waiting = await used()
    await bench.manager.resume_pool("busy")
    await until(lambda: _idle_again(bench))
    return [
        Figure("memory of the server for a task that waits", (waiting - empty) / BULK, "B"),
        Figure("memory of the server for a task whose result is kept", (await used() - empty) / BULK, "B"),
    ]


async def _queues(bench: Bench, queues: int) -> list[Figure]:
    """One pool of all workers against as many pools of one worker each."""
    many = [f"queue-{number}" for number in range(queues)]
    await bench.manager.spawn_pool(config=pool("one", queues))
    await asyncio.gather(*(bench.manager.spawn_pool(config=pool(name, 1)) for name in many))
    await until(lambda: _ready(bench, queues + 1))
    ratios = []
    for _ in range(ROUNDS):
        alone = await _worked_off(bench, ["one"], [NOOP] * QUEUED)
        ratios.append(await _worked_off(bench, many, [NOOP] * QUEUED) / alone)
    return [Figure(f"{QUEUED:,} tasks in {queues} queues ÷ in one, median", quantile(ratios, 0.5), "×", at_most=1.05)]


async def _worked_off(bench: Bench, pools: list[str], tasks: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds from when pools with these tasks begin until they are done."""
    share = len(tasks) // len(pools)
    for name in pools:
        await bench.manager.pause_pool(name)
    for name in pools:
        await bench.manager.submit_many(tasks[:share], pool=name)
    began = time.perf_counter()
    await asyncio.gather(*(bench.manager.resume_pool(name) for name in pools))
    # To look at a hundred pools all the time would take a processor of its own.
    await until(lambda: _idle_again(bench), every=0.1)
    return time.perf_counter() - began


async def _idle_again(bench: Bench) -> bool:
    return not any(info.queued or info.running for info in await bench.manager.list_pools())


async def _ready(bench: Bench, groups: int) -> bool:
    return len(await bench.group_pids()) >= groups


async def _asked(server: redis.asyncio.Redis) -> int:
    """Return how many calls clients have made since the server began."""
    stats = await server.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in CALLS)


async def _rate(server: redis.asyncio.Redis) -> float:
    before = await _asked(server)
    await asyncio.sleep(WATCHED)
    return (await _asked(server) - before) / WATCHED


async def _inside(server: redis.asyncio.Redis) -> int:
    return sum(about["calls"] for about in (await server.info("commandstats")).values())
