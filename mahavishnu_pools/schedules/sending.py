"""Sends what schedules have due. A plan: beat and managers carry it out, each with a store of its own."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.routing.chooser import Chooser
from mahavishnu_pools.routing.submission import Sender, pack, send
from mahavishnu_pools.routing.task_input import task_spec
from mahavishnu_pools.routing.wishes import restored
from mahavishnu_pools.schedules.timing import due
from mahavishnu_pools.schemas.schedule import Schedule, ScheduleRun
from mahavishnu_pools.store.schedules import DueSchedule, look_for_due, note_run

if TYPE_CHECKING:
    from mahavishnu_pools.store.steps import Steps
    from mahavishnu_pools.store.tasks import Submitted

logger = logging.getLogger(__name__)


#: Characters kept of why a run could not be sent.
REASON_MOST = 1000


@dataclass(frozen=True, slots=True)
class Way:
    """What tasks are sent with."""

    chooser: Chooser
    sender: Sender


def send_due(way: Way) -> Steps[int]:
    """Send the tasks of all schedules whose time has come; returns how many were sent.

    Two that do this at once send each task once: its idempotency key is the schedule's name with the planned time, and
    of the two one moves the schedule on.
    """
    look = yield look_for_due()
    sent = 0
    for one in look.due:
        run, next_at = yield from _carry_out(way, one, look.now)
        noted = yield note_run(one.schedule.name, run, was=one.text, next_at=next_at)
        if noted and run.outcome != "sent":
            logger.warning("Schedule %s: %s (%s)", one.schedule.name, run.outcome, run.reason)
        sent += noted and run.task_id is not None
    return sent


def send_now(way: Way, schedule: Schedule, now: datetime) -> Steps[ScheduleRun]:
    """Send a schedule's task now, besides its planned times.

    Raises:
        InvalidField, PoolNotFound, NoPoolAvailable, …: it cannot be sent; as for any task.
    """
    found = yield from _submit(way, schedule, f"{now.isoformat()} by hand")
    run = ScheduleRun(
        planned_at=now, sent_at=now, outcome="sent", task_id=found.task_id, pool_id=found.pool_id, by="hand"
    )
    yield note_run(schedule.name, run, was="", next_at=None)
    return run


def _carry_out(way: Way, one: DueSchedule, now: float) -> Steps[tuple[ScheduleRun, float | None]]:
    at = datetime.fromtimestamp(now, UTC)
    try:
        what = due(one.schedule, one.planned, now)
    except errors.InvalidInput as exc:  # its time zone is gone from this machine, say: when it is due is not known
        planned = datetime.fromtimestamp(one.planned, UTC)
        return ScheduleRun(planned_at=planned, sent_at=at, outcome="refused", reason=exc.message[:REASON_MOST]), None
    planned = datetime.fromtimestamp(what.planned, UTC)
    run = ScheduleRun(planned_at=planned, sent_at=at, outcome="refused", missed=what.missed)
    if what.run is None:
        late = f"it was {now - what.planned:.0f} s late"
        return run.model_copy(update={"outcome": "missed", "reason": late}), what.next
    try:
        found = yield from _submit(way, one.schedule, planned.isoformat())
    except (errors.InvalidInput, errors.NotFound) as exc:
        return run.model_copy(update={"reason": exc.message[:REASON_MOST]}), what.next
    except errors.Unavailable:
        raise  # nothing can be sent now; it is tried again
    except Exception as exc:  # the border of one schedule: what a task type of a plug-in raises keeps no other back
        logger.exception("Schedule %s: its task cannot be sent", one.schedule.name)
        return run.model_copy(update={"reason": f"{type(exc).__name__}: {exc}"[:REASON_MOST]}), what.next
    return run.model_copy(update={"outcome": "sent", "task_id": found.task_id, "pool_id": found.pool_id}), what.next


def _submit(way: Way, schedule: Schedule, moment: str) -> Steps[Submitted]:
    # The name of a schedule has at most 63 characters, so the key is short enough.
    spec = task_spec({**schedule.task, "idempotency_key": f"schedule:{schedule.name}:{moment}"})
    parcels = yield from pack(way.chooser, way.sender, [spec])
    (found,) = yield from send(way.chooser, way.sender, parcels, restored(schedule.where.model_dump()))
    return found
