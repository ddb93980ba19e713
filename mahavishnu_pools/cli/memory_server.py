"""What the commands ``session-buddy`` and ``akosha`` share: their token and how long they keep memories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import SecretStr

from mahavishnu_pools import errors

Command = TypeVar("Command", bound=Callable[..., Any])


def token_file_option(setting: str) -> Callable[[Command], Command]:
    """Add ``--token-file``; ``setting`` counts where it is not given."""
    return click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"File with the bearer token clients must send (default: the setting {setting}).",
    )


def keep_days_option(command: Command) -> Command:
    """Add ``--keep-days``."""
    return click.option(
        "--keep-days",
        type=click.FloatRange(0, 36500),
        metavar="DAYS",
        help="Delete memories older than this; 0: keep them for ever (default: the setting memory_keep_days, 400).",
    )(command)


def token_of(file: Path | None, configured: SecretStr | None) -> str | None:
    """Return the token of the file, else the configured one.

    Raises:
        InvalidField: the file cannot be read, or is empty.
    """
    if file is None:
        return None if configured is None else configured.get_secret_value()
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        problem = f"cannot be read ({type(exc).__name__})"
        raise errors.InvalidField.of("token-file", problem, "Name a text file you can read.") from exc
    if not token:
        raise errors.InvalidField.of("token-file", "is empty", "Write the token into it, or leave the option out.")
    return token
