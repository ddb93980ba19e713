"""The command ``metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.which_stack import with_data_dir

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager


@with_data_dir
@click.command()
@click.pass_obj
def metrics(session: Session, /) -> None:
    """Print the metrics of the whole system once, as Prometheus reads them."""

    async def read(manager: PoolManager) -> bytes:
        return await manager.metrics()

    click.echo(session.run(read), nl=False)
