"""Printing: documents to standard output, talk and errors to standard error."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import click

from mahavishnu_pools.cli.exit_codes import ExitCode, Failure
from mahavishnu_pools.cli.formats.choice import FormatName, format_of
from mahavishnu_pools.cli.formats.interface import Document

if TYPE_CHECKING:
    from mahavishnu_pools.store.logs import LogPiece

#: Stands in a task's log where output was left out.
CUT = "\n… output cut …\n"


class Output:
    """Where one command's words go, in the format the user asked for."""

    def __init__(self, name: FormatName) -> None:
        self._name = name

    @property
    def for_people(self) -> bool:
        """Tell whether talk beside the data is wanted."""
        return self._name is not FormatName.JSON

    @property
    def live(self) -> bool:
        """Tell whether live progress is wanted."""
        return self._name is FormatName.PROGRESS

    def show(self, document: Document) -> None:
        """Print a document to standard output."""
        at_terminal = sys.stdout.isatty()
        colour = at_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        width = shutil.get_terminal_size().columns if at_terminal else None
        click.echo(format_of(self._name, colour=colour, width=width).render(document), color=colour)

    def say(self, text: str) -> None:
        """Print a line for people to standard error; nothing when programs read the output."""
        if self.for_people:
            click.echo(text, err=True)

    def stream(self, piece: LogPiece, *, raw: bool = False, thinking: bool = False) -> str:
        """Print a piece of a task's log to standard error as it comes, and return what was printed.

        An AI program's events are a line each; when programs read the output, they are JSON and all that is printed.
        With ``raw`` its own lines stand for them; ``thinking`` shows what it thought, too.
        """
        from mahavishnu_pools.agent_lines import event_lines, shown

        if self.for_people:
            text = shown(piece.stream, piece.text, raw=raw, thinking=thinking)
            text = f"{CUT if piece.after_cut else ''}{text}"
        else:
            text = event_lines(piece.stream, piece.text, thinking=thinking)
        click.echo(text, err=True, nl=False)
        return text


def tell(failure: Failure, *, as_json: bool) -> None:
    """Print an error to standard error."""
    if as_json:
        from mahavishnu_pools.cli.formats.json import json_text

        click.echo(json_text(failure.data()), err=True)
    else:
        interrupted = failure.exit_code is ExitCode.INTERRUPTED  # somebody wanted that, so it is no error
        click.echo(failure.message if interrupted else f"Error: {failure.message}", err=True)


def wants_json(arguments: Sequence[str]) -> bool:
    """Tell from the bare arguments whether JSON was asked for; needed when they could not be parsed."""
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in ("--format", "-f") and (value or _following(arguments, index)).lower() == "json":
            return True
        if argument.lower() == "-fjson":
            return True
    return False


def tolerate_odd_characters(*streams: IO[str]) -> None:
    """Make streams write characters their encoding lacks by their number instead of failing."""
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _following(arguments: Sequence[str], index: int) -> str:
    return arguments[index + 1] if index + 1 < len(arguments) else ""
