"""The command ``restart``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import pool_documents
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.formats.interface import Document, Note
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.pool import PoolInfo


@click.command()
@click.argument("pool", required=False, shell_complete=pool_names)
@click.option("--all", "-a", "every", is_flag=True, help="All pools, one after the other.")
@format_option
@click.pass_obj
def restart(session: Session, /, *, pool: str | None, every: bool, output: Output) -> None:
    """Start the workers of a POOL (id or name) anew, with the code there is now; no task is lost.

    Running tasks may end; those that run longer than drain_timeout run again.
    """
    if (pool is None) != every:
        problem = "is missing" if pool is None else "excludes the other"
        raise errors.InvalidField.of("POOL or --all", problem, "Give one of the two.")

    async def act(manager: PoolManager) -> list[PoolInfo]:
        names = [pool] if pool is not None else [one.name for one in await manager.list_pools()]
        done = []
        for name in names:
            output.say(f"Restarting {name} …")
            done.append(await manager.restart_pool(name))
        return done

    restarted = session.run(act)
    if pool is not None:
        output.show(pool_documents.pool_details(restarted[0], done=f"Pool {restarted[0].name} is restarted"))
        return
    notes = tuple(Note(f"Pool {one.name} is restarted", good=True) for one in restarted)
    data = {"pools": [pool_documents.pool_data(one) for one in restarted]}
    output.show(Document(data, notes or (Note("No pools."),)))
