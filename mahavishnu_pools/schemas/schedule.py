"""Values about scheduled work: schedules, and what became of their runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, JsonValue

from mahavishnu_pools.schemas.base import MappingValue, Value

#: What a schedule may be called.
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"

#: What becomes of a run whose time passed while nobody could send it.
Missed = Literal["run", "skip"]

#: What becomes of a run when the one before it has not ended.
Overlap = Literal["allow", "skip", "cancel"]


class Where(Value):
    """How the pool of a scheduled task is chosen, each time anew; ``pool`` names the one."""

    pool: str | None = None
    pool_selector: str | None = None
    pool_affinity: str | None = None
    filters: dict[str, JsonValue] | None = None


class Schedule(MappingValue):
    """A task that is sent again and again. Exactly one of ``cron`` and ``every`` (seconds) is given.

    ``missed`` says what happens to a run whose time passed while nobody could send it: ``run`` sends the last one of
    them as soon as possible, ``skip`` none. ``overlap`` says what happens when a run is due and the one before it has
    not ended: ``allow`` sends it all the same, ``skip`` leaves it out, ``cancel`` cancels the one before and sends it.
    ``next_at`` is None when it is paused, or never due again. Times are aware UTC.
    """

    name: str
    cron: str | None = None
    every: float | None = None
    timezone: str = "UTC"
    missed: Missed = "run"
    overlap: Overlap = "allow"
    task: dict[str, Any]
    where: Where = Field(default_factory=Where)
    status: Literal["active", "paused"] = "active"
    created_at: datetime
    next_at: datetime | None = None


class ScheduleRun(MappingValue):
    """One planned time of a schedule, or several that were missed.

    ``outcome`` is ``missed`` (nothing was sent), ``skipped`` (the run before it had not ended), ``refused`` (it could
    not be sent; ``reason`` says why), ``sent`` or the status of its task. ``missed`` counts the planned times before it
    that nobody could send. ``by`` is ``beat`` or ``hand``.
    """

    planned_at: datetime
    sent_at: datetime
    outcome: str
    task_id: str | None = None
    pool_id: str | None = None
    reason: str | None = None
    missed: int = 0
    by: Literal["beat", "hand"] = "beat"


class ScheduleHistory(MappingValue):
    """A schedule and its last runs, the newest first."""

    schedule: Schedule
    runs: tuple[ScheduleRun, ...]
