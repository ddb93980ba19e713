"""Documents about several tasks: lists, batches, tasks that were sent again. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mahavishnu_pools.cli.contest_documents import contest_rows
from mahavishnu_pools.cli.formats.interface import Block, Cell, Column, Document, Fields, Note, State, Table, Text
from mahavishnu_pools.cli.task_documents import distributed

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.task import DistributionResult
    from mahavishnu_pools.schemas.task_batch import Retried, TaskBatch
    from mahavishnu_pools.schemas.task_brief import TaskBrief

_COLUMNS = (
    Column("Task", whole=True),
    Column("Pool"),
    Column("Status", whole=True),
    Column("Type", spare=2),
    Column("What", least=16),
    Column("Created", whole=True, spare=3),
    Column("Duration", "right", spare=1),
)

#: What makes JSON of the summary of a command: nothing, or what may have been cut off its end.
_ENDS = ("", '"]}', '"}')


def task_list(tasks: Sequence[TaskBrief], *, limit: int) -> Document:
    """Return the document of ``pools tasks``; as many as ``limit`` are taken for a part of them."""
    data = {"tasks": [task.model_dump(mode="json") for task in tasks]}
    if not tasks:
        return Document(data, (Note("No tasks."),))
    table = Table("Tasks", _COLUMNS, tuple(_row(task) for task in tasks))
    more = (Note(f"There may be more than {limit}; --limit shows more."),) if len(tasks) == limit else ()
    return Document(data, (table, *more))


def retried(done: Retried) -> Document:
    """Return the document of ``pools retry``."""
    data = done.model_dump(mode="json")
    skipped = tuple(Note(f"Not sent again: {task_id} ({why})") for task_id, why in done.skipped.items())
    if done.batch_id is None:
        return Document(data, (Note("Nothing had failed; nothing was sent again."), *skipped))
    count = len(done.retried)
    blocks: tuple[Block, ...] = (
        Note(f"{count} {'task was' if count == 1 else 'tasks were'} sent again", good=True),
        Fields(None, (("Batch", done.batch_id),), indented=True),
        Note(f"  Follow them with: mahavishnu pools task --batch {done.batch_id} --follow"),
        Text("Task IDs", "\n".join(done.retried.values())),
    )
    return Document(data, (*blocks, *skipped))


def batch_details(batch: TaskBatch, tasks: Sequence[TaskBrief]) -> Document:
    """Return the document of ``pools task --batch``."""
    data = {**batch.model_dump(mode="json"), "tasks": [task.model_dump(mode="json") for task in tasks]}
    fields = Fields(
        None,
        (
            ("Batch", batch.batch_id),
            ("Total", batch.total),
            ("Successful", batch.successful),
            ("Failed", batch.failed),
            ("Open", batch.total - batch.successful - batch.failed),
            *_waiting(tasks),
            *(contest_rows(batch.contest) if batch.contest else ()),
        ),
    )
    table = Table("Tasks", _COLUMNS, tuple(_row(task) for task in tasks))
    return Document(data, (fields, table) if tasks else (fields,))


def _waiting(tasks: Sequence[TaskBrief]) -> tuple[tuple[str, Cell], ...]:
    """Return how many of a batch wait for others, when some do."""
    count = sum(task.status.value == "waiting" for task in tasks)
    return (("Waiting", f"{count}, for others to end"),) if count else ()


def batch_gathered(result: DistributionResult, *, known: Collection[str] = ()) -> Document:
    """Return the document of a batch that was followed to its end, or of ``pools submit``; see ``distributed``."""
    document = distributed(result, known=known)
    good = result.failed == 0
    head = Note(
        f"Batch {result.batch_id} completed" if good else f"Batch {result.batch_id}: not all succeeded", good=good
    )
    return Document(document.data, (head, *document.blocks[1:]))


def _row(task: TaskBrief) -> tuple[Cell, ...]:
    duration = None if task.duration is None else f"{task.duration:.2f}s"
    return (
        task.task_id,
        task.pool_id,
        State(task.status.value),
        task.task_type,
        _what(task),
        _moment(task.created_at),
        duration,
    )


def to_do(task_type: str | None, summary: str | None) -> str | None:
    """Return what a task is to do as somebody types it: a command, not the JSON of its payload."""
    return _command(summary) if summary and task_type == "shell" else summary


def _what(task: TaskBrief) -> str | None:
    todo = to_do(task.task_type, task.summary)
    named = f"{task.name}: {todo or ''}" if task.name else todo
    return named if not task.waits else f"(waits for {task.waits}) {named or ''}"


def _command(summary: str) -> str:
    """Return a command as a shell reads it; the summary itself where it is cut so that it cannot be read."""
    for end in _ENDS:
        with suppress(ValueError):
            found = json.loads(summary + end)
            command = found.get("command") if isinstance(found, dict) else None
            if isinstance(command, list):
                return shlex.join(map(str, command))
            return command if isinstance(command, str) else summary
    return summary


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
