"""Commands about several tasks: ``tasks`` and ``retry``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import task_lists
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.pool_labels import pool_names_for, with_pool_names
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.moments import moment

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.task_batch import Retried

#: What ``--status`` takes.
STATUSES = (
    "queued",
    "running",
    "retrying",
    "awaiting_approval",
    "waiting",
    "completed",
    "failed",
    "timeout",
    "cancelled",
    "refused",
    "dead",
)


class Since(click.ParamType[datetime]):
    """The type of ``--since``: so long ago (``90s``, ``15m``, ``2h``, ``1d``), or a local time."""

    name = "since"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment.

        Raises:
            BadParameter: it is none.
        """
        if isinstance(value, datetime):
            return value
        try:
            return moment(str(value), name="--since")
        except errors.InvalidField as exc:
            self.fail(exc.message.partition(": ")[2], param, ctx)


@click.command()
@click.option("--pool", "-p", metavar="POOL", shell_complete=pool_names, help="Only those of this pool (id or name).")
@click.option(
    "--status", "-s", "statuses", multiple=True, type=click.Choice(STATUSES), help="Only these (may be repeated)."
)
@click.option("--batch", "-b", metavar="BATCH", help="Only those of this batch, in the order they were sent in.")
@click.option("--since", type=Since(), metavar="TIME", help="Only those submitted since: 15m, 2h, 1d, or a local time.")
@click.option("--limit", "-n", type=click.IntRange(1, 100_000), default=50, show_default=True, help="The newest N.")
@format_option
@click.pass_obj
def tasks(session: Session, /, *, statuses: tuple[str, ...], limit: int, output: Output, **which: Any) -> None:
    """List tasks that wait, run, or were the last of their pool to end, the newest first."""

    async def read(manager: PoolManager) -> None:
        found = await manager.tasks(status=statuses, limit=limit, **which)
        names = await pool_names_for(manager, output)
        output.show(with_pool_names(task_lists.task_list(found, limit=limit), names))

    session.run(read)


@click.command()
@click.argument("task_ids", nargs=-1, metavar="[TASK]...")
@click.option("--batch", "-b", metavar="BATCH", help="Those of this batch that failed.")
@click.option("--failed", is_flag=True, help="With --batch: those that failed, as it is without this.")
@click.option("--pool", "-p", metavar="POOL", shell_complete=pool_names, help="Run them on this pool (id or name).")
@format_option
@click.pass_obj
def retry(
    session: Session,
    /,
    *,
    task_ids: tuple[str, ...],
    batch: str | None,
    failed: bool,
    pool: str | None,
    output: Output,
) -> None:
    """Send tasks that failed again, as new tasks of one new batch.

    They go to their own pools, or to others if those are gone. Failed are also those that timed out, were cancelled or
    given up.
    """
    if not task_ids and batch is None:
        raise errors.InvalidField.of("TASK or --batch", "is missing", "Name tasks, or a batch of which some failed.")
    if failed and batch is None:
        raise errors.InvalidField.of("--failed", "goes with --batch alone", "Leave it out, or name a batch.")

    async def send(manager: PoolManager) -> Retried:
        return await manager.retry(task_ids, batch=batch, pool=pool)

    output.show(task_lists.retried(session.run(send)))
