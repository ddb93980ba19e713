"""What the shell offers at TAB."""

from __future__ import annotations

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli.session import Session


def pool_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of pools that begin so; none when they cannot be read."""
    session = context.find_object(Session) or Session()
    try:
        return [pool.name for pool in session.list_pools() if pool.name.startswith(incomplete)]
    except errors.MahavishnuError:  # nothing to offer; a shell shows no errors at TAB
        return []
