"""The command ``logs`` of the pools: what a task printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_pools import errors
from mahavishnu_pools.agent_lines import event_lines, shown
from mahavishnu_pools.cli.exit_codes import ExitCode, code_of_result
from mahavishnu_pools.cli.options import Seconds, agent_log_options
from mahavishnu_pools.cli.output import CUT
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.store.logs import LogPiece


@click.command("logs")
@click.argument("task_id", metavar="TASK")
@click.option("--follow", "-f", is_flag=True, help="Go on until the task has its outcome; exit code 1 when it failed.")
@click.option("--wait-timeout", type=Seconds(), metavar="SECONDS", help="With --follow: wait no longer than this.")
@agent_log_options
@click.option("--events", is_flag=True, help="Print what an AI program did, and nothing else, as JSON: a line each.")
@click.pass_obj
def logs(
    session: Session,
    /,
    *,
    task_id: str,
    follow: bool,
    wait_timeout: float | None,
    events: bool,
    **view: bool,
) -> ExitCode:
    """Print what a TASK has printed, its errors too. Of very long output the middle is cut out."""
    if view["raw"] and events:
        raise errors.InvalidField.of("--events", "excludes --raw", "Give one of the two.")

    def tell(piece: LogPiece) -> None:
        if events:
            click.echo(event_lines(piece.stream, piece.text, thinking=view["thinking"]), nl=False)
            return
        text = shown(piece.stream, piece.text, **view)
        click.echo(f"{CUT if piece.after_cut else ''}{text}", nl=False, err=piece.stream == "stderr")

    async def read(manager: PoolManager) -> ExitCode:
        if not follow:
            async for piece in manager.task_log(task_id):
                tell(piece)
            return ExitCode.DONE
        async for piece in manager.follow(task_id, wait_timeout=wait_timeout):
            tell(piece)
        return code_of_result(await manager.task(task_id))

    return session.run(read)
