"""Follows a batch to its end: lines that tell how many tasks have ended, then the table of all."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from mahavishnu_pools.cli import contest_documents, task_lists
from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.pool_labels import pool_names_for, with_pool_names
from mahavishnu_pools.cli.progress import bar

#: About so many lines tell how far a batch is.
MOST_LINES = 20

if TYPE_CHECKING:
    from mahavishnu_pools.cli.output import Output
    from mahavishnu_pools.manager import PoolManager


async def follow_batch(
    manager: PoolManager, batch_id: str, *, output: Output, wait_timeout: float | None = None
) -> ExitCode:
    """Wait for all outcomes of a batch and show them.

    Raises:
        BatchNotFound: there is no such batch.
        WaitTimeout: not all was there in time; the tasks go on.
    """
    batch = await manager.batch(batch_id)
    if batch.contest is not None:
        return await follow_contest(manager, batch_id, output=output, wait_timeout=wait_timeout)
    total = batch.total
    seen = 0
    step = max(1, total // MOST_LINES)

    def tell(done: int, _: int) -> None:
        nonlocal seen
        if done >= seen + step or done == total > seen:
            seen = done
            output.say(f"{done} of {total} tasks have ended.")

    with bar("Batch") if output.live else nullcontext() as advance:
        result = await manager.gather_batch(batch, wait_timeout=wait_timeout, on_progress=advance or tell)
    output.show(with_pool_names(task_lists.batch_gathered(result), await pool_names_for(manager, output)))
    return ExitCode.DONE if result.failed == 0 else ExitCode.TASK_FAILED


async def follow_contest(
    manager: PoolManager, batch_id: str, *, output: Output, wait_timeout: float | None = None
) -> ExitCode:
    """Wait for the decision of a contest and show it; raises like ``follow_batch``."""
    with bar("Waiting") if output.live else nullcontext() as advance:
        result = await manager.contest(batch_id, wait_timeout=wait_timeout)
        if advance is not None:
            advance(1, 1)
    output.show(with_pool_names(contest_documents.contested(result), await pool_names_for(manager, output)))
    return ExitCode.DONE if result.ok else ExitCode.TASK_FAILED
