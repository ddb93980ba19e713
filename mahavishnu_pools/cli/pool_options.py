"""Options that name pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from mahavishnu_pools.cli.completion import pool_names


def pools_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return ``--pool`` for commands that take several, which get them as ``pools``; ``text`` is its help."""
    return click.option("--pool", "-p", "pools", multiple=True, metavar="POOL", shell_complete=pool_names, help=text)
