"""The command ``version``."""

from __future__ import annotations

import click

from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output


@click.command()
@format_option
def version(*, output: Output) -> None:
    """Print the versions of this program and of what it stands on."""
    import platform
    from importlib import metadata

    from mahavishnu_pools.cli.formats.interface import Document, Fields

    names = ("mahavishnu-pools", "celery", "redis")
    data = {**{name: metadata.version(name) for name in names}, "python": platform.python_version()}
    output.show(Document(data, (Fields(None, tuple(data.items())),)))
