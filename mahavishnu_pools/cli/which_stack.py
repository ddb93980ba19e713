"""Which stack a command is for: the one ``--data-dir`` names, else the one the settings lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mahavishnu_pools import errors

if TYPE_CHECKING:
    from mahavishnu_pools.settings import Settings

_CHOSEN = f"{__name__}.chosen"


def _choose(context: click.Context, _option: click.Parameter, value: Path | None) -> None:
    context.meta[_CHOSEN] = value


#: The option; its value is for ``settings_in_force``, the command does not see it.
DATA_DIR = click.Option(
    ["--data-dir"],
    type=click.Path(path_type=Path),
    expose_value=False,
    callback=_choose,
    help="Use the stack of this directory, whatever Redis is configured (default: the configured Redis, else the stack "
    "in MAHAVISHNU_DATA_DIR, else in the user's data directory).",
)


def with_data_dir(command: click.Command) -> click.Command:
    """Add ``--data-dir`` to a command, or to all commands of a group, unless it is there."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            with_data_dir(one)
    elif DATA_DIR not in command.params:
        command.params.append(DATA_DIR)
    return command


def settings_in_force() -> Settings:
    """Return the settings of the command that runs; a directory named with ``--data-dir`` rules out another Redis."""
    from mahavishnu_pools.settings import load_settings

    context = click.get_current_context(silent=True)
    where = None if context is None else context.meta.get(_CHOSEN)
    return load_settings() if where is None else load_settings(data_dir=where, redis_url=None)


def not_running(settings: Settings) -> errors.StackNotRunning:
    """Return the error that no Redis is configured and no stack runs where it was looked for."""
    from mahavishnu_pools.embedded.stack import data_dir_of

    return errors.StackNotRunning(
        f"No stack is running in {data_dir_of(settings)}. Start one with 'mahavishnu up', name another directory with "
        "--data-dir or MAHAVISHNU_DATA_DIR, or a server in MAHAVISHNU_REDIS_URL."
    )
