"""Which files of a directory the demonstration looks at."""

from __future__ import annotations

import os
from pathlib import Path

from mahavishnu_pools import errors

#: Directories that hold what others wrote or what a build made.
SKIPPED = frozenset({"node_modules", "build", "dist", "__pycache__", "site-packages"})


def python_files(directory: Path) -> list[str]:
    """Return the ``*.py`` files below a directory, relative to it, in order of their path.

    Hidden directories, virtual environments and ``SKIPPED`` are left out, links to directories are not followed.

    Raises:
        InvalidField: it is no directory that can be read, or holds no Python file.
    """
    if not directory.is_dir():
        raise errors.InvalidField.of("DIR", f"{str(directory)!r} is no directory", "Name one with Python files.")
    found: list[str] = []
    for root, names, files in os.walk(directory):
        names[:] = [name for name in names if _is_own(Path(root, name))]
        found += [os.path.relpath(os.path.join(root, name), directory) for name in files if name.endswith(".py")]
    if not found:
        raise errors.InvalidField.of("DIR", f"{str(directory)!r} holds no Python file", "Name another directory.")
    return sorted(found)


def can_be_sent(name: str) -> bool:
    """Tell whether a file's name is valid Unicode, as JSON needs it."""
    return not any("\ud800" <= char <= "\udfff" for char in name)


def _is_own(directory: Path) -> bool:
    if directory.name.startswith(".") or directory.name in SKIPPED:
        return False
    return not (directory / "pyvenv.cfg").exists()
