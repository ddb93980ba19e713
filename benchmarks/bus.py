"""How many messages a second the bus carries to ten subscribers, and what a slow one costs the others."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.figures import Figure
from benchmarks.listening import Counting
from benchmarks.stack import Bench, running, until
from mahavishnu_pools import Message, MessageBus
from mahavishnu_pools.bus.interface import Bus

#: Messages of one measurement, subscribers that get each of them, and messages given to ``publish_many`` at once.
MESSAGES, SUBSCRIBERS, AT_ONCE = 50_000, 10, 100

#: Coroutines of one process that publish one by one at the same time.
PUBLISHERS = 20

#: Messages a second that are wanted.
WANTED = 10_000

NEWS = {"type": "heartbeat", "source_pool_id": "pool_1", "payload": {"node": "n", "status": "ready", "workers": 10}}


async def run() -> list[Figure]:
    """Measure in this process alone, then on a private stack."""
    figures = await _here("inside one process", MessageBus())
    async with running() as bench:
        bus = bench.manager.message_bus
        figures += await _here("over Redis, all in one process", bus)
        for processes in (1, 2, SUBSCRIBERS):
            figures += await _there(bench, processes)
        figures += await _published(bench)
        figures += await _slow(bus)
    return figures


async def _publish(bus: Bus, messages: int = MESSAGES) -> None:
    for _ in range(messages // AT_ONCE):
        await bus.publish_many([NEWS] * AT_ONCE)


async def _here(name: str, bus: Bus) -> list[Figure]:
    counting = Counting(SUBSCRIBERS, MESSAGES)
    subscriptions = [bus.subscribe("heartbeat", counting.handler(index)) for index in range(SUBSCRIBERS)]
    began = time.perf_counter()
    await _publish(bus)
    lost = await counting.wait()
    taken = time.perf_counter() - began
    for subscription in subscriptions:
        subscription.cancel()
    return [
        Figure(f"messages a second to 10 subscribers, {name}", MESSAGES / taken, "1/s", at_least=WANTED),
        Figure("  lost", lost, at_most=0),
    ]


@asynccontextmanager
async def _listening(bench: Bench, processes: int) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    environment = {**os.environ, "MAHAVISHNU_REDIS_URL": bench.redis_url}
    command = (sys.executable, "-m", "benchmarks.listening", str(SUBSCRIBERS // processes), str(MESSAGES))
    listening = []
    try:
        for _ in range(processes):
            made = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
            listening.append(made)
        for process in listening:
            assert process.stdout is not None
            await process.stdout.readline()  # the server has confirmed its subscription
        yield listening
    finally:
        for process in listening:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _there(bench: Bench, processes: int) -> list[Figure]:
    async with _listening(bench, processes) as listening:
        began = time.perf_counter()
        await _publish(bench.manager.message_bus)
        lost = 0
        for process in listening:
            assert process.stdout is not None
            lost += json.loads(await process.stdout.readline())["lost"]
        taken = time.perf_counter() - began
    return [
        Figure(
            f"messages a second to 10 subscribers in {processes} other process{'es' if processes > 1 else ''}",
            *(MESSAGES / taken, "1/s"),
            at_least=WANTED,
        ),
        Figure("  lost", lost, at_most=0),
    ]


async def _published(bench: Bench) -> list[Figure]:
    bus, each = bench.manager.message_bus, MESSAGES // PUBLISHERS // 2

    async def publish(messages: int) -> None:
        for _ in range(messages):
            await bus.publish(NEWS)

    began = time.perf_counter()
    await asyncio.gather(*(publish(each) for _ in range(PUBLISHERS)))
    together = each * PUBLISHERS / (time.perf_counter() - began)
    began = time.perf_counter()
    await publish(each)
    alone = each / (time.perf_counter() - began)
    return [
        Figure(f"messages published one by one a second, {PUBLISHERS} coroutines", together, "1/s"),
        Figure("messages published one by one a second, one coroutine", alone, "1/s"),
    ]


async def _slow(bus: Bus) -> list[Figure]:
    counting, handled = Counting(SUBSCRIBERS - 1, MESSAGES), 0

    async def slow(_: Message) -> None:
        nonlocal handled
        await asyncio.sleep(0.001)
        handled += 1

    quick = [bus.subscribe("heartbeat", counting.handler(index)) for index in range(SUBSCRIBERS - 1)]
    held = bus.subscribe("heartbeat", slow)
    began = time.perf_counter()
    await _publish(bus)
    lost = await counting.wait()
    taken = time.perf_counter() - began

    async def worked_off() -> bool:
        return handled + held.dropped == MESSAGES

    await until(worked_off)
    for subscription in quick:
        subscription.cancel()
    held.cancel()
    return [
        Figure("messages a second to 9 subscribers beside a slow one", MESSAGES / taken, "1/s", at_least=WANTED),
        Figure("  lost by the nine", lost + sum(one.dropped for one in quick), at_most=0),
        Figure("  lost by the slow one, as it reports", held.dropped, at_least=1),
        Figure("  lost by the slow one and not reported", MESSAGES - handled - held.dropped, at_least=0, at_most=0),
    ]
