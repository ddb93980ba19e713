"""Documents about tasks that were submitted and are not waited for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mahavishnu_pools.cli.formats.interface import Cell, Document, Note, Text
from mahavishnu_pools.cli.task_documents import before, indented

if TYPE_CHECKING:
    from mahavishnu_pools.routing.distributing import Distribution
    from mahavishnu_pools.store.tasks import Submitted


def accepted(submitted: Submitted, *, batch_id: str, status: str | None = None) -> Document:
    """Return the document of a task that was submitted, or had been before and has this ``status`` by now."""
    task_id, pool_id = submitted.task_id, submitted.pool_id
    what, how = "Task queued", f"Follow it with: mahavishnu pools task {task_id} --follow"
    now = status or "queued"
    if not submitted.new:
        what = f"This task had been submitted before, with this idempotency key: {now}"
    if submitted.held:
        now, what = "awaiting_approval", "Task awaits approval"
        how = f"Give it with: mahavishnu pools approve {task_id}, or: mahavishnu pools refuse {task_id}"
    if submitted.waiting:
        now, what = "waiting", "Task waits for those it comes after"
    blocks = (Note(what, good=True), indented([("Task", task_id), ("Pool", pool_id)]), Note(f"  {how}"))
    data = {"task_id": task_id, "pool_id": pool_id, "status": now, "batch_id": batch_id, "new": submitted.new}
    return Document(data, blocks)


def distribution_accepted(started: Distribution) -> Document:
    """Return the document of a distribution that is not waited for."""
    total = len(started.task_ids)
    data = {
        "batch_id": started.batch_id,
        "strategy": started.strategy,
        "total": total,
        "task_ids": list(started.task_ids),
        "status": "queued",
        "known": list(started.known),
    }
    rows: list[tuple[str, Cell]] = [("Batch", started.batch_id), ("Strategy", started.strategy), ("Tasks", total)]
    tasks = Text("Task IDs", "\n".join(started.task_ids))
    head = Note("Distribution queued", good=True)
    return Document(data, (head, indented(rows), *before(started.known, total), tasks))


def batch_accepted(batch_id: str, sent: Sequence[Submitted]) -> Document:
    """Return the document of a batch that was submitted and is not waited for."""
    ids, known, total = [one.task_id for one in sent], known_of(sent), len(sent)
    data = {"batch_id": batch_id, "total": total, "task_ids": ids, "status": "queued", "known": known}
    hint = Note(f"  Follow it with: mahavishnu pools task --batch {batch_id} --follow")
    rows: list[tuple[str, Cell]] = [("Batch", batch_id), ("Tasks", total)]
    return Document(data, (Note("Batch queued", good=True), indented(rows), *before(known, total), hint))


def known_of(sent: Sequence[Submitted]) -> list[str]:
    """Return the ids of those that had been submitted before."""
    return [one.task_id for one in sent if not one.new]
