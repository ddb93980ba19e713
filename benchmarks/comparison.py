"""Stock Celery and pools next to each other: same server, same run, ten threads each, tasks that do nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import redis

from benchmarks import applications
from benchmarks.figures import Figure, quantile
from benchmarks.stack import Bench, pool, running, until

#: Round trips of each kind in a block, and blocks; the kinds take turns block by block.
BLOCK, BLOCKS = 100, 5

#: Tasks submitted in bulk and worked off in a round, and rounds; the kinds take turns.
BULK, ROUNDS = 3000, 3

NOOP = {"task_type": "bench-nap", "payload": {}}


async def run() -> list[Figure]:
    """Measure on a stack of its own."""
    with tempfile.TemporaryDirectory() as directory:
        address = Path(directory, "address")
        os.environ[applications.VARIABLE] = str(address)
        async with running() as bench:
            await asyncio.to_thread(address.write_text, bench.redis_url)
            return await _measured(bench)


async def _measured(bench: Bench) -> list[Figure]:
    await bench.manager.spawn_pool(config=pool("native", 10))
    await bench.manager.spawn_pool(config=pool("celery", 10, celery_app="benchmarks.applications:pooled"))
    async with _stock_worker():
        figures = await _round_trips(bench)
        figures += await _single_submits(bench)
        return figures + await _bulk(bench)


@contextlib.asynccontextmanager
async def _stock_worker() -> AsyncIterator[None]:
    command = (sys.executable, "-m", "celery", "-A", "benchmarks.applications:stock", "worker", "-P", "threads")
    nowhere = asyncio.subprocess.DEVNULL
    arguments = ("-c", "10", "-l", "ERROR")
    worker = await asyncio.create_subprocess_exec(*command, *arguments, stdout=nowhere, stderr=nowhere)
    try:
        await asyncio.to_thread(_send(applications.stock).get, timeout=60)
        yield
    finally:
        worker.terminate()
        await worker.wait()


def _send(app: Any, **options: Any) -> Any:
    return app.tasks["bench.noop"].apply_async(**options)


async def _round_trips(bench: Bench) -> list[Figure]:
    async def stock() -> None:
        _send(applications.stock).get(timeout=30)

    async def pooled() -> None:
        _send(applications.pooled, pool="celery").get(timeout=30)

    async def routed() -> None:
        await bench.manager.route_task(NOOP)

    taken: dict[Callable[[], Awaitable[None]], list[float]] = {stock: [], pooled: [], routed: []}
    for number in range(BLOCKS + 1):
        for call, times in taken.items():
            found = [await _timed(call) for _ in range(BLOCK)]
            times += found if number else []  # the first block warms up
    middle = {call: quantile(times, 0.5) * 1000 for call, times in taken.items()}
    names = {stock: "stock Celery", pooled: "the same Celery task on a pool", routed: "PoolManager.route_task"}
    figures = []
    for call, name in names.items():
        figures.append(Figure(f"round trip, {name}, median", middle[call], "ms"))
        figures += [Figure(f"  p{share}", quantile(taken[call], share / 100) * 1000, "ms") for share in (95, 99)]
    return [
        *figures,
        Figure("  Celery task on a pool ÷ stock", middle[pooled] / middle[stock], "×", 1.3),
        Figure("  PoolManager.route_task ÷ stock", middle[routed] / middle[stock], "×", 1.3),
    ]


async def _timed(call: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


async def _single_submits(bench: Bench) -> list[Figure]:
    async def stock() -> None:
        _send(applications.stock)

    async def pooled() -> None:
        _send(applications.pooled, pool="celery")

    async def native() -> None:
        await bench.manager.submit(NOOP)

    taken: dict[Callable[[], Awaitable[None]], list[float]] = {stock: [], pooled: [], native: []}
    for _ in range(BLOCKS):
        for call, times in taken.items():
            times += [await _timed(call) for _ in range(BLOCK)]
            await until(lambda: _all_idle(bench))  # what was just submitted is not to slow down the next kind
    middle = {call: quantile(times, 0.5) * 1000 for call, times in taken.items()}
    return [
        Figure("one apply_async, stock Celery, median", middle[stock], "ms"),
        Figure("one apply_async(pool=…), median", middle[pooled], "ms"),
        Figure("one PoolManager.submit, routed, median", middle[native], "ms"),
        Figure("  apply_async(pool=…) ÷ stock", middle[pooled] / middle[stock], "×"),
        Figure("  PoolManager.submit ÷ stock", middle[native] / middle[stock], "×"),
    ]


async def _bulk(bench: Bench) -> list[Figure]:
    rounds = [(await _stock_bulk(bench), await _pool_bulk(bench)) for _ in range(ROUNDS)]
    submit_ratios = [stock[0] / ours[0] for stock, ours in rounds]
    drain_ratios = [stock[1] / ours[1] for stock, ours in rounds]
    rates = [[BULK / quantile([one[kind][part] for one in rounds], 0.5) for part in (0, 1)] for kind in (0, 1)]
    return [
        Figure("apply_async in a loop, stock Celery, median", rates[0][0], "tasks/s"),
        Figure("submit_many, median", rates[1][0], "tasks/s"),
        Figure("  submit_many ÷ stock loop, median", quantile(submit_ratios, 0.5), "×", at_least=10),
        Figure("no-op tasks worked off by 10 threads, stock Celery, median", rates[0][1], "tasks/s"),
        Figure("no-op tasks worked off by a pool of 10, median", rates[1][1], "tasks/s"),
        Figure("  pool ÷ stock, median", quantile(drain_ratios, 0.5), "×", at_least=3),
    ]


async def _pool_bulk(bench: Bench) -> tuple[float, float]:
    """Return how long a manager takes to submit, and a pool to work all off, in seconds."""
    await bench.manager.pause_pool("native")
    began = time.perf_counter()
    await bench.manager.submit_many([NOOP] * BULK, pool="native")
    submit = time.perf_counter() - began
    await bench.manager.resume_pool("native")
    began = time.perf_counter()
    await until(lambda: _idle(bench))
    return submit, time.perf_counter() - began


async def _stock_bulk(bench: Bench) -> tuple[float, float]:
    """Return how long the stock application takes to submit, and its worker to work all off, in seconds."""
    app = applications.stock
    await until(lambda: _all_idle(bench))
    with redis.Redis.from_url(app.conf.broker_url) as server:
        app.control.cancel_consumer("celery", reply=True)
        before = server.dbsize()
        began = time.perf_counter()
        for _ in range(BULK):
            _send(app)
        submit = time.perf_counter() - began
        app.control.add_consumer("celery", reply=True)
        began = time.perf_counter()
        await until(lambda: _as_awaitable(server.dbsize() >= before + BULK))
        return submit, time.perf_counter() - began


async def _all_idle(bench: Bench) -> bool:
    with redis.Redis.from_url(applications.stock.conf.broker_url) as server:
        waiting = server.llen("celery") + server.hlen("unacked")
    return not waiting and await _idle(bench)


async def _as_awaitable(seen: bool) -> bool:
    return seen


async def _idle(bench: Bench) -> bool:
    return not any(info.queued or info.running for info in await bench.manager.list_pools())
