"""A delegated pool on an embedded Session-Buddy: no-op prompts a second, and what delegation adds to one task."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.figures import Figure
from benchmarks.stack import Bench, pool, running
from mahavishnu_pools import PoolConfig

#: No-op tasks that are drained, and tasks that are run one after another.
TASKS, SINGLE = 1000, 100

#: Drains of which the median counts.
ROUNDS = 3

#: A prompt the server answers itself, without a program.
NO_OP = {"prompt": "x", "worker_type": "echo"}

#: The same on a pool of this machine: the cheapest prompt there, a program that does nothing.
LOCAL = {"prompt": ":"}


async def run() -> list[Figure]:
    """Measure on a private stack and a server of its own."""
    async with running() as bench:
        with _server(str(bench.data_dir / "session-buddy")) as url:
            config = PoolConfig(name="delegated", pool_type="session-buddy", endpoint=url)
            await bench.manager.spawn_pool(config=config)
            await bench.manager.spawn_pool(config=pool("local", 3))
            rate = statistics.median([await _drain(bench) for _ in range(ROUNDS)])
            delegated, local = await _single(bench, "delegated", NO_OP), await _single(bench, "local", LOCAL)
    return [
        Figure("delegated no-op tasks a second", rate, "1/s", at_least=300),
        Figure("one delegated no-op task, p50", delegated, "ms", at_most=10),
        Figure("one shell task on a local pool, p50", local, "ms"),
    ]


async def _drain(bench: Bench) -> float:
    began = time.perf_counter()
    sent = await bench.manager.submit_many([NO_OP] * TASKS, pool="delegated")
    done = [result async for result in bench.manager.results(one.task_id for one in sent)]
    assert all(result.ok for result in done), "a no-op task failed"
    return len(done) / (time.perf_counter() - began)


async def _single(bench: Bench, name: str, task: dict[str, str]) -> float:
    taken = []
    for _ in range(SINGLE):
        began = time.perf_counter()
        await bench.manager.execute_on_pool(name, task)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


@contextmanager
def _server(data_dir: str) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "mahavishnu_pools.cli.main",
        "session-buddy",
        "--port",
        "0",
        "--data-dir",
        data_dir,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
