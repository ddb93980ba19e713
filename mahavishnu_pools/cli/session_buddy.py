"""``session-buddy``: the embedded Session-Buddy server."""

from __future__ import annotations

from pathlib import Path

import click

from mahavishnu_pools.cli.memory_server import keep_days_option, token_file_option, tokens_of


@click.command("session-buddy")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; others than loopback need a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8678, show_default=True, help="Port; 0: a free one.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where pools and memory are kept (default: MAHAVISHNU_DATA_DIR, else the user's data directory).",
)
@token_file_option("session_buddy_token")
@keep_days_option
def session_buddy(
    *, host: str, port: int, data_dir: Path | None, token_file: Path | None, keep_days: float | None
) -> None:
    """Serve pools of three workers and a memory as MCP tools, until Ctrl-C or SIGTERM.

    The URL is printed once the server answers.
    """
    import asyncio

    from mahavishnu_pools.session_buddy.server import run
    from mahavishnu_pools.settings import load_settings

    settings = load_settings()
    where = (data_dir or settings.data_dir).absolute()
    tokens = tokens_of(token_file, settings.session_buddy_token)
    days = settings.memory_keep_days if keep_days is None else keep_days
    asyncio.run(run(where, host=host, port=port, tokens=tokens, on_ready=click.echo, keep_days=days))
