"""Documents about contests: how a race, a quorum or the best of several answers stands. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_pools.cli.formats.interface import Block, Cell, Column, Document, Fields, Note, State, Table, Text
from mahavishnu_pools.cli.task_documents import CELL_CHARACTERS, output_of

if TYPE_CHECKING:
    from mahavishnu_pools.routing.contesting import StartedContest
    from mahavishnu_pools.schemas.contest import Contest, ContestResult
    from mahavishnu_pools.schemas.task import TaskResult

_COLUMNS = (
    Column("No.", "right"),
    Column(""),
    Column("Task", whole=True),
    Column("Pool"),
    Column("Status"),
    Column("Duration", "right", spare=1),
    Column("Output"),
)

#: What a kind is called in a sentence.
NAMES = {"race": "race", "quorum": "quorum", "best_of": "best of the answers"}


def contested(result: ContestResult, *, new: bool | None = None) -> Document:
    """Return the document of a contest: who won, what it answered, and what became of each candidate.

    ``new`` is the receipt's; None: it is not told.
    """
    name = NAMES[result.kind.value]
    heads = {"won": f"The {name} is decided", "failed": f"The {name} has no winner", "open": f"The {name} is open"}
    good = None if result.status == "open" else result.ok
    rows: list[tuple[str, Cell]] = [("Batch", result.batch_id)]
    if new is False:
        rows.append(("Submitted", "before, with this idempotency key"))
    if result.winner is not None:
        rows.append(("Winner", result.winner))
    if result.reason:
        rows.append(("Reason", result.reason))
    if result.judge is not None:
        rows.append(("Judge", f"{result.judge.task_id} ({result.judge.status.value})"))
    blocks: list[Block] = [Note(heads[result.status], good=good), Fields(None, tuple(rows), indented=True)]
    table = tuple(_row(place, one, result) for place, one in enumerate(result.candidates))
    blocks.append(Table("Candidates", _COLUMNS, table))
    if result.status != "open" and not all(one.done for one in result.candidates):
        blocks.append(Note("Those that still run are being stopped."))
    if result.answer is not None and (text := output_of(result.answer)):
        blocks.append(Text("Result", text))
    data = result.model_dump(mode="json")
    return Document(data if new is None else {**data, "new": new}, tuple(blocks))


def contest_accepted(started: StartedContest) -> Document:
    """Return the document of a contest that is not waited for."""
    data = {
        "batch_id": started.batch_id,
        "kind": started.kind.value,
        "total": len(started.task_ids),
        "task_ids": list(started.task_ids),
        "judge_id": started.judge_id,
        "status": "queued",
        "new": started.new,
    }
    rows: list[tuple[str, Cell]] = [("Batch", started.batch_id), ("Candidates", len(started.task_ids))]
    what = "Candidates queued" if started.new else "This had been submitted before"
    hint = Note(f"  Look at it with: mahavishnu pools task --batch {started.batch_id}")
    return Document(data, (Note(what, good=True), Fields(None, tuple(rows), indented=True), hint))


def contest_rows(contest: Contest) -> list[tuple[str, Cell]]:
    """Return what is told of a batch that is a contest."""
    needed = f", {contest.needed} needed" if contest.kind.value == "quorum" else ""
    rows: list[tuple[str, Cell]] = [("Kind", NAMES[contest.kind.value] + needed)]
    if contest.deadline is not None:
        rows.append(("Deadline", f"{contest.deadline:g} s"))
    if contest.winners:
        rows.append(("Winner", contest.winners[0]))
    if contest.reason:
        rows.append(("Reason", contest.reason))
    return rows


def _row(place: int, one: TaskResult, result: ContestResult) -> tuple[Cell, ...]:
    said = " ".join((one.error if not one.ok and one.error else output_of(one)).split())
    cut = said if len(said) <= CELL_CHARACTERS else said[: CELL_CHARACTERS - 1] + "…"
    duration = None if one.duration is None else f"{one.duration:.2f}s"
    won = "✓" if place in result.winners else ""
    return (place, won, one.task_id, one.pool_id, State(one.status.value), duration, cut)
