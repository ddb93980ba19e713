"""Starts a worker group as a program of its own, for systems where a process like ours must not be forked."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass

from .group_process import PACKAGE

#: Forces how groups are started: ``fork`` or ``exec``.
METHOD_VARIABLE = "MAHAVISHNU_START_METHOD"


def starts_by_exec() -> bool:
    """Tell whether groups are started by exec: always on macOS, elsewhere when the environment forces it."""
    return os.environ.get(METHOD_VARIABLE, "exec" if sys.platform == "darwin" else "fork") == "exec"


@dataclass(frozen=True, slots=True)
class Spawned:
    """What a group started by exec inherits: its function's place, and the descriptors for news and ticks."""

    function: str
    news_fd: int
    ticks_fd: int


def spawn(spawned: Spawned, *, slot: int, start: str) -> int:
    """Start the program and return its pid. ``start`` goes through an unnamed file: it holds a password."""
    numbers = (str(slot), str(spawned.news_fd), str(spawned.ticks_fd))
    # Like this process itself: from an installation the current directory is never imported from.
    safe = ["-P"] if sys.flags.safe_path else []
    argv = [sys.executable, *safe, "-m", f"{PACKAGE}.agent.exec_group", spawned.function, *numbers]
    with tempfile.TemporaryFile() as file:
        file.write(start.encode())
        file.seek(0)
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), 0)]
        return os.posix_spawn(sys.executable, argv, os.environ, file_actions=actions)
