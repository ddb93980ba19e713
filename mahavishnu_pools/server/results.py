"""What the tools answer, as JSON; what is not here answers a value of ``mahavishnu_pools.schemas``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.pool import PoolInfo, PoolMetrics
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.schemas.task_batch import TaskBatch
from mahavishnu_pools.schemas.task_brief import TaskBrief


class PoolList(Value):
    """The pools, in the order of their creation."""

    total: int
    pools: list[PoolInfo]


class Monitored(Value):
    """Figures of pools, and over all of them."""

    pools: list[PoolMetrics]
    totals: dict[str, Any] = Field(description="Pools, workers, tasks by state, success_rate, memory_mb, memory_sync.")


class Health(Value):
    """How pools are."""

    status: str = Field(description="healthy, degraded or unhealthy.")
    pools_active: int
    agents: int = Field(description="Machines that run workers.")
    pools: list[dict[str, Any]] = Field(description="pool_id, name, status, workers and reason of each.")
    memory_sync: dict[str, Any] = Field(description="What waits for the memory servers.")


class ClosedAll(Value):
    """The pools that were closed."""

    closed: list[str] = Field(description="Their ids.")


class Told(TaskResult):
    """A task. With ``ended`` false it goes on; ask pool_task for it later."""

    ended: bool = Field(description="Whether the status is an outcome.")
    new: bool = Field(default=True, description="False: it had been submitted before, under the same idempotency key.")


class Submitted(Value):
    """A task that was sent."""

    task_id: str
    pool_id: str
    status: str = "queued"
    new: bool = Field(description="False: it had been submitted before, under the same idempotency key.")


class SubmittedMany(Value):
    """A batch that was sent; pool_task tells how it is."""

    batch_id: str
    total: int
    task_ids: list[str] = Field(description="In the order of the tasks.")
    status: str = "queued"
    known: list[str] = Field(
        default_factory=list, description="Those that had been submitted before, with their idempotency keys."
    )


class BatchTold(TaskBatch):
    """A batch. With ``ended`` false it goes on; ask pool_task for it later. ``items`` are the outcomes once it is."""

    ended: bool
    items: list[TaskResult] | None = None
    reduced: Any = None


class TaskOrBatch(Value):
    """A task, or a batch; the other one is null."""

    task: Told | None = None
    batch: BatchTold | None = None


class TaskList(Value):
    """Tasks, the newest first."""

    total: int
    tasks: list[TaskBrief]


class Log(Value):
    """What a task printed."""

    task_id: str
    text: str
    cut: bool = Field(description="Whether something before the text was left out.")


class Cancelled(Value):
    """How many tasks will not run (``cancelled``), are being stopped (``asked``), or had ended (``finished``)."""

    cancelled: int
    asked: int
    finished: int


class Found(Value):
    """Memories, the best first."""

    total: int
    results: list[dict[str, Any]] = Field(description="memory_id, pool_id, task_id, content, score, source, metadata.")
    notes: list[str] = Field(description="What could not be asked.")


class Workers(Value):
    """Workers, by the names that worker_execute takes."""

    worker_ids: list[str]
    pool: PoolInfo
