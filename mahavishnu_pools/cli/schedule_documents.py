"""Documents about scheduled work. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mahavishnu_pools.cli.formats.interface import Block, Cell, Column, Document, Fields, Note, State, Table

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.schedule import Schedule, ScheduleHistory, ScheduleRun

#: Characters of what is to be done that a table shows.
CHARACTERS = 60

#: Characters of it that ``schedule show`` shows.
MOST_SHOWN = 2000

#: Fields of a task that its summary tells.
_SUMMED_UP = frozenset({"prompt", "task_type", "payload"})

#: What becomes of a run when the one before it has not ended.
_OVERLAPS = {"allow": "are allowed", "skip": "are left out", "cancel": "cancel the one before"}

_COLUMNS = (
    Column("Name", whole=True),
    Column("When"),
    Column("Status"),
    Column("Next"),
    Column("Pool", spare=1),
    Column("Task", spare=2),
)
_RUNS = (
    Column("Planned"),
    Column("Outcome"),
    Column("Task", whole=True),
    Column("Pool", spare=1),
    Column("Missed", "right", spare=2),
    Column("By", spare=3),
    Column("Reason"),
)


def listed(schedules: Sequence[Schedule], pools: Container[str]) -> Document:
    """Return the document of ``schedule list``; ``pools`` are the names and ids of those there are."""
    data = {"schedules": [one.model_dump(mode="json") for one in schedules]}
    if not schedules:
        return Document(data, (Note("There are no schedules. Make one with: mahavishnu schedule add NAME --cron …"),))
    rows = tuple(
        (one.name, when(one), State(one.status), _moment(one.next_at), _pool(one, pools), summary(one.task))
        for one in schedules
    )
    return Document(data, (Table("Schedules", _COLUMNS, rows),))


def _pool(schedule: Schedule, pools: Container[str]) -> str | None:
    name = schedule.where.pool
    return name if name is None or name in pools else f"{name} (gone)"


def added(schedule: Schedule) -> Document:
    """Return the document of ``schedule add``."""
    return changed("Added", schedule)


def changed(done: str, schedule: Schedule) -> Document:
    """Return the document of a command that changed a schedule."""
    head = Note(f"{done} schedule {schedule.name}", good=True)
    return Document(schedule.model_dump(mode="json"), (head, Fields(None, _fields(schedule), indented=True)))


def history(found: ScheduleHistory, names: Mapping[str, str]) -> Document:
    """Return the document of ``schedule show``; ``names`` are those of pools by id."""
    schedule = found.schedule
    head = Fields(None, (("Schedule", schedule.name), ("Status", schedule.status), *_fields(schedule, whole=True)))
    blocks: list[Block] = [head]
    if found.runs:
        blocks.append(Table("Runs", _RUNS, tuple(map(_run, found.runs))))
    else:
        blocks.append(Note("It has not run yet."))
    data = found.model_dump(mode="json")
    runs = [{**run, "pool_name": names.get(run["pool_id"])} for run in data["runs"]]
    return Document({**data, "runs": runs}, tuple(blocks))


def sent(name: str, run: ScheduleRun, names: Mapping[str, str]) -> Document:
    """Return the document of ``schedule run``; ``names`` are those of pools by id."""
    rows: tuple[tuple[str, Cell], ...] = (("Task", run.task_id), ("Pool", run.pool_id))
    hint = Note(f"  Follow it with: mahavishnu pools task {run.task_id} --follow")
    head = Note(f"Sent the task of schedule {name}", good=True)
    data = {"name": name, **run.model_dump(mode="json"), "pool_name": names.get(run.pool_id or "")}
    return Document(data, (head, Fields(None, rows, indented=True), hint))


def removed(name: str) -> Document:
    """Return the document of ``schedule remove``."""
    return Document({"name": name, "removed": True}, (Note(f"Removed schedule {name}", good=True),))


def when(schedule: Schedule) -> str:
    """Return in words when a schedule is due."""
    if schedule.every is not None:
        return f"every {schedule.every:g} s"
    return f"{schedule.cron} ({schedule.timezone})"


def summary(task: dict[str, Any], *, most: int = CHARACTERS) -> str:
    """Return in a line of at most so many characters what is to be done."""
    payload = task.get("payload") or {}
    command = payload.get("command")
    text = task.get("prompt") or payload.get("prompt")
    if text is None:
        words = " ".join(map(str, command)) if isinstance(command, list) else str(command or "")
        text = f"{task.get('task_type', 'prompt')} {words}".strip()
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _fields(schedule: Schedule, *, whole: bool = False) -> tuple[tuple[str, Cell], ...]:
    rows: list[tuple[str, Cell]] = [
        ("When", when(schedule)),
        ("Next", _moment(schedule.next_at) or "not before it is resumed"),
        ("Missed runs", "the last one is sent late" if schedule.missed == "run" else "are skipped"),
        ("Overlapping runs", _OVERLAPS[schedule.overlap]),
        ("Task", summary(schedule.task, most=MOST_SHOWN if whole else CHARACTERS)),
    ]
    if whole:
        rows.extend(_options(schedule.task))
    return (*rows, *((("Pool", schedule.where.pool),) if schedule.where.pool else ()))


def _options(task: dict[str, Any]) -> list[tuple[str, Cell]]:
    """Return what else was said of a task; of variables and metadata only the names."""
    given = ((name, task[name]) for name in sorted(task.keys() - _SUMMED_UP) if task[name] not in (None, [], {}))
    return [
        (name.replace("_", " ").capitalize(), ", ".join(map(str, one)) if isinstance(one, list | dict) else str(one))
        for name, one in given
    ]


def _run(run: ScheduleRun) -> tuple[Cell, ...]:
    planned = _moment(run.planned_at)
    return (planned, State(run.outcome), run.task_id, run.pool_id, run.missed or None, run.by, run.reason)


def _moment(value: datetime | None) -> str | None:
    return None if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
