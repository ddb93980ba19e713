"""How a task ended, as ``AsyncResult.get()`` raises it."""

from __future__ import annotations

from mahavishnu_pools.errors.root import TaskOutcomeError


class TaskFailed(TaskOutcomeError):
    """The task ran and failed."""

    code = "task_failed"


class TaskTimeout(TaskOutcomeError):
    """The task ran longer than its timeout and was ended."""

    code = "task_timeout"


class TaskCancelled(TaskOutcomeError):
    """The task was cancelled."""

    code = "task_cancelled"


class TaskDead(TaskOutcomeError):
    """The task was given up and is in the dead-letter queue."""

    code = "task_dead"
