"""How soon the tasks of a killed process run again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable

import psutil

from benchmarks.figures import Figure, quantile
from benchmarks.stack import Bench, pool, running, until
from mahavishnu_pools import TaskResult
from mahavishnu_pools.embedded import health

#: Tasks that run when the process is killed, and how often each kind of kill is measured.
TASKS, ROUNDS = 20, 3

#: Seconds a round may take.
DEADLINE = 120.0


async def run() -> list[Figure]:
    """Measure on a stack of its own."""
    figures = []
    async with running() as bench:
        await bench.manager.spawn_pool(config=pool("victim", TASKS))
        for name, kill in (("worker group", kill_group), ("agent", kill_agent)):
            results, delays = [], []
            for _ in range(ROUNDS):
                found, killed = await _round(bench, kill)
                results += found
                delays += [result.started_at.timestamp() - killed for result in found if result.started_at]
            figures += _figures(f"kill -9 of the {name}", results, delays)
        figures += await _controller(bench)
    return figures


def _figures(name: str, results: list[TaskResult], delays: list[float]) -> list[Figure]:
    count = TASKS * ROUNDS
    return [
        Figure(f"{name}: running again, median", quantile(delays, 0.5), "s", 10.0),
        Figure(f"{name}: running again, the last one", max(delays), "s", 10.0),
        Figure(f"{name}: tasks with one outcome, completed", sum(result.ok for result in results), at_least=count),
        Figure(f"{name}: attempts of a task, most", max(result.attempts for result in results), at_most=2),
    ]


async def _round(bench: Bench, kill: Callable[[Bench], Awaitable[None]]) -> tuple[list[TaskResult], float]:
    """Return the results and the moment of the kill; tasks sleep long at first and end at once the second time."""
    ids = await _all_running(bench, {"seconds": 600.0, "again": 0.2})
    killed = time.time()
    await kill(bench)
    return [result async for result in bench.manager.results(ids, wait_timeout=DEADLINE)], killed


async def _all_running(bench: Bench, payload: dict[str, float]) -> list[str]:
    nap = {"task_type": "bench-nap", "payload": payload, "timeout": 900}
    ids = [one.task_id for one in await bench.manager.submit_many([nap] * TASKS, pool="victim")]

    async def all_run() -> bool:
        return (await bench.manager.pool_info("victim")).running == TASKS

    await until(all_run)
    return ids


async def kill_group(bench: Bench) -> None:
    """Kill the pool's worker group."""
    for pid in await bench.group_pids():
        os.kill(pid, signal.SIGKILL)


async def kill_agent(bench: Bench) -> None:
    """Kill the agent's first process, which all worker groups were forked from."""
    os.kill(_agent(bench), signal.SIGKILL)


async def _controller(bench: Bench) -> list[Figure]:
    """Kill the agent's second process: running tasks are not to notice."""
    ids = await _all_running(bench, {"seconds": 5.0})
    groups = set(await bench.group_pids())
    for child in psutil.Process(_agent(bench)).children():
        if child.pid not in groups:
            child.kill()
    results = [result async for result in bench.manager.results(ids, wait_timeout=DEADLINE)]
    once = sum(result.ok and result.attempts == 1 for result in results)
    return [Figure("kill -9 of the agent's controller: tasks that did not notice", once, at_least=TASKS)]


def _agent(bench: Bench) -> int:
    state = health.examine(bench.data_dir)
    part = state.part("agent") if state is not None else None
    if part is None or part.process is None:
        raise SystemExit("The agent is not running.")
    return part.process.pid
