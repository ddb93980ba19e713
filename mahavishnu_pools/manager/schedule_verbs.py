"""What a manager does with scheduled work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mahavishnu_pools import bootstrap, errors
from mahavishnu_pools.broker.message import spec_data
from mahavishnu_pools.manager.connection import Connected
from mahavishnu_pools.pools.interface import Task
from mahavishnu_pools.routing.chooser import Wish
from mahavishnu_pools.routing.eligibility import PoolFilter
from mahavishnu_pools.routing.submission import pack
from mahavishnu_pools.routing.task_input import build, task_spec
from mahavishnu_pools.routing.wishes import kept, restored
from mahavishnu_pools.schedules.sending import Way, send_now
from mahavishnu_pools.schedules.timing import checked_every, seconds_of, timing_of
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.schemas.schedule import NAME_PATTERN, Schedule, ScheduleHistory, ScheduleRun
from mahavishnu_pools.store import schedules as store
from mahavishnu_pools.store.steps import Steps, run_steps
from mahavishnu_pools.wording import short


class ScheduleVerbs(Connected):
    """The verbs about schedules. Beat sends what is due; without a beat nothing is."""

    async def add_schedule(  # noqa: PLR0913 - the public form of what a caller may say
        self,
        name: str,
        task: Task,
        *,
        cron: str | None = None,
        every: str | float | None = None,
        timezone: str = "UTC",
        missed: str = "run",
        overlap: str = "allow",
        pool: str | None = None,
        pool_selector: PoolSelector | str | None = None,
        pool_affinity: str | None = None,
        filters: PoolFilter | None = None,
    ) -> Schedule:
        """Have a task sent again and again: by a ``cron`` expression in a time zone, or ``every`` so long.

        ``every`` is seconds, or a text such as ``15m``; the least is 10 s. ``missed`` is ``run`` or ``skip``: whether
        a run is made up for when nobody could send it in time. ``overlap`` is what becomes of a run when the one before
        it has not ended: ``allow`` (both run), ``skip`` (it is left out) or ``cancel`` (the one before is cancelled).
        The pool is chosen at each run.

        Raises:
            InvalidField: the name is taken, or something cannot be used; nothing was made.
            UnknownChoice, PayloadTooLarge, PoolNotFound, PoolGone: the task cannot be sent, or the pool is unknown.
        """
        where = kept(Wish(pool, pool_selector, pool_affinity, filters))
        span = seconds_of(every) if isinstance(every, str) else None if every is None else checked_every(float(every))
        when = {"cron": cron, "every": span, "timezone": timezone, "missed": missed, "overlap": overlap}
        given = {"name": name, "where": where, "created_at": datetime.now(UTC), **when}
        made = _schedule(given, task)
        next_at = next(timing_of(made).upcoming(made.created_at.timestamp()), None)
        parts = await self._connected()
        await run_steps(parts.store, self._checked(self._way(parts), made))
        await parts.store.run(store.add_schedule(made, next_at=next_at))
        return await parts.store.run(store.read_schedule(name))

    async def schedules(self) -> list[Schedule]:
        """Return all schedules by name."""
        return await (await self._connected()).store.run(store.read_schedules())

    async def schedule(self, name: str, *, limit: int = 100) -> ScheduleHistory:
        """Return a schedule and its last runs (at most 100 are kept), the newest first.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        run = (await self._connected()).store.run
        found = await run(store.read_schedule(name))
        return ScheduleHistory(schedule=found, runs=(await run(store.read_runs(name)))[:limit])

    async def pause_schedule(self, name: str) -> Schedule:
        """Let a schedule send nothing until it is resumed; raises like ``schedule``."""
        return await self._set(store.set_status(name, "paused"), name)

    async def resume_schedule(self, name: str) -> Schedule:
        """Let a schedule go on with its next time; what came up while it was paused is not missed.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        found = await (await self._connected()).store.run(store.read_schedule(name))
        next_at = next(timing_of(found).upcoming(datetime.now(UTC).timestamp()), None)
        return await self._set(store.set_status(name, "active", next_at=next_at), name)

    async def run_schedule(self, name: str) -> ScheduleRun:
        """Send a schedule's task now, also when it is paused; its planned times stay.

        Raises:
            ScheduleNotFound: there is none of this name.
            ScheduleBusy: the last run has not ended, and ``overlap`` is ``skip``.
            PoolNotFound, PoolGone, NoPoolAvailable: no pool can take it.
        """
        parts = await self._connected()
        found = await parts.store.run(store.read_schedule(name))
        steps = send_now(self._way(parts), found, datetime.now(UTC))
        return await run_steps(parts.store, steps)

    async def remove_schedule(self, name: str) -> None:
        """Remove a schedule with its history; tasks it has sent go on.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        if not await (await self._connected()).store.run(store.remove_schedule(name)):
            raise errors.ScheduleNotFound.of(name)

    async def _set(self, call: Any, name: str) -> Schedule:
        run = (await self._connected()).store.run
        await run(call)
        found: Schedule = await run(store.read_schedule(name))
        return found

    def _way(self, parts: bootstrap.Parts) -> Way:
        return Way(parts.chooser, parts.sender, self.settings.result_expires)

    def _checked(self, way: Way, schedule: Schedule) -> Steps[None]:
        """Refuse a schedule whose task could not be sent whatever pools there are."""
        yield from pack(way.chooser, way.sender, [schedule.task])
        wish = restored(schedule.where.model_dump())
        if wish.pool is not None:
            yield from way.chooser.find(wish.pool)
        way.chooser.check(wish)


def _schedule(given: Mapping[str, Any], task: Task) -> Schedule:
    name = given["name"]
    if not isinstance(name, str) or re.fullmatch(NAME_PATTERN, name) is None:
        remedy = "Give 1 to 63 letters, digits, dots, dashes or underscores, beginning with a letter or digit."
        raise errors.InvalidField.of("name", f"{short(name)} cannot be a schedule's name", remedy)
    if (given["cron"] is None) == (given["every"] is None):
        problem = "is missing, and so is every=" if given["cron"] is None else "excludes every="
        raise errors.InvalidField.of("cron", problem, "Give exactly one of the two.")
    if given["every"] is not None and given["timezone"] != "UTC":
        raise errors.InvalidField.of("timezone", "goes with cron= alone", "Leave it out.")
    spec = task_spec(task)
    if spec.idempotency_key is not None:
        remedy = "Leave it out: each planned time has a key of its own, so nothing is sent twice."
        raise errors.InvalidField.of("idempotency_key", "cannot be given with a schedule", remedy)
    if spec.after:
        raise errors.InvalidField.of("after", "cannot be given with a schedule", "Leave it out: it is sent by time.")
    return build(Schedule, {**given, "task": spec_data(spec)})
