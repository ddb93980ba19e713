"""What the shell offers at TAB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.pool import PoolInfo


def pool_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of pools that begin so; none when they cannot be read."""

    async def read(manager: PoolManager) -> Sequence[PoolInfo]:
        return await manager.list_pools()

    session = context.find_object(Session) or Session()
    try:
        return [pool.name for pool in session.run(read) if pool.name.startswith(incomplete)]
    except errors.MahavishnuError:  # nothing to offer; a shell shows no errors at TAB
        return []
