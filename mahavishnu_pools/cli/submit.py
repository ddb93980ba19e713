"""The command ``submit``: many tasks of a file at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools import errors, names
from mahavishnu_pools.cli import receipts
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.following import follow_batch
from mahavishnu_pools.cli.options import Seconds, Selector, filter_options, live_format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.shell_words import warn_of_shell_words
from mahavishnu_pools.cli.task_file import read_tasks
from mahavishnu_pools.cli.task_input import take_filters

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager


@click.command()
@click.option("--file", "source", required=True, metavar="FILE|-", help="JSON lines: an object of task fields each.")
@click.option("--pool", "-p", metavar="POOL", shell_complete=pool_names, help="Run them on this pool (id or name).")
@click.option("--selector", type=Selector(), help="How each one's pool is chosen.")
@click.option("--wait", is_flag=True, help="Wait for all outcomes; the exit code is 1 when not all succeeded.")
@click.option("--wait-timeout", type=Seconds(), metavar="SECONDS", help="With --wait: no longer than this.")
@filter_options
@live_format_option
@click.pass_obj
def submit(session: Session, /, *, source: str, wait: bool, output: Output, **given: Any) -> ExitCode:
    """Put the tasks of a file on the queues as one batch and return its id. None is sent when one cannot be used."""
    within = given.pop("wait_timeout")
    where = {"pool": given.pop("pool"), "pool_selector": given.pop("selector"), "filters": take_filters(given)}
    found = read_tasks(source, directory=session.directory())
    warn_of_shell_words(found.tasks)
    batch_id = names.new_batch_id()

    async def send(manager: PoolManager) -> ExitCode:
        try:
            sent = await manager.submit_many(found.tasks, batch_id=batch_id, **where)
        except errors.InvalidField as exc:
            raise found.placed(exc) from exc
        if wait or output.live:
            known = receipts.known_of(sent)
            return await follow_batch(manager, batch_id, output=output, wait_timeout=within, known=known)
        output.show(receipts.batch_accepted(batch_id, sent))
        return ExitCode.DONE

    return session.run(send)
