"""Calls about schedules: made, read, paused, due, noted, removed."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.schedule import Schedule, ScheduleRun
from mahavishnu_pools.store.calls import Call

logger = logging.getLogger(__name__)

#: Schedules there may be.
MOST = 1000

#: Schedules that one look takes on.
DUE_MOST = 100


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule whose time has come: the planned one, and the text it is kept as."""

    schedule: Schedule
    planned: float
    text: str


@dataclass(frozen=True, slots=True)
class Look:
    """What is due at a time of the server."""

    now: float
    due: tuple[DueSchedule, ...]


def add_schedule(schedule: Schedule, *, next_at: float | None) -> Call[None]:
    """Make a schedule.

    Raises:
        InvalidField: there is one of this name, or there are too many.
    """
    definition = schedule.model_dump_json(exclude={"status", "next_at"})

    def parse(reply: str) -> None:
        if reply == "exists":
            remedy = "Choose another name, or remove that one first ('mahavishnu schedule remove NAME')."
            raise errors.InvalidField.of("name", f"a schedule {schedule.name!r} exists already", remedy)
        if reply == "full":
            raise errors.InvalidField.of("name", f"there are {MOST} schedules already", "Remove some first.")

    return Call("schedule_add", (schedule.name, definition, _stamp(next_at), MOST), parse)


def read_schedules(*names: str) -> Call[list[Schedule]]:
    """Read schedules (none named: all), by name."""
    return Call("schedule_read", names, lambda reply: sorted(map(_schedule, reply), key=lambda one: one.name))


def read_schedule(name: str) -> Call[Schedule]:
    """Read one schedule.

    Raises:
        ScheduleNotFound: there is none of this name.
    """

    def parse(reply: list[Any]) -> Schedule:
        if not reply:
            raise errors.ScheduleNotFound.of(name)
        return _schedule(reply[0])

    return Call("schedule_read", (name,), parse)


def read_runs(name: str) -> Call[tuple[ScheduleRun, ...]]:
    """Read the last runs of a schedule, the newest first."""

    def parse(reply: list[Any]) -> tuple[ScheduleRun, ...]:
        ordered = sorted(reply, key=lambda one: int(one[0]), reverse=True)
        return tuple(_run(text, status) for _, text, status in ordered)

    return Call("schedule_runs", (name,), parse)


def look_for_due() -> Call[Look]:
    """Take outcomes into the histories, and tell what is due."""

    def parse(reply: list[Any]) -> Look:
        found = [due for one in reply[1:] if one[0] and one[2] and (due := _due(one)) is not None]
        return Look(float(reply[0]), tuple(found))

    return Call("schedule_due", (DUE_MOST,), parse)


def note_run(name: str, run: ScheduleRun, *, was: str, next_at: float | None) -> Call[bool]:
    """Note a run and move the schedule on; False when somebody else has.

    ``was`` is the next planned time as it was read; empty: a run by hand, which moves nothing.
    """
    arguments = (name, was, _stamp(next_at), run.model_dump_json(exclude_none=True), run.task_id or "")
    return Call("schedule_note", arguments, bool)


def turn(schedule: Schedule, *, planned: bool, over: str | None = None) -> dict[str, Any] | None:
    """Return what the submit script is told of a run (``Envelope.turn``); None: it may overlap.

    ``planned``: it is no run by hand. ``over`` is a task that was asked to end for it.
    """
    if schedule.overlap == "allow":
        return None
    given: dict[str, Any] = {"schedule": schedule.name}
    if over is not None:
        given["over"] = over
    return {**given, "skip": True} if planned and schedule.overlap == "skip" else given


def set_status(name: str, status: Literal["active", "paused"], *, next_at: float | None = None) -> Call[str]:
    """Pause or resume a schedule; returns the status it had.

    Raises:
        ScheduleNotFound: there is none of this name.
    """

    def parse(reply: str | None) -> str:
        if reply is None:
            raise errors.ScheduleNotFound.of(name)
        return reply

    return Call("schedule_set", (name, status, _stamp(next_at)), parse)


def remove_schedule(name: str) -> Call[bool]:
    """Remove a schedule and its history; False when there was none."""
    return Call("schedule_remove", (name,), bool)


def _stamp(moment: float | None) -> str:
    return "" if moment is None else f"{moment:.6f}"


def _due(kept: Sequence[Any]) -> DueSchedule | None:
    try:
        return DueSchedule(_schedule(kept), float(kept[2]), kept[2])
    except ValueError as exc:
        # Of another version, say: it keeps no other back.
        logger.error("A schedule that is due cannot be read: %s (%.200s)", exc, kept[0])
        return None


def _schedule(kept: Sequence[Any]) -> Schedule:
    definition, status, planned = kept
    when = datetime.fromtimestamp(float(planned), UTC) if planned and status == "active" else None
    return Schedule.model_validate({**json.loads(definition), "status": status, "next_at": when})


def _run(text: str, status: str) -> ScheduleRun:
    run = ScheduleRun.model_validate_json(text)
    return run.model_copy(update={"outcome": status}) if status else run
