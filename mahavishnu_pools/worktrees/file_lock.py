"""A lock that lives as long as the process that has it: held on a file, seen by all processes of the machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

#: Bytes of what a holder says of itself.
_MOST = 200


class FileLock:
    """A lock on a file, which is made when it is missing. Each holder makes one of its own.

    ``said`` is what the holder before said of itself, or the one there is; it is empty after an orderly end.
    """

    def __init__(self, path: Path) -> None:
        self.said = ""
        self._path = path
        self._file: int | None = None

    def take(self, holder: str) -> bool:
        """Take the lock unless somebody has it, and tell whether it was taken; ``holder`` is what others are told.

        Raises:
            OSError: the file cannot be made.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            taken = _locked(file)
            if taken and not self._is_there(file):
                os.close(file)  # whoever had it has removed the file meanwhile
                continue
            self.said = os.pread(file, _MOST, 0).decode("utf-8", "replace")
            if not taken:
                os.close(file)
                return False
            self._file = file
            _write(file, holder)
            return True

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back; ``remove`` takes the file away. A second call does nothing."""
        file, self._file = self._file, None
        if file is None:
            return
        _write(file, "")
        if remove:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(file)

    def _is_there(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self._path))
        except FileNotFoundError:
            return False


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except BaseException:
        os.close(file)
        raise
    return True


def _write(file: int, holder: str) -> None:
    with contextlib.suppress(OSError):  # a full disk: the lock holds, it only does not say whose it is
        os.ftruncate(file, 0)
        os.pwrite(file, holder.encode()[:_MOST], 0)
