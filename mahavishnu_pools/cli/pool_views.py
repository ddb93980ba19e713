"""Commands that look at pools: ``list``, ``get``, ``health``, ``stats``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools.cli import pool_documents
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.exit_codes import HEALTH, ExitCode
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.pool import PoolInfo


@click.command("list")
@click.option("--active-only", is_flag=True, help="Only pools that take tasks.")
@click.option("--by-type", "pool_type", metavar="TYPE", help="Only pools of this type.")
@format_option
@click.pass_obj
def list_pools(session: Session, /, *, active_only: bool, pool_type: str | None, output: Output) -> None:
    """List the pools."""
    found = session.list_pools(active_only=active_only, pool_type=pool_type)
    output.show(pool_documents.pool_list(found, narrowed=active_only or pool_type is not None))


@click.command()
@click.argument("pool", shell_complete=pool_names)
@format_option
@click.pass_obj
def get(session: Session, /, *, pool: str, output: Output) -> None:
    """Show one POOL (id or name) and its figures."""

    async def read(manager: PoolManager) -> PoolInfo:
        return await manager.pool_info(pool)

    output.show(pool_documents.pool_details(session.run(read)))


@click.command()
@click.option("--all", "-a", "every", is_flag=True, help="All pools (the default).")
@click.option("--pool", "-p", metavar="POOL", shell_complete=pool_names, help="Only this pool (id or name).")
@format_option
@click.pass_obj
def health(session: Session, /, *, every: bool, pool: str | None, output: Output) -> ExitCode:
    """Check the pools. The exit code is 0 when they are healthy, 1 when not, 4 when nothing can be reached."""
    if every and pool is not None:
        raise click.UsageError("Give either --all or --pool, not both.")

    async def read(manager: PoolManager) -> dict[str, Any]:
        return await manager.health_check(pool)

    found = session.run(read)
    output.show(pool_documents.health(found))
    return HEALTH.get(str(found["status"]), ExitCode.TASK_FAILED)


@click.command()
@click.option("--by-type", is_flag=True, help="Add the figures of each pool type.")
@format_option
@click.pass_obj
def stats(session: Session, /, *, by_type: bool, output: Output) -> None:
    """Show figures over all pools."""

    async def read(manager: PoolManager) -> tuple[dict[str, Any], list[PoolInfo]]:
        return await manager.stats(by_type=by_type), await manager.list_pools()

    found, pools = session.run(read)
    output.show(pool_documents.statistics(found, pools))
