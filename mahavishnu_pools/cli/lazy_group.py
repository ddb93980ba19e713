"""A click group that imports a command when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click

#: No sentence is longer, in characters.
_LONGEST = 1000


class LazyGroup(click.Group):
    """A group whose commands are named as ``module:object``; only the one that is called is imported.

    ``finish`` is applied to each command when it is imported. ``summaries`` are the lines that its help shows of
    commands; one without is imported for that.
    """

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, str],
        summaries: Mapping[str, str] = MappingProxyType({}),
        finish: Callable[[click.Command], click.Command] = lambda command: command,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy)
        self._finish = finish
        self._summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(self._lazy)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(ctx, name)) for name in self._lazy])

    def _summary(self, ctx: click.Context, name: str) -> str:
        known = self._summaries.get(name)
        if known is not None:
            return known
        command = self.get_command(ctx, name)
        return "" if command is None else summary_of(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant; one that is unknown is refused with the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            from mahavishnu_pools.wording import did_you_mean

            near = did_you_mean(args[0], self._lazy).strip()
            if not near or args[0] in self._lazy:
                raise
            raise click.UsageError(f"{exc.format_message()} {near}", ctx) from exc

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, imported now."""
        if cmd_name not in self._lazy:
            return None
        module, _, name = self._lazy[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return self._finish(command)


def summary_of(command: click.Command) -> str:
    """Return the first sentence of a command's help."""
    return command.get_short_help_str(_LONGEST)
