"""The command ``watch``, also called ``monitor``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.options import Seconds
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager


@click.command("watch")
@click.option("--refresh", "-r", type=Seconds(), default=1.0, show_default=True, metavar="SECONDS", help="How often.")
@click.option("--count", "-n", type=click.IntRange(1), metavar="N", help="Look so often, then end. [default: no end]")
@click.option(
    "--format",
    "-f",
    "how",
    type=click.Choice(["table", "json"], case_sensitive=False),
    default="table",
    show_default=True,
    help="json: what `list` prints, a line for each look.",
)
@click.pass_obj
def watch(session: Session, /, *, refresh: float, count: int | None, how: str) -> ExitCode:
    """Watch the pools: a table over the whole screen; lines where the output is no terminal. Ends with q or Ctrl-C."""
    full = how == "table" and sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb")

    async def show(manager: PoolManager) -> ExitCode:
        if full:
            from mahavishnu_pools.cli.watching.live import Live

            await Live(manager, refresh=refresh, count=count).run()
        else:
            await _print_lines(manager, refresh=refresh, count=count, as_json=how == "json")
        return ExitCode.DONE

    return session.run(show)


async def _print_lines(manager: PoolManager, *, refresh: float, count: int | None, as_json: bool) -> None:
    from mahavishnu_pools.cli.watching.lines import lines

    next_look, looks = time.monotonic(), 0
    while True:
        try:
            pools = await manager.list_pools()
        except errors.Unavailable as exc:
            click.echo(f"{exc.message} Trying again.", err=True)
        else:
            data = {"pools": [pool.model_dump(mode="json") for pool in pools]}
            click.echo(
                json.dumps(data, ensure_ascii=False) if as_json else lines(pools, at=datetime.now().astimezone())
            )
        with contextlib.suppress(ValueError):  # closed by its reader, which the next line finds out
            sys.stdout.flush()
        looks += 1
        if count is not None and looks >= count:
            return
        next_look = max(next_look + refresh, time.monotonic())
        await asyncio.sleep(next_look - time.monotonic())
