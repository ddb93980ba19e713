"""One producer of the routing measurement: ``python -m benchmarks.producer COUNT``; begins when it reads a line."""

from __future__ import annotations

import asyncio
import sys

from mahavishnu_pools import PoolManager, PoolSelector


async def main(count: int) -> None:
    """Submit ``count`` tasks one by one, each routed by itself."""
    manager = PoolManager()
    await manager.connect()
    await manager.list_pools()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    hold = {"task_type": "bench-nap", "payload": {"seconds": 3600.0}, "timeout": 3600}
    for _ in range(count):
        await manager.submit(hold, pool_selector=PoolSelector.LEAST_LOADED)
    await manager.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
