"""Commands that change pools: ``scale``, ``pause``, ``resume``, ``drain``, ``close``, ``close-all``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import pool_documents, pool_ends
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.options import Seconds, format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.moving import ClosedPool, DrainedPool
    from mahavishnu_pools.schemas.pool import PoolInfo

_Way = Literal["refuse", "move", "drain", "cancel"]


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
@click.option(
    "--timeout",
    "-T",
    type=Seconds(),
    metavar="SECONDS",
    help="Wait for running tasks; hand back what runs longer. [default: return at once]",
)
@format_option
@click.pass_obj
def drain(session: Session, /, *, pool: str, timeout: float | None, output: Output) -> None:
    """Give a POOL (id or name) no new tasks and start none; running ones end, others wait."""

    async def end(manager: PoolManager) -> DrainedPool:
        return await manager.drain_pool(pool, timeout=timeout)

    output.show(pool_ends.drained(session.run(end), waited=timeout is not None))


@click.command()
@click.argument("pool", shell_complete=pool_names)
@click.option("--move", is_flag=True, help="Give its tasks to the other pools that can run them.")
@click.option("--to", metavar="POOL", shell_complete=pool_names, help="Give its tasks to this pool (implies --move).")
@click.option("--drain", "work_off", is_flag=True, help="Wait until its tasks have run.")
@click.option("--cancel", is_flag=True, help="Cancel its tasks.")
@click.option(
    "--timeout",
    "-T",
    type=Seconds(),
    metavar="SECONDS",
    help="How long running tasks may go on; with --drain: how long to wait for all.",
)
@format_option
@click.pass_obj
def close(session: Session, /, *, pool: str, timeout: float | None, output: Output, **choice: Any) -> None:
    """Close a POOL (id or name); its name is free afterwards. One that has tasks is closed only with --move, --drain or
    --cancel.
    """
    tasks, to = _way(**choice), choice["to"]

    async def end(manager: PoolManager) -> ClosedPool:
        return await manager.close_pool(pool, timeout=timeout, tasks=tasks, to=to)

    output.show(pool_ends.closed([session.run(end)]))


@click.command("close-all")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@format_option
@click.pass_obj
def close_all(session: Session, /, *, yes: bool, output: Output) -> None:
    """Close all pools, also those others have made, and cancel their tasks."""
    if not yes:
        _confirm(session, output)

    async def end(manager: PoolManager) -> list[PoolInfo]:
        known = {pool.pool_id: pool for pool in await manager.list_pools()}
        return [known[pool_id] for pool_id in await manager.close_all(scope="all") if pool_id in known]

    output.show(pool_ends.all_closed(session.run(end)))


def _way(*, move: bool, to: str | None, work_off: bool, cancel: bool) -> _Way:
    given: list[_Way] = []
    if move or to is not None:
        given.append("move")
    if work_off:
        given.append("drain")
    if cancel:
        given.append("cancel")
    if len(given) > 1:
        raise click.UsageError("Give one of --move, --drain and --cancel.")
    return given[0] if given else "refuse"


def _confirm(session: Session, output: Output) -> None:
    if not output.for_people or not sys.stdin.isatty():
        raise errors.InvalidField.of("--yes", "is missing and nobody can be asked", "Add it to close all pools.")
    pools = session.list_pools()
    queued, running = sum(pool.queued for pool in pools), sum(pool.running for pool in pools)
    tasks = f" {queued} queued and {running} running tasks are cancelled." if queued or running else ""
    click.confirm(f"Close all {len(pools)} pools, also those others have made?{tasks}", abort=True, err=True)


def _change(session: Session, act: Callable[[PoolManager], Awaitable[PoolInfo]], *, output: Output, done: str) -> None:
    pool = session.run(act)
    output.show(pool_documents.pool_details(pool, done=done.format(pool)))
