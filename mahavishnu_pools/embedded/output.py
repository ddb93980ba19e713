"""Log files of the parts. Parts write to them directly, so that they live on when the supervisor is killed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

#: A log file is rotated when it is larger, in bytes.
LOG_BYTES = 10 * 1024 * 1024

#: This many older files are kept.
LOG_FILES = 3

#: How much of a file's end is looked at for its last lines, in bytes.
_TAIL_BYTES = 256 * 1024


def open_log(path: Path) -> int:
    """Open a log file for appending and return its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def rotate(path: Path, *, limit: int = LOG_BYTES) -> bool:
    """Copy a log file away and empty it when it is over the limit; what is written in between may be lost."""
    try:
        if path.stat().st_size <= limit:
            return False
    except FileNotFoundError:
        return False
    for number in range(LOG_FILES - 1, 0, -1):
        older = _numbered(path, number)
        if older.exists():
            older.replace(_numbered(path, number + 1))
    shutil.copy(path, _numbered(path, 1))
    os.truncate(path, 0)
    return True


def tail(path: Path, *, lines: int) -> list[str]:
    """Return the last lines of a log file; none when there is no such file."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - max(_TAIL_BYTES, 200 * lines)))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:] if lines > 0 else []


def last_words(path: Path) -> str:
    """Return the last line that is not empty, shortened; empty when there is none."""
    spoken = [line.strip() for line in tail(path, lines=20) if line.strip()]
    return spoken[-1][:300] if spoken else ""


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
