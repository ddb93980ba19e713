"""Commands that change pools: ``scale``, ``pause``, ``resume``, ``drain``, ``close``, ``close-all``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import pool_documents
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.options import Seconds, format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.pool import PoolInfo


@click.command()
@click.argument("pool", shell_complete=pool_names)
@click.option("--target", "-t", type=int, required=True, metavar="N", help="How many workers it shall have.")
@click.option("--max", "max_workers", type=int, metavar="N", help="Raise its limit in the same step.")
@format_option
@click.pass_obj
def scale(session: Session, /, *, pool: str, target: int, max_workers: int | None, output: Output) -> None:
    """Change the number of workers of a POOL (id or name)."""
    _change(
        session,
        lambda manager: manager.scale_pool(pool, target, max_workers=max_workers),
        output=output,
        done="Pool {0.name} is scaled to {0.workers} workers",
    )


@click.command()
@click.argument("pool", shell_complete=pool_names)
@format_option
@click.pass_obj
def pause(session: Session, /, *, pool: str, output: Output) -> None:
    """Keep a POOL (id or name) from starting tasks; running ones go on, others wait."""
    _change(session, lambda manager: manager.pause_pool(pool), output=output, done="Pool {0.name} is paused")


@click.command()
@click.argument("pool", shell_complete=pool_names)
@format_option
@click.pass_obj
def resume(session: Session, /, *, pool: str, output: Output) -> None:
    """Let a paused POOL (id or name) start tasks again."""
    _change(session, lambda manager: manager.resume_pool(pool), output=output, done="Pool {0.name} is resumed")


@click.command()
@click.argument("pool", shell_complete=pool_names)
@format_option
@click.pass_obj
def drain(session: Session, /, *, pool: str, output: Output) -> None:
    """Give a POOL (id or name) no new tasks; it works off what it has."""
    _change(session, lambda manager: manager.drain_pool(pool), output=output, done="Pool {0.name} is being drained")


@click.command()
@click.argument("pool", shell_complete=pool_names)
@click.option("--timeout", "-T", type=Seconds(), metavar="SECONDS", help="How long running tasks may go on.")
@format_option
@click.pass_obj
def close(session: Session, /, *, pool: str, timeout: float | None, output: Output) -> None:
    """Close a POOL (id or name); its name is free afterwards."""

    async def end(manager: PoolManager) -> str:
        info = await manager.pool_info(pool)
        await manager.close_pool(info.pool_id, timeout=timeout)
        return info.pool_id

    output.show(pool_documents.closed([session.run(end)]))


@click.command("close-all")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@format_option
@click.pass_obj
def close_all(session: Session, /, *, yes: bool, output: Output) -> None:
    """Close all pools, also those others have made."""
    if not yes:
        _confirm(output)

    async def end(manager: PoolManager) -> list[str]:
        return await manager.close_all(scope="all")

    output.show(pool_documents.closed(session.run(end)))


def _confirm(output: Output) -> None:
    if not output.for_people or not sys.stdin.isatty():
        raise errors.InvalidField.of("--yes", "is missing and nobody can be asked", "Add it to close all pools.")
    click.confirm("Close all pools, also those others have made?", abort=True, err=True)


def _change(session: Session, act: Callable[[PoolManager], Awaitable[PoolInfo]], *, output: Output, done: str) -> None:
    pool = session.run(act)
    output.show(pool_documents.pool_details(pool, done=done.format(pool)))
