"""Warns of commands that are written for a shell, and that no shell will read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click

#: What stands in quotes or behind a backslash means nothing to a shell either.
_QUOTED = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)

#: Operators between words, and what a shell would replace.
_FOR_A_SHELL = re.compile(r"(?<!\S)(?:&&?|\|\|?|;|\d?>{1,2}|<)(?!\S)|;(?!\S)|(?<!\S)\d?>(?:&\d|/\S+)|\$\(|\$\w+|\$\{|`")

_TYPES = ("shell", "container")


def warn_of_shell_words(tasks: Sequence[dict[str, Any]]) -> None:
    """Say on standard error when a command that is split into words has some that only a shell understands."""
    found = [word for word in map(_shell_word, tasks) if word is not None]
    if not found:
        return
    where = "this command" if len(tasks) == 1 else f"the commands of {len(found)} tasks"
    click.echo(
        f"Warning: no shell reads {where}: {found[0]!r} is passed on as it is. "
        'For a shell put "shell": true into the payload.',
        err=True,
    )


def _shell_word(task: dict[str, Any]) -> str | None:
    payload = task.get("payload")
    if task.get("task_type") not in _TYPES or not isinstance(payload, dict) or payload.get("shell"):
        return None
    command = payload.get("command")
    if not isinstance(command, str):
        return None
    word = _FOR_A_SHELL.search(_QUOTED.sub("_", command))
    return word.group() if word else None
