"""The command ``akosha``."""

from __future__ import annotations

from pathlib import Path

import click

from mahavishnu_pools.cli.memory_server import keep_days_option, token_file_option, tokens_of
from mahavishnu_pools.cli.stack import data_dir_option

#: Where Akosha listens when nothing else is said.
DEFAULT_PORT = 8682


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; others than loopback need a token.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="Port; 0 takes a free one."
)
@data_dir_option
@token_file_option("akosha_token")
@keep_days_option
def akosha(*, host: str, port: int, data_dir: Path | None, token_file: Path | None, keep_days: float | None) -> None:
    """Serve the embedded Akosha: memory and patterns of all pools, for MCP clients.

    The URL is printed on stdout once it answers. Ctrl-C stops it.
    """
    import asyncio

    from mahavishnu_pools.akosha.archive import Archive
    from mahavishnu_pools.akosha.service import service_of
    from mahavishnu_pools.mcp_serving import serve
    from mahavishnu_pools.settings import load_settings

    settings = load_settings(**({"data_dir": data_dir} if data_dir else {}))
    archive = Archive(settings.data_dir / "akosha" / "memory.sqlite3")
    service = service_of(archive, tokens=tokens_of(token_file, settings.akosha_token))
    days = settings.memory_keep_days if keep_days is None else keep_days

    async def run() -> None:
        async with archive.kept_for(days):
            await serve(service, host=host, port=port, on_ready=click.echo)

    try:
        archive.count()  # a file that cannot be used is told now, not at the first call
        asyncio.run(run())
    finally:
        archive.close()
    click.echo("Akosha has stopped.", err=True)
