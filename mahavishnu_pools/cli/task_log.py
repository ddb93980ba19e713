"""The command ``logs`` of the pools: what a task printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_pools.cli.exit_codes import ExitCode, code_of_result
from mahavishnu_pools.cli.options import Seconds
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.store.logs import LogPiece


@click.command("logs")
@click.argument("task_id", metavar="TASK")
@click.option("--follow", "-f", is_flag=True, help="Go on until the task has its outcome; exit code 1 when it failed.")
@click.option("--wait-timeout", type=Seconds(), metavar="SECONDS", help="With --follow: wait no longer than this.")
@click.pass_obj
def logs(session: Session, /, *, task_id: str, follow: bool, wait_timeout: float | None) -> ExitCode:
    """Print what a TASK has printed, its errors too. Of very long output the middle is cut out."""

    async def read(manager: PoolManager) -> ExitCode:
        if not follow:
            async for piece in manager.task_log(task_id):
                _print(piece)
            return ExitCode.DONE
        async for piece in manager.follow(task_id, wait_timeout=wait_timeout):
            _print(piece)
        return code_of_result(await manager.task(task_id))

    return session.run(read)


def _print(piece: LogPiece) -> None:
    click.echo(("\n… output cut …\n" if piece.after_cut else "") + piece.text, nl=False, err=piece.stream == "stderr")
