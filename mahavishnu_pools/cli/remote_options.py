"""Options that describe pools which delegate to another server, for the command that makes a pool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mahavishnu_pools import errors

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--endpoint", metavar="URL", help="Server it delegates to (types session-buddy and mahavishnu-remote)."
    ),
    click.option("--token-secret", metavar="NAME", help="Line of the workers' secrets.env with that server's token."),
    click.option("--token-env", metavar="NAME", help="Variable of the agent with the token (type mahavishnu-remote)."),
    click.option("--ca-file", metavar="FILE", help="Certificates that vouch for that server. [default: the system's]"),
    click.option(
        "--remote-pool", metavar="POOL", help="Pool there, for type mahavishnu-remote. [default: one is chosen there]"
    ),
    click.option(
        "--remote-tag", "remote_tags", multiple=True, metavar="TAG", help="Only pools there with it (may be repeated)."
    ),
)

#: The names of these options, but for ``endpoint``, which is a field of every pool.
NAMES = ("token_secret", "token_env", "ca_file", "remote_pool", "remote_tags")


def remote_options(command: Command) -> Command:
    """Add the options; the command hands what it gets to ``remote_fields``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def remote_fields(given: dict[str, Any], *, delegates: bool) -> dict[str, Any]:
    """Take these options out of what was ``given`` and return what ``extra_config`` holds of them.

    Raises:
        InvalidField: some are given for a pool that delegates to nobody.
    """
    taken = {name: given.pop(name) for name in NAMES if name in given}
    if taken and not delegates:
        option = f"--{next(iter(taken)).replace('_', '-').replace('tags', 'tag')}"
        remedy = "Leave it out, or give --type mahavishnu-remote."
        raise errors.InvalidField.of(option, "is for pools that delegate to another server", remedy)
    if "ca_file" in taken:
        taken["ca_file"] = str(Path(taken["ca_file"]).expanduser().absolute())
    if "remote_tags" in taken:
        taken["remote_tags"] = list(taken["remote_tags"])
    return taken
