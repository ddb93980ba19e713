"""How fast pools are ready, what they take, and how many tasks run at once."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, quantile
from benchmarks.stack import Bench, pool, pss_mb, running, until
from mahavishnu_pools import PoolSelector, TaskResult, TaskStatus

#: Connections one worker group keeps at most, with room to spare.
CONNECTIONS_A_GROUP = 12

#: Memory of an idle group of so many workers, in MB.
IDLE_MB, IDLE_WORKERS = 20.0, 100

#: Memory of everything while 10,000 tasks sleep, in MB.
WHOLE_MB = 2.2 * 1024

#: Pools spawned one after another for the median.
SINGLE_SPAWNS = 20


@dataclass(frozen=True, slots=True)
class Scale:
    """How much: pools, workers in each, and how long (seconds) a task sleeps."""

    pools: int = 100
    workers: int = 100
    sleep: float = 60.0


async def run(scale: Scale) -> list[Figure]:
    """Measure on a stack of its own.

    Raises:
        SystemExit: the limits of this machine are too low; says which.
    """
    check_limits(scale)
    async with running() as bench:
        figures = await _single_spawns(bench, scale)
        figures += await _all_at_once(bench, scale)
        figures += await _all_asleep(bench, scale)
        figures += await _programs_asleep(bench, scale)
        began = time.perf_counter()
        await bench.manager.close_all()
        return [*figures, Figure(f"{scale.pools} pools closed", time.perf_counter() - began, "s")]


def check_limits(scale: Scale) -> None:
    """Make sure that files, threads and processes of this machine suffice; raises like ``run``."""
    connections = scale.pools * CONNECTIONS_A_GROUP
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < connections + 200:
        if hard != resource.RLIM_INFINITY and hard < connections + 200:
            raise SystemExit(f"ulimit -n is {hard}; {scale.pools} pools need {connections + 200}.")
        resource.setrlimit(resource.RLIMIT_NOFILE, (connections + 200, hard))
    threads = scale.pools * (scale.workers + 20)
    limits = {"ulimit -u": resource.getrlimit(resource.RLIMIT_NPROC)[0], **_thread_limits()}
    for name, limit in limits.items():
        if 0 <= limit < threads:
            raise SystemExit(f"{name} is {limit}; {scale.pools} pools of {scale.workers} workers need {threads}.")


def _thread_limits() -> dict[str, int]:
    found = {}
    for name in ("/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max", "/sys/fs/cgroup/pids.max"):
        try:
            found[name] = int(Path(name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue  # not there, or "max"
    return found


async def _single_spawns(bench: Bench, scale: Scale) -> list[Figure]:
    taken = []
    for number in range(SINGLE_SPAWNS + 1):
        began = time.perf_counter()
        pool_id = await bench.manager.spawn_pool(config=pool(f"single-{number}", scale.workers))
        taken.append(time.perf_counter() - began)
        await bench.manager.close_pool(pool_id)
    warm = taken[1:]  # the first one warms the agent
    return [
        Figure(f"one pool of {scale.workers} workers ready, median of {len(warm)}", quantile(warm, 0.5), "s", 0.2),
        Figure("  the slowest of them", max(warm), "s"),
    ]


async def _all_at_once(bench: Bench, scale: Scale) -> list[Figure]:
    began = time.perf_counter()
    configs = [pool(f"pool-{number}", scale.workers) for number in range(scale.pools)]
    await asyncio.gather(*(bench.manager.spawn_pool(config=config) for config in configs))
    taken = time.perf_counter() - began
    await until(lambda: _all_listed(bench, scale.pools))
    pids = await bench.group_pids()
    idle = [pss_mb(pid) for pid in pids]
    wanted = IDLE_MB if scale.workers == IDLE_WORKERS else None
    return [
        Figure(f"{scale.pools} pools of {scale.workers} workers ready, spawned at once", taken, "s", 6.0),
        Figure("worker groups that live", len(pids), at_least=scale.pools),
        Figure("memory (PSS) of an idle pool, median", quantile(idle, 0.5), "MB", wanted),
        Figure("memory (PSS) of an idle pool, largest", max(idle), "MB", wanted),
        Figure("memory (PSS) of all idle pools", sum(idle), "MB"),
    ]


async def _all_listed(bench: Bench, pools: int) -> bool:
    return len(await bench.group_pids()) >= pools


async def _all_asleep(bench: Bench, scale: Scale) -> list[Figure]:
    count = scale.pools * scale.workers
    nap = {"task_type": "bench-nap", "payload": {"seconds": scale.sleep}, "timeout": scale.sleep + 300}
    began = time.perf_counter()
    sent = await bench.manager.submit_many([nap] * count, pool_selector=PoolSelector.LEAST_LOADED)
    submitted = time.perf_counter() - began
    watcher = Watcher(bench, count, began)
    watching = asyncio.create_task(watcher.watch())
    ids = [one.task_id for one in sent]
    results = [result async for result in bench.manager.results(ids, wait_timeout=scale.sleep + 240)]
    taken = time.perf_counter() - began
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return [
        Figure(f"{count:,} tasks submitted", submitted, "s"),
        Figure("tasks running at once, as Redis has them", watcher.most, at_least=count),
        Figure("  reached after", watcher.reached, "s"),
        Figure("memory (PSS) of a pool with all workers busy, median", watcher.memory, "MB"),
        Figure("memory (PSS) of the whole stack then", watcher.whole, "MB", WHOLE_MB),
        Figure("tasks running at once by their own start and end", overlap(results), at_least=count),
        Figure("tasks with an outcome", len({result.task_id for result in results}), at_least=count),
        Figure("tasks completed", sum(result.status is TaskStatus.COMPLETED for result in results), at_least=count),
        Figure("tasks run more than once", sum(result.attempts != 1 for result in results), at_most=0),
        Figure(f"all {count:,} done, each sleeping {scale.sleep:g} s", taken, "s"),
    ]


async def _programs_asleep(bench: Bench, scale: Scale) -> list[Figure]:
    """Let a tenth of the workers run a program that sleeps: the figure for tasks that are processes."""
    count = scale.pools * scale.workers // 10
    rest = await bench.whole_pss_mb()
    program = {"task_type": "shell", "payload": {"command": ["sleep", "600"]}}
    await bench.manager.submit_many([program] * count, pool_selector=PoolSelector.LEAST_LOADED, batch_id="programs")

    async def running_tasks() -> int:
        return sum(info.running for info in await bench.manager.list_pools())

    await until(lambda: _is(running_tasks(), count))
    whole = await bench.whole_pss_mb()
    await bench.manager.cancel_batch("programs")
    await until(lambda: _is(running_tasks(), 0))
    return [
        Figure(f"memory (PSS) of the whole stack with {count:,} programs asleep", whole, "MB"),
        Figure("  for each of them", (whole - rest) / count, "MB"),
    ]


async def _is(number: Awaitable[int], wanted: int) -> bool:
    return await number == wanted


class Watcher:
    """Looks at the pools while tasks run: the most that ran at once, when that was, and the memory then."""

    def __init__(self, bench: Bench, count: int, began: float) -> None:
        self.most = 0
        self.reached = 0.0
        self.memory = self.whole = 0.0
        self._bench = bench
        self._count = count
        self._began = began

    async def watch(self) -> None:
        """Look twice a second until all run."""
        while self.most < self._count:
            seen = sum(info.running for info in await self._bench.manager.list_pools())
            if seen > self.most:
                self.most, self.reached = seen, time.perf_counter() - self._began
            await asyncio.sleep(0.5)
        self.memory = quantile([pss_mb(pid) for pid in await self._bench.group_pids()], 0.5)
        self.whole = await self._bench.whole_pss_mb()


def overlap(results: Sequence[TaskResult]) -> int:
    """Return the largest number of tasks that were running at one moment."""
    moments = [(result.started_at, 1) for result in results if result.started_at and result.finished_at]
    moments += [(result.finished_at, -1) for result in results if result.started_at and result.finished_at]
    most = now = 0
    for _, step in sorted(moments, key=lambda moment: (moment[0], moment[1])):
        now += step
        most = max(most, now)
    return most
