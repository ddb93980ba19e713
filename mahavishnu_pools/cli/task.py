"""Commands about one task: ``task``, ``cancel``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import task_documents, task_lists
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.exit_codes import ExitCode, code_of_result
from mahavishnu_pools.cli.following import follow_batch
from mahavishnu_pools.cli.options import Seconds, agent_log_options, format_option
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
@click.argument("task_id", required=False)
@click.option("--batch", "batch_id", metavar="BATCH", help="All tasks of a batch.")
@click.option("--follow", is_flag=True, help="Show its output while it runs, and wait for its outcome.")
@click.option("--wait-timeout", type=Seconds(), metavar="SECONDS", help="With --follow: wait no longer than this.")
@agent_log_options
@format_option
@click.pass_obj
def task(
    session: Session,
    /,
    *,
    task_id: str | None,
    batch_id: str | None,
    follow: bool,
    wait_timeout: float | None,
    output: Output,
    **view: bool,
) -> ExitCode:
    """Show a task or a batch, or follow it to its end. With --follow the exit code is 1 when a task failed.

    What an AI program does is shown as a line each, with --format json as JSON on standard error.
    """
    if batch_id is not None and task_id is None:
        return _batch(session, batch_id, follow=follow, wait_timeout=wait_timeout, output=output)
    if task_id is None or batch_id is not None:
        problem = "is missing" if task_id is None else "excludes the other"
        raise errors.InvalidField.of("TASK_ID or --batch", problem, "Give exactly one of the two.")

    async def read(manager: PoolManager) -> TaskResult:
        seen = await manager.task(task_id)
        names = await pool_names_for(manager, output)
        if follow and not seen.done:
            pool = names.get(seen.pool_id or "", seen.pool_id)
            output.say(f"Task {task_id} is {seen.status.value} on pool {pool}. Ctrl-C leaves it running.")
            async for piece in manager.follow(task_id, wait_timeout=wait_timeout):
                output.stream(piece, **view)
            seen = await manager.task(task_id)
        output.show(with_pool_names(task_documents.task_details(seen), names))
        return seen

    result = session.run(read)
    return code_of_result(result) if follow else ExitCode.DONE


def _batch(session: Session, batch_id: str, *, follow: bool, wait_timeout: float | None, output: Output) -> ExitCode:
    async def read(manager: PoolManager) -> ExitCode:
        if follow:
            return await follow_batch(manager, batch_id, output=output, wait_timeout=wait_timeout)
        batch = await manager.batch(batch_id)
        tasks = await manager.tasks(batch=batch_id, limit=batch.total)
        names = await pool_names_for(manager, output)
        output.show(with_pool_names(task_lists.batch_details(batch, tasks), names))
        return ExitCode.DONE

    return session.run(read)


@click.command()
@click.argument("task_id", required=False)
@click.option("--batch", "batch_id", metavar="BATCH", help="All tasks of a batch.")
@click.option("--pool", metavar="POOL", shell_complete=pool_names, help="What waits in a pool (id or name).")
@click.option("--status", type=click.Choice(["queued"]), help="What waits: in a pool, or without --pool in all.")
@format_option
@click.pass_obj
def cancel(session: Session, /, *, output: Output, status: str | None, **which: str | None) -> None:
    """End a task, or keep it from starting; or all tasks of a batch, or those that wait in a pool."""
    task_id, batch_id, pool = (which[name] for name in ("task_id", "batch_id", "pool"))
    given = [one for one in (task_id, batch_id, pool) if one is not None]
    if len(given) > 1 or not (given or status):
        problem = "is missing" if not given else "excludes the others"
        raise errors.InvalidField.of(
            "TASK, --batch, --pool or --status", problem, "Give one of them; --status may go with --pool."
        )
    if status is not None and given and pool is None:
        raise errors.InvalidField.of("--status", "goes with --pool, or alone", "Leave it out, or name a pool.")

    async def end(manager: PoolManager) -> Document:
        if batch_id is not None:
            return task_documents.batch_cancelled(batch_id, await manager.cancel_batch(batch_id, reason=_REASON))
        if pool is not None:
            return task_documents.queue_cancelled(pool, await manager.cancel_queued(pool, reason=_REASON))
        if not given:
            names = [one.name for one in await manager.list_pools()]
            counts = [await manager.cancel_queued(name, reason=_REASON) for name in names]
            return task_documents.queue_cancelled("all pools", sum(counts))
        # The manager answers "cancelled" whether it was so before or is so now.
        before = (await manager.task(given[0])).status
        answer = await manager.cancel(given[0], reason=_REASON)
        return task_documents.cancelled(given[0], answer, again=before.value == "cancelled")

    output.show(session.run(end))
