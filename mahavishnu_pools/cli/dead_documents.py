"""Documents about dead letters. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING

from mahavishnu_pools.cli.formats.interface import Block, Cell, Column, Document, Fields, Note, Table, Text
from mahavishnu_pools.cli.task_lists import to_do

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.dead import DeadLetter, DeadLetterDetails

_COLUMNS = (
    Column("Task", whole=True),
    Column("Pool"),
    Column("Type", spare=2),
    Column("Task was"),
    Column("Died", spare=3),
    Column("Attempts", "right", spare=1),
    Column("Cause"),
)


def dead_list(letters: Sequence[DeadLetter]) -> Document:
    """Return the document of ``pools dead list``."""
    data = {"dead": [letter.model_dump(mode="json") for letter in letters]}
    if not letters:
        return Document(data, (Note("No dead letters."),))
    hint = Note("Look at one with: mahavishnu pools dead show TASK")
    return Document(data, (Table("Dead Letters", _COLUMNS, tuple(_row(letter) for letter in letters)), hint))


def dead_details(letter: DeadLetterDetails) -> Document:
    """Return the document of ``pools dead show``."""
    rows: tuple[tuple[str, Cell], ...] = (
        ("Task", letter.task_id),
        ("Pool", letter.pool_id),
        ("Type", letter.task_type),
        ("Died", _moment(letter)),
        ("Cause", letter.cause),
        ("Attempts", letter.attempts),
        ("Losses while alone", letter.losses),
    )
    blocks: list[Block] = [Fields(None, tuple(row for row in rows if row[1] is not None))]
    if letter.spec:
        blocks.append(Text("Task as submitted", letter.spec))
    if letter.output:
        blocks.append(Text("Last output", letter.output.rstrip("\n")))
    if not letter.replayable:
        blocks.append(Text("Message", letter.message))
    return Document(letter.model_dump(mode="json"), tuple(blocks))


def replayed(task_ids: Sequence[str]) -> Document:
    """Return the document of ``pools dead replay``."""
    notes = tuple(Note(f"Queued again: {task_id}", good=True) for task_id in task_ids)
    return Document({"replayed": list(task_ids)}, notes or (Note("No dead letters to replay."),))


def purged(count: int) -> Document:
    """Return the document of ``pools dead purge``."""
    return Document({"purged": count}, (Note(f"Forgot {count} dead letters.", good=True),))


def _row(letter: DeadLetter) -> tuple[Cell, ...]:
    what = to_do(letter.task_type, letter.summary)
    head = (letter.task_id, letter.pool_id, letter.task_type, what)
    return (*head, _moment(letter), letter.attempts, letter.cause)


def _moment(letter: DeadLetter) -> str:
    return f"{letter.died_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
