"""Pools and other task queues work off tasks that do nothing: same server, same run, ten workers in two processes.

Tasks wait before the workers start; measured from when a twentieth is done until all are, so nobody's start counts.
Results are kept by all. The kinds take turns round by round.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import redis.asyncio

from benchmarks.figures import Figure, quantile
from benchmarks.peers import address
from benchmarks.stack import DEADLINE, Bench, pool, running
from mahavishnu_pools.store import keys

#: Tasks of a round, and rounds.
TASKS, ROUNDS = 20_000, 3

#: The share that is done when the clock starts.
WARM = 0.05

#: Seconds between two looks at how many are done.
LOOK = 0.01

NOOP = {"task_type": "bench-nap", "payload": {}}

OURS = "pools"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another task queue: its package, its database and the commands of its workers, ten in all."""

    name: str
    package: str
    workers: tuple[tuple[str, ...], ...]
    #: Of a slow one fewer tasks are measured.
    tasks: int = TASKS
    #: The command that counts what is done; without one nearly every key is a result.
    done: tuple[str, ...] = ("DBSIZE",)
    wanted: float | None = None


_CELERY = ("-m", "celery", "-A", "benchmarks.peers.celery_app:app", "worker", "-l", "ERROR", "--without-gossip")
_THREADS = (*_CELERY, "--without-mingle", "--without-heartbeat", "-P", "threads", "-c", "5", "-n")
_PREFORK = (*_CELERY, "--without-mingle", "--without-heartbeat", "-c", "10")
_RQ = ("-m", "rq.cli", "worker", "--worker-class", "rq.SimpleWorker", "--logging_level", "ERROR", "peer", "--url")
_TASKIQ = ("-m", "taskiq", "worker", "benchmarks.peers.taskiq_app:broker", "--workers", "2", "--max-async-tasks", "5")


def peers() -> tuple[Peer, ...]:
    """Return the peers that are installed. The last one is no task queue, but the limit of what any could reach."""
    known = (
        Peer("Celery, 2 × 5 threads", "celery", ((*_THREADS, "one@%h"), (*_THREADS, "two@%h"))),
        Peer("Celery, 10 processes", "celery", (_PREFORK,)),
        Peer(
            "Dramatiq, 2 × 5 threads",
            "dramatiq",
            (("-m", "dramatiq", "benchmarks.peers.dramatiq_app", "-p", "2", "-t", "5"),),
            wanted=1,
        ),
        Peer("Taskiq (stream), 2 × 5", "taskiq", ((*_TASKIQ, "--log-level", "ERROR"),), wanted=1),
        Peer(
            "Huey, 10 processes",
            "huey",
            (("-m", "huey.bin.huey_consumer", "benchmarks.peers.huey_app.huey", "-k", "process", "-w", "10", "-q"),),
            done=("HLEN", "huey.results.peer"),
        ),
        Peer(
            "RQ, 10 processes",
            "rq",
            ((*_RQ, address.url_of("rq")),) * 10,
            tasks=500,
            done=("ZCARD", "rq:finished:peer"),
        ),
        Peer("Redis alone, 2 × 5 threads", "loop", (("-m", "benchmarks.peers.loop_app"),) * 2),
    )
    return tuple(one for one in known if one.package == "loop" or importlib.util.find_spec(one.package))


async def run() -> list[Figure]:
    """Measure on a stack of its own; peers that are not installed are left out."""
    async with running() as bench:
        os.environ[address.VARIABLE] = bench.redis_url.rpartition("/")[0]
        os.environ["dramatiq_queue_prefetch"] = "100"  # noqa: SIM112 - its name
        for name in ("one", "two"):
            await bench.manager.spawn_pool(config=pool(name, 5))
        others = peers()
        submits: dict[str, list[float]] = {}
        rates: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for peer in others:
                _note(peer.name, await _peer(peer), submits=submits, rates=rates)
            async with redis.asyncio.Redis.from_url(bench.redis_url) as server:
                _note(OURS, await _ours(bench, server), submits=submits, rates=rates)
        return _figures(submits, rates, others)


def _note(
    name: str, measured: tuple[float, float], *, submits: dict[str, list[float]], rates: dict[str, list[float]]
) -> None:
    submits.setdefault(name, []).append(measured[0])
    rates.setdefault(name, []).append(measured[1])


def _figures(submits: dict[str, list[float]], rates: dict[str, list[float]], others: Sequence[Peer]) -> list[Figure]:
    found = []
    for name, values in rates.items():
        found.append(Figure(f"worked off, with results: {name}, median", quantile(values, 0.5), "1/s"))
        found.append(Figure("  least", min(values), "1/s"))
        found.append(Figure("  most", max(values), "1/s"))
    for name, values in submits.items():
        how = "submit_many" if name == OURS else "one by one"
        found.append(Figure(f"enqueued, {how}: {name}, median", quantile(values, 0.5), "1/s"))
    stock = [max(pair) for pair in zip(*(rates[name] for name in rates if name.startswith("Celery")), strict=True)]
    if stock:
        ratios = [ours / theirs for ours, theirs in zip(rates[OURS], stock, strict=True)]
        found.append(Figure("  pools ÷ the best Celery of the round, median", quantile(ratios, 0.5), "×", at_least=3))
    for peer in (one for one in others if one.package != "celery"):
        ratios = [ours / theirs for ours, theirs in zip(rates[OURS], rates[peer.name], strict=True)]
        found.append(Figure(f"  pools ÷ {peer.name}, median", quantile(ratios, 0.5), "×", at_least=peer.wanted))
    return found


async def _ours(bench: Bench, server: redis.asyncio.Redis) -> tuple[float, float]:
    """Return how many tasks a second are submitted in bulk, and worked off."""
    pools = [keys.key("pool", prefix="", of=info.pool_id) for info in await bench.manager.list_pools()]

    async def done() -> int:
        return sum([int(await server.hget(one, "n_completed") or 0) for one in pools])

    before = await done()
    for name in ("one", "two"):
        await bench.manager.pause_pool(name)
    began = time.perf_counter()
    halves = [bench.manager.submit_many([NOOP] * (TASKS // 2), pool=name) for name in ("one", "two")]
    await asyncio.gather(*halves)
    submit = TASKS / (time.perf_counter() - began)
    for name in ("one", "two"):
        await bench.manager.resume_pool(name)
    return submit, await _rate(done, before)


async def _peer(peer: Peer) -> tuple[float, float]:
    url = address.url_of(peer.package)
    async with redis.asyncio.Redis.from_url(url) as server:
        await server.flushdb()
        seconds = float(await _output("-m", "benchmarks.peers.producer", peer.package, str(peer.tasks)))

        async def done() -> int:
            return int(await server.execute_command(*peer.done))

        async with _workers(peer):
            rate = await _rate(done, 0, peer.tasks)
    return peer.tasks / seconds, rate


async def _rate(done: Callable[[], Awaitable[int]], before: int, tasks: int = TASKS) -> float:
    """Return tasks a second, once a share of them is done, until all are."""
    warm = await _reached(done, before + int(tasks * WARM))
    began = time.perf_counter()
    last = await _reached(done, before + tasks)
    return (last - warm) / (time.perf_counter() - began)


async def _reached(done: Callable[[], Awaitable[int]], wanted: int) -> int:
    async with asyncio.timeout(DEADLINE):
        while (seen := await done()) < wanted:  # noqa: ASYNC110 - other systems tell nobody
            await asyncio.sleep(LOOK)
    return seen


@contextlib.asynccontextmanager
async def _workers(peer: Peer) -> AsyncIterator[None]:
    nowhere = asyncio.subprocess.DEVNULL
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, *command, stdout=nowhere, stderr=nowhere)
        for command in peer.workers
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(15):
                    await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return out.decode()
