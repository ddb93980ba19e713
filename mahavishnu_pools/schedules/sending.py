"""Sends what schedules have due. A plan: beat and managers carry it out, each with a store of its own."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.routing.chooser import Chooser
from mahavishnu_pools.routing.submission import Sender, pack, send
from mahavishnu_pools.routing.task_input import task_spec
from mahavishnu_pools.routing.wishes import restored
from mahavishnu_pools.schedules.timing import due
from mahavishnu_pools.schemas.schedule import Schedule, ScheduleRun
from mahavishnu_pools.store.schedules import DueSchedule, look_for_due, note_run, turn
from mahavishnu_pools.store.tasks import Overlapping, cancel_many

if TYPE_CHECKING:
    from mahavishnu_pools.store.steps import Steps
    from mahavishnu_pools.store.tasks import Submitted

logger = logging.getLogger(__name__)


#: Characters kept of why a run could not be sent.
REASON_MOST = 1000

#: Runs that are cancelled for one; there is a second only when somebody starts one meanwhile.
CANCELLED_MOST = 4


@dataclass(frozen=True, slots=True)
class Way:
    """What tasks are sent with. ``result_ttl`` is how long (s) outcomes of those that are cancelled are kept."""

    chooser: Chooser
    sender: Sender
    result_ttl: float


@dataclass(frozen=True, slots=True)
class _Sent:
    """A run that was sent, and the one that was cancelled for it, if any."""

    task: Submitted
    cancelled: str | None

    def fields(self) -> dict[str, str]:
        """Return what the history has of it."""
        told = {"outcome": "sent", "task_id": self.task.task_id, "pool_id": self.task.pool_id}
        if self.cancelled is not None:
            told["reason"] = f"cancelled the run before it ({self.cancelled})"
        return told


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
            level = logging.INFO if run.outcome == "skipped" else logging.WARNING
            logger.log(level, "Schedule %s: %s (%s)", one.schedule.name, run.outcome, run.reason)
        sent += noted and run.task_id is not None
    return sent


def send_now(way: Way, schedule: Schedule, now: datetime) -> Steps[ScheduleRun]:
    """Send a schedule's task now, besides its planned times.

    Raises:
        ScheduleBusy: the run before has not ended, and runs are not to overlap.
        InvalidField, PoolNotFound, NoPoolAvailable, …: it cannot be sent; as for any task.
    """
    try:
        found = yield from _submit(way, schedule, now, by="hand")
    except Overlapping as exc:
        raise errors.ScheduleBusy.of(schedule.name, exc.task_id) from exc
    run = ScheduleRun.model_validate({"planned_at": now, "sent_at": now, "by": "hand", **found.fields()})
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
        found = yield from _submit(way, one.schedule, planned)
    except Overlapping as exc:
        reason = f"the run before it ({exc.task_id}) had not ended"
        return run.model_copy(update={"outcome": "skipped", "reason": reason}), what.next
    except (errors.InvalidInput, errors.NotFound) as exc:
        return run.model_copy(update={"reason": exc.message[:REASON_MOST]}), what.next
    except errors.Unavailable:
        raise  # nothing can be sent now; it is tried again
    except Exception as exc:  # the border of one schedule: what a task type of a plug-in raises keeps no other back
        logger.exception("Schedule %s: its task cannot be sent", one.schedule.name)
        return run.model_copy(update={"reason": f"{type(exc).__name__}: {exc}"[:REASON_MOST]}), what.next
    return run.model_copy(update=found.fields()), what.next


def _submit(way: Way, schedule: Schedule, moment: datetime, *, by: str = "beat") -> Steps[_Sent]:
    """Submit a run, and before that cancel the one that has not ended where the schedule says so.

    Raises:
        Overlapping: the run before has not ended.
    """
    # The name of a schedule has at most 63 characters, so the key is short enough.
    key = f"schedule:{schedule.name}:{moment.isoformat()}{' by hand' if by == 'hand' else ''}"
    (parcel,) = yield from pack(way.chooser, way.sender, [task_spec({**schedule.task, "idempotency_key": key})])
    wish, over = restored(schedule.where.model_dump()), None
    for tries in range(CANCELLED_MOST + 1):
        told = turn(schedule, planned=by == "beat", over=over)
        run = replace(parcel, envelope=replace(parcel.envelope, turn=told))
        try:
            (found,) = yield from send(way.chooser, way.sender, [run], wish)
        except Overlapping as exc:
            if schedule.overlap != "cancel" or tries == CANCELLED_MOST:
                raise
            over = exc.task_id
            why = f"The next run of schedule {schedule.name} was {'due' if by == 'beat' else 'started by hand'}."
            yield cancel_many([over], reason=why, result_ttl=way.result_ttl)
        else:
            return _Sent(found, over)
    raise AssertionError("the last try starts it, or says why not")
