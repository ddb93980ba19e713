"""What the commands ``session-buddy`` and ``akosha`` share: their token and how long they keep memories."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import SecretStr

from mahavishnu_pools.token_file import TokenFile, read_tokens

Command = TypeVar("Command", bound=Callable[..., Any])


def token_file_option(setting: str) -> Callable[[Command], Command]:
    """Add ``--token-file``; ``setting`` counts where it is not given."""
    return click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"File with the bearer token clients must send, or with several, a line each; it is read again when it "
        f"changes (default: the setting {setting}).",
    )


def keep_days_option(command: Command) -> Command:
    """Add ``--keep-days``."""
    return click.option(
        "--keep-days",
        type=click.FloatRange(0, 36500),
        metavar="DAYS",
        help="Delete memories older than this; 0: keep them for ever (default: the setting memory_keep_days, 400).",
    )(command)


def tokens_of(file: Path | None, configured: SecretStr | None) -> Collection[str]:
    """Return what a server accepts: the tokens that the file has at each look, else the configured one.

    Raises:
        InvalidField: the file cannot be read, or is empty.
    """
    if file is not None:
        return TokenFile(file)
    return () if configured is None else (configured.get_secret_value(),)


def token_of(file: Path | None, configured: SecretStr | None) -> str | None:
    """Return the newest token of the file, else the configured one: what a client sends.

    Raises:
        InvalidField: the file cannot be read, or is empty.
    """
    if file is not None:
        return read_tokens(file)[0]
    return None if configured is None else configured.get_secret_value()
