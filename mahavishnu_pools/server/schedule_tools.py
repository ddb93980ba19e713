"""The tools on scheduled work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from mahavishnu_pools.mcp_tools import Answer, Tool
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.schedule import Missed, Overlap, Schedule, ScheduleHistory
from mahavishnu_pools.server import texts
from mahavishnu_pools.server.arguments import NoArguments, SentTask
from mahavishnu_pools.server.pools import Pools
from mahavishnu_pools.server.task_tools import filters_of, task_of

_NAME = "Name of the schedule."


class AddSchedule(SentTask):
    """A task that is sent again and again."""

    name: str = Field(description="A name no other schedule has.")
    cron: str | None = Field(
        default=None, description="When: minute, hour, day of month, month, day of week, as in 30 4 * * mon-fri."
    )
    every: str | None = Field(default=None, description="Instead of cron: 90s, 15m, 2h or 1d.")
    timezone: str = Field(default="UTC", description="Of cron, such as Europe/Vienna.")
    missed: Missed = Field(
        default="run", description="When nobody could send it in time: send the last one late, or none."
    )
    overlap: Overlap = Field(
        default="allow", description="When the run before has not ended: run both, leave this one out, or cancel that."
    )


class OneSchedule(Value):
    """A schedule."""

    name: str = Field(description=_NAME)
    limit: int = Field(default=20, ge=1, le=100, description="Its newest so many runs.")


class ChangeSchedule(Value):
    """What is to become of a schedule."""

    name: str = Field(description=_NAME)
    action: Literal["pause", "resume", "run", "remove"] = Field(
        description="run: send its task now, besides its times; remove: with its history."
    )


class ScheduleList(Value):
    """The schedules, by name."""

    total: int
    schedules: list[Schedule]


class Changed(Value):
    """What became of a schedule; ``task_id`` is what was sent."""

    name: str
    status: str = Field(description="active, paused or removed.")
    task_id: str | None = None


class ScheduleTools:
    """The tools on the schedules of one stack."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        add = "Have a task sent again and again: by a cron expression, or every so long."
        show = "Show a schedule and what became of its last runs."
        change = "Pause, resume or remove a schedule, or send its task now."
        none = NoArguments
        return (
            Tool("schedule_add", add, AddSchedule, self.add, Schedule),
            Tool("schedule_list", "List the schedules.", none, self.list, ScheduleList, reads=True),
            Tool("schedule_show", show, OneSchedule, self.show, ScheduleHistory, reads=True),
            Tool("schedule_change", change, ChangeSchedule, self.change, Changed),
        )

    async def add(self, given: AddSchedule) -> Answer:
        """Make a schedule."""
        manager = await self._pools.manager()
        names = ("cron", "every", "timezone", "missed", "overlap", "pool_selector", "pool_affinity")
        how: dict[str, Any] = {name: getattr(given, name) for name in names}
        where: dict[str, Any] = {"pool": given.pool_id, "filters": filters_of(given)}
        made = await manager.add_schedule(given.name, task_of(given), **how, **where)
        return Answer(f"✅ Added schedule {_line(made)}", made.model_dump(mode="json"))

    async def list(self, _: NoArguments) -> Answer:
        """List the schedules."""
        found = await (await self._pools.manager()).schedules()
        value = ScheduleList(total=len(found), schedules=found)
        return Answer(texts.listed(f"{len(found)} schedules", map(_line, found)), value.model_dump(mode="json"))

    async def show(self, given: OneSchedule) -> Answer:
        """Show a schedule."""
        found = await (await self._pools.manager()).schedule(given.name, limit=given.limit)
        lines = (f"{run.planned_at:%Y-%m-%d %H:%M:%S}: {run.outcome} {run.task_id or ''}" for run in found.runs)
        return Answer(texts.listed(_line(found.schedule), lines), found.model_dump(mode="json"))

    async def change(self, given: ChangeSchedule) -> Answer:
        """Change a schedule."""
        manager = await self._pools.manager()
        task_id = None
        if given.action == "remove":
            await manager.remove_schedule(given.name)
            return _changed(Changed(name=given.name, status="removed"))
        if given.action == "run":
            task_id = (await manager.run_schedule(given.name)).task_id
        elif given.action == "pause":
            await manager.pause_schedule(given.name)
        else:
            await manager.resume_schedule(given.name)
        status = (await manager.schedule(given.name)).schedule.status
        return _changed(Changed(name=given.name, status=status, task_id=task_id))


def _changed(value: Changed) -> Answer:
    sent = f"; sent task {value.task_id}" if value.task_id else ""
    return Answer(f"Schedule {value.name} is {value.status}{sent}", value.model_dump(mode="json"))


def _line(one: Schedule) -> str:
    when = f"every {one.every:g} s" if one.every is not None else f"{one.cron} ({one.timezone})"
    following = "none" if one.next_at is None else f"{one.next_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"{one.name}: {when}, {one.status}, next {following}"
