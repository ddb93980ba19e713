"""``session-buddy``: the embedded Session-Buddy server."""

from __future__ import annotations

from pathlib import Path

import click

from mahavishnu_pools import errors


@click.command("session-buddy")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; others than loopback need a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8678, show_default=True, help="Port; 0: a free one.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where pools and memory are kept (default: MAHAVISHNU_DATA_DIR, else the user's data directory).",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File with the bearer token clients must send (default: the setting session_buddy_token).",
)
def session_buddy(*, host: str, port: int, data_dir: Path | None, token_file: Path | None) -> None:
    """Serve pools of three workers and a memory as MCP tools, until Ctrl-C or SIGTERM.

    The URL is printed once the server answers.
    """
    import asyncio

    from mahavishnu_pools.session_buddy.server import run
    from mahavishnu_pools.settings import load_settings

    settings = load_settings()
    where = data_dir or settings.data_dir
    configured = settings.session_buddy_token
    token = None if configured is None else configured.get_secret_value()
    if token_file is not None:
        token = _read_token(token_file)
    asyncio.run(run(where.absolute(), host=host, port=port, token=token, on_ready=click.echo))


def _read_token(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        problem = f"cannot be read ({type(exc).__name__})"
        raise errors.InvalidField.of("token-file", problem, "Name a text file you can read.") from exc
    if not token:
        raise errors.InvalidField.of("token-file", "is empty", "Write the token into it, or leave the option out.")
    return token
