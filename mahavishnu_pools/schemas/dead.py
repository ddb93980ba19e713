"""Values about tasks that were given up."""

from __future__ import annotations

from datetime import datetime

from mahavishnu_pools.schemas.base import MappingValue


class DeadLetter(MappingValue):
    """A task that was given up, or a message nobody could read (then ``replayable`` is False).

    ``losses`` counts the worker groups that died while running nothing else. ``spec`` is the task's specification as
    JSON (None for a user's Celery task), ``message`` the Celery message, ``output`` the end of what it printed.
    """

    task_id: str
    pool_id: str
    cause: str
    died_at: datetime
    task_type: str | None = None
    attempts: int = 0
    losses: int = 0
    replayable: bool = True
    spec: str | None = None
    message: str = ""
    output: str = ""
