"""A private stack and a manager for it, apart from everything that is configured or running on the machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mahavishnu_pools import PoolManager, Settings
from mahavishnu_pools.embedded.private import PrivateStack
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.store.pools import read_pools

#: Seconds that something waited for may take.
DEADLINE = 120.0

#: Nothing starts beside what is measured: these would still be starting while the first figures are taken.
ALONE: dict[str, Any] = {"embedded_session_buddy": "off", "embedded_akosha": "off", "server": "off", "flower": "off"}

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Bench:
    """A running stack, its settings and a connected manager."""

    manager: PoolManager
    settings: Settings
    redis_url: str
    data_dir: Path

    async def group_pids(self) -> list[int]:
        """Return the process ids of all worker groups that are ready."""
        registry = await (await self.manager._connected()).store.run(read_pools())
        return [group.pid for pool in registry.pools for group in pool.groups if group.pid and group.status == "ready"]

    async def whole_pss_mb(self) -> float:
        """Return the proportional set size of all its processes, from supervisor to tasks, in MB."""
        agent = psutil.Process((await self.group_pids())[0]).parent()
        supervisor = agent and agent.parent()
        assert supervisor is not None, "a group's agent is a child of the supervisor"
        tree = [supervisor, *supervisor.children(recursive=True)]
        return await asyncio.to_thread(lambda: sum(pss_mb(process.pid) for process in tree))


def isolate() -> None:
    """Forget the machine's own settings, and let worker groups import this package."""
    for name in [name for name in os.environ if name.startswith("MAHAVISHNU_")]:
        del os.environ[name]
    os.environ["MAHAVISHNU_SETTINGS_FILE"] = os.devnull
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, str(ROOT)])
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))


def pool(name: str, workers: int, **fields: object) -> PoolConfig:
    """Return the configuration of a pool with so many workers that runs the tasks of this package."""
    sizes = {"min_workers": workers, "max_workers": workers}
    return PoolConfig(name=name, worker_type="shell", **{**sizes, **fields})


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    """Start a private stack; all of it ends with the block."""
    settings = Settings(
        imports=("benchmarks.tasks",), drain_timeout=1.0, spawn_timeout=120.0, submit_timeout=30.0, **ALONE
    )
    async with PrivateStack(settings) as stack:
        manager = PoolManager(settings=settings, redis_url=stack.redis_url)
        await manager.connect()
        try:
            yield Bench(manager, settings, stack.redis_url, stack.data_dir)
        finally:
            await manager.close()


def pss_mb(pid: int) -> float:
    """Return the proportional set size of a process in MB; 0 when it is gone or the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


async def until(look: Callable[[], Awaitable[bool]], *, every: float = 0.01) -> None:
    """Wait until ``look`` sees what is wanted; ``every`` is the pause between two looks in seconds.

    Raises:
        TimeoutError: it did not within DEADLINE.
    """
    async with asyncio.timeout(DEADLINE):
        while not await look():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(every)
