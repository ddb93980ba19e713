"""Values about tasks that were given up."""

from __future__ import annotations

from datetime import datetime

from mahavishnu_pools.schemas.base import MappingValue


class DeadLetter(MappingValue):
    """A task that was given up, or a message nobody could read (then ``replayable`` is False).

    ``losses`` counts the worker groups that died while running nothing else, ``summary`` is the beginning of what was
    to be done.
    """

    task_id: str
    pool_id: str
    cause: str
    died_at: datetime
    task_type: str | None = None
    attempts: int = 0
    losses: int = 0
    replayable: bool = True
    summary: str | None = None


class DeadLetterDetails(DeadLetter):
    """A dead letter with all that is known of it.

    ``spec`` is the task's specification as JSON (None for a user's Celery task), ``message`` the Celery message (the
    first 64 KiB of one nobody could read), ``output`` the end of what it printed.
    """

    spec: str | None = None
    message: str = ""
    output: str = ""
