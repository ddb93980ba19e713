"""What a list shows of a task."""

from __future__ import annotations

from datetime import datetime

from mahavishnu_pools import names
from mahavishnu_pools.schemas.base import MappingValue
from mahavishnu_pools.schemas.task import TaskStatus


class TaskBrief(MappingValue):
    """A task without what may be long. ``summary`` is the beginning of what is to be done, ``duration`` in seconds.

    ``waits`` counts the tasks that it waits for.
    """

    task_id: str
    pool_id: str | None = None
    worker_id: str | None = None
    task_type: str | None = None
    status: TaskStatus
    summary: str | None = None
    attempts: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: float | None = None
    batch_id: str | None = None
    name: str | None = None
    waits: int | None = None

    @property
    def periodic(self) -> bool:
        """Tell whether it is the system's own periodic work, which lists of tasks leave out."""
        return (self.task_type or "").startswith(f"celery:{names.PERIODIC_PREFIX}")
