"""Commands about one task: ``task``, ``cancel``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_pools.cli import task_documents
from mahavishnu_pools.cli.exit_codes import ExitCode, code_of_result
from mahavishnu_pools.cli.options import Seconds, format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.task import TaskResult


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
        if not follow or seen.done:
            return seen
        output.say(f"Task {task_id} is {seen.status.value} on pool {seen.pool_id}. Ctrl-C leaves it running.")
        async for piece in manager.follow(task_id, wait_timeout=wait_timeout):
            output.stream(piece.text, cut=piece.after_cut)
        return await manager.task(task_id)

    result = session.run(read)
    output.show(task_documents.task_details(result))
    return code_of_result(result) if follow else ExitCode.DONE


@click.command()
@click.argument("task_id")
@format_option
@click.pass_obj
def cancel(session: Session, /, *, task_id: str, output: Output) -> None:
    """End a task, or keep it from starting."""

    async def end(manager: PoolManager) -> str:
        return await manager.cancel(task_id, reason="cancelled from the command line")

    output.show(task_documents.cancelled(task_id, session.run(end)))
