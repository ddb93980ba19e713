"""Follows a batch to its end: lines that tell how many tasks have ended, then the table of all."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from typing import TYPE_CHECKING

from mahavishnu_pools.cli import contest_documents, task_lists
from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.pool_labels import pool_names_for, with_pool_names
from mahavishnu_pools.cli.progress import bar
from mahavishnu_pools.cli.task_documents import before_text

#: About so many lines tell how far a batch is.
MOST_LINES = 20

if TYPE_CHECKING:
    from mahavishnu_pools.cli.output import Output
    from mahavishnu_pools.cli.progress import Advance
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.task_batch import TaskBatch


async def follow_batch(
    manager: PoolManager,
    batch_id: str,
    *,
    output: Output,
    wait_timeout: float | None = None,
    known: Collection[str] = (),
) -> ExitCode:
    """Wait for all outcomes of a batch and show them; what had ended before is told at once, not counted up.

    ``known`` are those that had been submitted before.

    Raises:
        BatchNotFound: there is no such batch.
        WaitTimeout: not all was there in time; the tasks go on.
    """
    batch = await manager.batch(batch_id)
    if batch.contest is not None:
        return await follow_contest(manager, batch_id, output=output, wait_timeout=wait_timeout)
    if known:
        output.say(before_text(known, batch.total))
    tell = _told(batch, output)
    with bar("Batch") if output.live else nullcontext() as advance:
        result = await manager.gather_batch(batch, wait_timeout=wait_timeout, on_progress=advance or tell)
    output.show(with_pool_names(task_lists.batch_gathered(result, known=known), await pool_names_for(manager, output)))
    return ExitCode.DONE if result.failed == 0 else ExitCode.TASK_FAILED


def _told(batch: TaskBatch, output: Output) -> Advance:
    """Return what tells of further ends, having told of those from before the following."""
    total, seen = batch.total, batch.successful + batch.failed
    step = max(1, total // MOST_LINES)
    # The outcome of all tells of them by itself, unless the task that reduces them is waited for.
    if seen and not output.live and (not batch.done or batch.reducer_id):
        output.say(f"{seen} of {total} tasks have ended.")

    def tell(done: int, _: int) -> None:
        nonlocal seen
        if done >= seen + step or done == total > seen:
            seen = done
            output.say(f"{done} of {total} tasks have ended.")

    return tell


async def follow_contest(
    manager: PoolManager, batch_id: str, *, output: Output, wait_timeout: float | None = None, new: bool | None = None
) -> ExitCode:
    """Wait for the decision of a contest and show it (``new``: see ``contested``); raises like ``follow_batch``."""
    with bar("Waiting") if output.live else nullcontext() as advance:
        result = await manager.contest(batch_id, wait_timeout=wait_timeout)
        if advance is not None:
            advance(1, 1)
    output.show(with_pool_names(contest_documents.contested(result, new=new), await pool_names_for(manager, output)))
    return ExitCode.DONE if result.ok else ExitCode.TASK_FAILED
