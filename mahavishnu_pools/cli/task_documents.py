"""Documents about tasks: results go in, what is printed comes out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mahavishnu_pools.cli.change_documents import changes_of
from mahavishnu_pools.cli.conversations import conversation
from mahavishnu_pools.cli.formats.interface import Block, Cell, Column, Document, Fields, Note, State, Table, Text
from mahavishnu_pools.cli.formats.json import json_text
from mahavishnu_pools.schemas.needs import shown

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.routing import RoutedCandidate, Routing
    from mahavishnu_pools.schemas.task import DistributionResult, TaskResult

#: A table of results shows this many rows; ``--format json`` shows all.
MOST_ROWS = 40

#: An output or error in a table is cut after so many characters.
CELL_CHARACTERS = 60

#: Tasks that one comes after which are named; ``--format json`` names all.
PARENTS_SHOWN = 10

_NUMBER, _NAME = Column("Item", "right"), Column("Name", whole=True)

_ITEM_COLUMNS = (
    Column("Task", whole=True),
    Column("Pool"),
    Column("Status", whole=True),
    Column("Duration", "right", spare=1),
    Column("Output"),
)

_CANDIDATES = (
    Column("Pool"),
    Column("Load", "right"),
    Column("Seconds", "right"),
    Column("USD", "right"),
    Column("Remark"),
)

_CANCELLED = {
    "cancelled": "Cancelled task {}: it will not run",
    "asked": "Asked for the end of task {}: it is being stopped",
}


def executed(result: TaskResult, *, new: bool | None = None) -> Document:
    """Return the document of ``pools execute`` and ``pools route``; ``new`` is the receipt's, None: it is not told."""
    verb = {"timeout": "timed out", "cancelled": "was cancelled", "refused": "was refused", "dead": "was given up"}
    head = Note(f"Task {verb.get(result.status.value, result.status.value)}", good=result.ok)
    rows: list[tuple[str, Cell]] = [("Status", result.status.value), *conversation(result)]
    if new is False:
        rows.append(("Submitted", "before, with this idempotency key"))
    if result.error is not None:
        rows.append(("Error", result.error))
    if result.exit_code:
        rows.append(("Exit code", result.exit_code))
    rows += changes_of(result)
    output = output_of(result)
    if output or result.ok:  # that a task which failed has printed nothing says nothing
        rows.append(("Output", output))
    routing = () if result.routing is None else _routing(result.routing)
    data = task_data(result) if new is None else {**task_data(result), "new": new}
    return Document(data, (head, indented(rows), *routing))


def routed(routing: Routing) -> Document:
    """Return the document of ``pools route --dry-run``."""
    return Document(routing.model_dump(mode="json"), _routing(routing))


def _routing(routing: Routing) -> tuple[Block, ...]:
    chosen = next((one for one in routing.candidates if one.pool_id == routing.pool_id), None)
    name = (chosen.name if chosen else None) or routing.pool_id or "any candidate"
    rows = tuple(
        (one.name or one.pool_id, round(one.load, 2), _figure(one.seconds), _figure(one.usd), _marks(one, routing))
        for one in routing.candidates
    )
    blocks: list[Block] = [Note(f"Chosen by {routing.strategy}: {name}"), Table("Candidates", _CANDIDATES, rows)]
    if routing.left_out:
        blocks.append(Fields("Left out", tuple(routing.left_out.items())))  # reasons are too long for a table
    if routing.more:
        blocks.append(Note(f"… and {routing.more} more pools."))
    return tuple(blocks)


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _marks(one: RoutedCandidate, routing: Routing) -> str:
    marks = [*(["chosen"] if one.pool_id == routing.pool_id else []), *(["degraded"] if one.degraded else [])]
    if one.room is not None:
        marks.append(f"room for {one.room}")
    return ", ".join(marks)


def task_details(result: TaskResult) -> Document:
    """Return the document of ``pools task``."""
    optional: tuple[tuple[str, Cell], ...] = (
        ("Type", result.task_type),
        ("Pool", result.pool_id),
        ("Worker", result.worker_id),
        ("Batch", result.batch_id),
        ("Created", _moment(result.created_at)),
        ("Started", _moment(result.started_at)),
        ("Finished", _moment(result.finished_at)),
        ("Retry at", _moment(result.retry_at)),
        ("Duration", _seconds(result.duration)),
        ("Name", result.name),
        *_dependencies(result),
        ("Approval", _approval(result)),
        ("Needs", ", ".join(result.needs) or None),
        ("Waits for", result.waits_for),
        ("Got", _got(result)),
        *conversation(result),
        *changes_of(result),
        ("Attempts", result.attempts if result.attempts > 1 else None),
        ("Exit code", result.exit_code),
        ("Error", result.error),
    )
    fields = Fields(
        None,
        (
            ("Task", result.task_id),
            ("Status", result.status.value.upper()),
            *((label, value) for label, value in optional if value is not None),
        ),
    )
    output = output_of(result)
    routing = () if result.routing is None else _routing(result.routing)
    blocks: tuple[Block, ...] = (fields, *routing, *((Text("Result", output),) if output else ()))
    return Document(task_data(result), blocks)


def distributed(result: DistributionResult, *, known: Collection[str] = ()) -> Document:
    """Return the document of ``pools distribute``; ``known`` are tasks that had been submitted before."""
    good = result.failed == 0
    head = Note("Distribution completed" if good else "Distribution completed, not all items succeeded", good=good)
    counts = indented([("Total", result.total), ("Successful", result.successful), ("Failed", result.failed)])
    reduced = () if result.reduced is None else (Text("Reduced", _as_text(result.reduced)),)
    data = {
        "strategy": result.strategy,
        "batch_id": result.batch_id,
        "total": result.total,
        "successful": result.successful,
        "failed": result.failed,
        "items": [task_data(item) for item in result.items],
        "reduced": result.reduced,
        "known": list(known),
    }
    return Document(data, (head, counts, *before(known, result.total), *_items(result.items), *reduced))


def before(known: Collection[str], total: int) -> tuple[Note, ...]:
    """Return the note that some of a batch had been submitted before; none: that nobody needs to know."""
    return (Note(f"  {before_text(known, total)}"),) if known else ()


def before_text(known: Collection[str], total: int) -> str:
    """Return how many tasks of a batch had been submitted before."""
    count = f"All {total}" if len(known) == total else f"{len(known)} of {total}"
    return f"{count} had been submitted before, with these idempotency keys; they are not sent again."


def cancelled(task_id: str, answer: str, *, again: bool = False) -> Document:
    """Return the document of ``pools cancel``; ``answer`` is the manager's, ``again``: it was cancelled before."""
    text = _CANCELLED.get(answer, f"Task {{}} had ended before: {answer}").format(task_id)
    good = True if answer in _CANCELLED else None
    if again:
        text, good = f"Task {task_id} was cancelled already", None
    return Document({"task_id": task_id, "status": answer}, (Note(text, good=good),))


def batch_cancelled(batch_id: str, counts: Mapping[str, int]) -> Document:
    """Return the document of ``pools cancel --batch``."""
    rows = [("Cancelled", counts["cancelled"]), ("Being stopped", counts["asked"]), ("Had ended", counts["finished"])]
    return Document({"batch_id": batch_id, **counts}, (Note(f"Cancelled batch {batch_id}", good=True), indented(rows)))


def queue_cancelled(pool: str, count: int) -> Document:
    """Return the document of ``pools cancel --pool``."""
    return Document(
        {"pool": pool, "cancelled": count}, (Note(f"Cancelled {count} waiting tasks of {pool}", good=True),)
    )


def task_data(result: TaskResult) -> dict[str, Any]:
    """Return a task result as JSON data."""
    return result.model_dump(mode="json")


def output_of(result: TaskResult) -> str:
    """Return what people see of the output: the text, else the JSON value, else nothing."""
    if result.output:
        return result.output.rstrip("\n")
    return "" if result.value is None else _as_text(result.value)


def _dependencies(result: TaskResult) -> tuple[tuple[str, Cell], ...]:
    found = result.dependencies
    if found is None:
        return ()
    shown = [f"{one.task_id} ({one.status or 'has not ended'})" for one in found.parents[:PARENTS_SHOWN]]
    if len(found.parents) > PARENTS_SHOWN:
        shown.append(f"and {len(found.parents) - PARENTS_SHOWN} more")
    waits: tuple[tuple[str, Cell], ...] = ()
    if result.status.value == "waiting":
        count = f"{found.waits} of {len(found.parents)} tasks" if found.waits else found.held_up or "a pool"
        waits = (("Waits for", count),)
    return (("After", ", ".join(shown)), ("If one fails", found.on_parent_failure), *waits)


def _approval(result: TaskResult) -> str | None:
    found = result.approval
    if found is None:
        return None
    if found.decision == "awaiting":
        return f"awaited until {_moment(found.expires_at)}; mahavishnu pools approve {result.task_id}, or refuse"
    who = f" by {found.by}" if found.by else ""
    return f"{found.decision}{who}, {_moment(found.decided_at)}" + (f": {found.reason}" if found.reason else "")


def _got(result: TaskResult) -> str | None:
    got = result.got
    if got is None:
        return None
    devices = [f"{name} {', '.join(numbers)}" for name, numbers in sorted(got.devices.items())]
    counted = sorted(got.resources.items() - {(name, got.resources.get(name)) for name in got.devices})
    amounts = [f"{name} {shown(name, amount)}" for name, amount in counted]
    return f"{', '.join([*devices, *amounts]) or 'a place'} on {got.node}"


def indented(rows: Sequence[tuple[str, Cell]]) -> Fields:
    """Return rows as they stand below a line that says what they are about."""
    return Fields(None, tuple(rows), indented=True)


def _items(items: Sequence[TaskResult]) -> tuple[Block, ...]:
    first = _NAME if any(item.name for item in items) else _NUMBER
    rows = tuple(_item_row(number, item) for number, item in enumerate(items, 1))
    failed = tuple(row for row, item in zip(rows, items, strict=True) if not item.ok)
    shown = rows if len(rows) <= MOST_ROWS else failed[:MOST_ROWS]
    blocks: list[Block] = []
    if shown:
        blocks.append(Table("Items" if shown is rows else "Failed items", (first, *_ITEM_COLUMNS), shown))
    if len(shown) < len(rows):
        more = f"… and {len(rows) - len(shown)} more items" if shown else f"{len(rows)} items, none failed"
        blocks.append(Note(f"{more}; --format json shows all."))
    return tuple(blocks)


def _item_row(number: int, item: TaskResult) -> tuple[Cell, ...]:
    said = " ".join((item.error if not item.ok and item.error else output_of(item)).split())
    cut = said if len(said) <= CELL_CHARACTERS else said[: CELL_CHARACTERS - 1] + "…"
    return (item.name or number, item.task_id, item.pool_id, State(item.status.value), _seconds(item.duration), cut)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _moment(value: datetime | None) -> str | None:
    return None if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}s"
