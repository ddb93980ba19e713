"""The command ``server``."""

from __future__ import annotations

from pathlib import Path

import click

from mahavishnu_pools.cli.memory_server import token_file_option
from mahavishnu_pools.cli.which_stack import settings_in_force, with_data_dir


@with_data_dir
@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; others than loopback need a token.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Port; 0 takes a free one (default: the setting server_port, 8680).",
)
@click.option("--stdio", is_flag=True, help="Serve one client over standard input and output instead.")
@token_file_option("server_token")
def server(*, host: str, port: int | None, stdio: bool, token_file: Path | None) -> None:
    """Serve the pools as MCP tools, with pages for health and metrics, until Ctrl-C or SIGTERM.

    It uses the configured Redis or the local stack, also one that is started later. The URL of the tools is printed
    once they answer.
    """
    import asyncio

    from mahavishnu_pools.server.running import run, run_stdio, tokens_of
    from mahavishnu_pools.token_file import TokenFile, file_named

    settings = settings_in_force()
    if stdio:
        asyncio.run(run_stdio(settings))
        return
    if token_file is None and settings.server_token is not None:
        token_file = file_named(settings.server_token.get_secret_value())
    tokens = tokens_of(settings.server_token) if token_file is None else TokenFile(token_file)
    where = settings.server_port if port is None else port
    asyncio.run(run(settings, host=host, port=where, tokens=tokens, on_ready=click.echo))
