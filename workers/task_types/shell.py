"""Task type ``shell``: a command on the worker's machine."""

from __future__ import annotations

import shlex

from mahavishnu_pools.task_types import ShellPayload, task_type

from ..executors.interface import Refused


@task_type("shell", payload=ShellPayload, mode="command")
def shell(payload: ShellPayload) -> list[str]:
    """Return the argv of the command.

    Raises:
        Refused: the text cannot be split, for example because a quote is not closed.
    """
    if isinstance(payload.command, list):
        return payload.command
    if payload.shell:
        return ["sh", "-c", payload.command]
    try:
        return shlex.split(payload.command)
    except ValueError as exc:
        raise Refused(
            f"payload.command cannot be split into words: {exc}. Give it as a list, or set shell to true."
        ) from exc
