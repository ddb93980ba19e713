"""``python -m benchmarks.peers.producer PEER NUMBER``: enqueue no-ops one by one, print the seconds it took."""

from __future__ import annotations

import asyncio
import sys
import time


def celery(number: int) -> float:
    """Enqueue with ``apply_async``."""
    from benchmarks.peers.celery_app import noop

    noop.apply_async()
    began = time.perf_counter()
    for _ in range(number - 1):
        noop.apply_async()
    return time.perf_counter() - began


def dramatiq(number: int) -> float:
    """Enqueue with ``send``."""
    from benchmarks.peers.dramatiq_app import noop

    noop.send()
    began = time.perf_counter()
    for _ in range(number - 1):
        noop.send()
    return time.perf_counter() - began


def huey(number: int) -> float:
    """Enqueue by calling."""
    from benchmarks.peers.huey_app import noop

    noop()
    began = time.perf_counter()
    for _ in range(number - 1):
        noop()
    return time.perf_counter() - began


def taskiq(number: int) -> float:
    """Enqueue with ``kiq``."""
    return asyncio.run(_taskiq(number))


def rq(number: int) -> float:
    """Enqueue with ``enqueue``."""
    from benchmarks.peers.rq_app import noop, queue

    to = queue()
    to.enqueue(noop)
    began = time.perf_counter()
    for _ in range(number - 1):
        to.enqueue(noop)
    return time.perf_counter() - began


def loop(number: int) -> float:
    """Enqueue with ``LPUSH``."""
    from benchmarks.peers.loop_app import connection, enqueue

    client = connection()
    enqueue(client)
    began = time.perf_counter()
    for _ in range(number - 1):
        enqueue(client)
    return time.perf_counter() - began


async def _taskiq(number: int) -> float:
    from benchmarks.peers.taskiq_app import broker, noop

    await broker.startup()
    await noop.kiq()
    began = time.perf_counter()
    for _ in range(number - 1):
        await noop.kiq()
    taken = time.perf_counter() - began
    await broker.shutdown()
    return taken


_PEERS = {"celery": celery, "dramatiq": dramatiq, "huey": huey, "taskiq": taskiq, "rq": rq, "loop": loop}

if __name__ == "__main__":
    print(_PEERS[sys.argv[1]](int(sys.argv[2])))
