"""Commands about one task: ``task``, ``cancel``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import task_documents
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.exit_codes import ExitCode, code_of_result
from mahavishnu_pools.cli.options import Seconds, format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.pool_labels import pool_names_for, with_pool_names
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.cli.formats.interface import Document
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.task import TaskResult


#: What the record of a task says that was cancelled here.
_REASON = "cancelled from the command line"


@click.command()
@click.argument("task_id")
@click.option("--follow", is_flag=True, help="Show its output while it runs, and wait for its outcome.")
@click.option("--wait-timeout", type=Seconds(), metavar="SECONDS", help="With --follow: wait no longer than this.")
@format_option
@click.pass_obj
def task(session: Session, /, *, task_id: str, follow: bool, wait_timeout: float | None, output: Output) -> ExitCode:
    """Show a task, or follow it to its outcome. With --follow the exit code is 1 when it failed."""

    async def read(manager: PoolManager) -> TaskResult:
        seen = await manager.task(task_id)
        names = await pool_names_for(manager, output)
        if follow and not seen.done:
            pool = names.get(seen.pool_id or "", seen.pool_id)
            output.say(f"Task {task_id} is {seen.status.value} on pool {pool}. Ctrl-C leaves it running.")
            async for piece in manager.follow(task_id, wait_timeout=wait_timeout):
                output.stream(piece.text, cut=piece.after_cut)
            seen = await manager.task(task_id)
        output.show(with_pool_names(task_documents.task_details(seen), names))
        return seen

    result = session.run(read)
    return code_of_result(result) if follow else ExitCode.DONE


@click.command()
@click.argument("task_id", required=False)
@click.option("--batch", "batch_id", metavar="BATCH", help="All tasks of a batch.")
@click.option("--pool", metavar="POOL", shell_complete=pool_names, help="What waits in a pool (id or name).")
@click.option("--status", type=click.Choice(["queued"]), help="With --pool: only what waits, as it is without this.")
@format_option
@click.pass_obj
def cancel(session: Session, /, *, output: Output, status: str | None, **which: str | None) -> None:
    """End a task, or keep it from starting; or all tasks of a batch, or those that wait in a pool."""
    task_id, batch_id, pool = (which[name] for name in ("task_id", "batch_id", "pool"))
    given = [one for one in (task_id, batch_id, pool) if one is not None]
    if len(given) != 1:
        problem = "is missing" if not given else "excludes the others"
        raise errors.InvalidField.of("TASK, --batch or --pool", problem, "Give exactly one of the three.")
    if status is not None and pool is None:
        raise errors.InvalidField.of("--status", "goes with --pool alone", "Leave it out, or name a pool.")

    async def end(manager: PoolManager) -> Document:
        if batch_id is not None:
            return task_documents.batch_cancelled(batch_id, await manager.cancel_batch(batch_id, reason=_REASON))
        if pool is not None:
            return task_documents.queue_cancelled(pool, await manager.cancel_queued(pool, reason=_REASON))
        # The manager answers "cancelled" whether it was so before or is so now.
        before = (await manager.task(given[0])).status
        answer = await manager.cancel(given[0], reason=_REASON)
        return task_documents.cancelled(given[0], answer, again=before.value == "cancelled")

    output.show(session.run(end))
