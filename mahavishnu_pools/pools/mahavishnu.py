"""Pool type ``mahavishnu``: worker groups on machines that run a node agent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.pools.interface import Operations, PoolType, Task
from mahavishnu_pools.schemas.moving import DrainedPool
from mahavishnu_pools.schemas.pool import PoolConfig, PoolInfo, PoolMetrics
from mahavishnu_pools.schemas.task import TaskResult


class MahavishnuPool:
    """A handle of a pool of this type."""

    def __init__(self, pool_id: str, config: PoolConfig, operations: Operations) -> None:
        self.pool_id = pool_id
        self.config = config
        self._operations = operations

    def __repr__(self) -> str:
        return f"<pool {self.config.name} ({self.pool_id})>"

    async def execute(self, task: Task) -> TaskResult:
        """Run a task on the pool and return its outcome, also when it failed."""
        return await self._operations.execute_on_pool(self.pool_id, task)

    async def execute_batch(self, tasks: Iterable[Task]) -> list[TaskResult]:
        """Run tasks on the pool and return their outcomes in input order."""
        return await self._operations.execute_batch_on_pool(self.pool_id, tasks)

    async def scale(self, target_workers: int, *, max_workers: int | None = None) -> PoolInfo:
        """Have ``target_workers`` workers; ``max_workers`` changes the limit first."""
        return await self._operations.scale_pool(self.pool_id, target_workers, max_workers=max_workers)

    async def get_metrics(self) -> PoolMetrics:
        """Return the pool's figures now."""
        return metrics_of(await self.info())

    async def health_check(self) -> dict[str, Any]:
        """Return ``pool_id``, ``name``, ``status``, ``workers`` and ``reason``."""
        return health_of(await self.info())

    async def info(self) -> PoolInfo:
        """Return what is seen of the pool."""
        return await self._operations.pool_info(self.pool_id)

    async def pause(self) -> PoolInfo:
        """Let running tasks end and start no more."""
        return await self._operations.pause_pool(self.pool_id)

    async def resume(self) -> PoolInfo:
        """Go on after a pause."""
        return await self._operations.resume_pool(self.pool_id)

    async def drain(self, *, timeout: float | None = None) -> DrainedPool:  # noqa: ASYNC109 - public name
        """Take no new tasks and start none; with ``timeout`` (seconds) wait for those that run, then hand them back.

        Tasks that wait stay in the pool: resume it, rebalance, or close it.
        """
        return await self._operations.drain_pool(self.pool_id, timeout=timeout)

    async def close(self) -> None:
        """Close the pool for good."""
        await self._operations.close_pool(self.pool_id)


def metrics_of(info: PoolInfo) -> PoolMetrics:
    """Return the figures of a pool."""
    return PoolMetrics(
        pool_id=info.pool_id,
        status=info.status,
        active_workers=min(info.running, info.workers),
        total_workers=info.workers,
        queued=info.queued,
        tasks_completed=info.tasks_completed,
        tasks_failed=info.tasks_failed,
        avg_duration=info.avg_duration,
        success_rate=info.success_rate,
        memory_mb=info.memory_mb,
        cpu_percent=info.cpu_percent,
    )


def health_of(info: PoolInfo) -> dict[str, Any]:
    """Return one pool's part of a health report."""
    return {
        "pool_id": info.pool_id,
        "name": info.name,
        "status": info.status.value,
        "workers": info.workers,
        "reason": info.reason,
    }


def _check(config: PoolConfig) -> None:
    if config.endpoint is not None:
        raise errors.InvalidField.of("endpoint", "is nothing that a mahavishnu pool uses", "Leave it out.")


MAHAVISHNU = PoolType("mahavishnu", check=_check, handle=MahavishnuPool)
