"""The command ``akosha``."""

from __future__ import annotations

from pathlib import Path

import click

from mahavishnu_pools.cli.stack import data_dir_option

#: Where Akosha listens when nothing else is said.
DEFAULT_PORT = 8682


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; others than loopback need a token.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="Port; 0 takes a free one."
)
@data_dir_option
def akosha(*, host: str, port: int, data_dir: Path | None) -> None:
    """Serve the embedded Akosha: memory and patterns of all pools, for MCP clients.

    The URL is printed on stdout once it answers. The token, if any, is MAHAVISHNU_AKOSHA_TOKEN. Ctrl-C stops it.
    """
    import asyncio

    from mahavishnu_pools.akosha.archive import Archive
    from mahavishnu_pools.akosha.service import service_of
    from mahavishnu_pools.mcp_serving import serve
    from mahavishnu_pools.settings import load_settings

    settings = load_settings(**({"data_dir": data_dir} if data_dir else {}))
    archive = Archive(settings.data_dir / "akosha" / "memory.sqlite3")
    token = settings.akosha_token.get_secret_value() if settings.akosha_token else None
    try:
        archive.count()  # a file that cannot be used is told now, not at the first call
        asyncio.run(serve(service_of(archive, token=token), host=host, port=port, on_ready=click.echo))
    finally:
        archive.close()
    click.echo("Akosha has stopped.", err=True)
