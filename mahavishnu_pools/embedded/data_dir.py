"""What lies where in a stack's data directory, and who may read it: only its user."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from mahavishnu_pools import errors


@dataclass(frozen=True, slots=True)
class DataDir:
    """A stack's data directory; ``root`` is absolute."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> DataDir:
        """Return the data directory at a path, which may be relative or begin with ``~``."""
        return cls(Path(os.path.abspath(path.expanduser())))

    @property
    def state_file(self) -> Path:
        """The supervisor's account of the stack; holds the password."""
        return self.root / "stack.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor as long as it lives; holds a copy of its account, without the password."""
        return self.root / "run" / "supervisor.lock"

    @property
    def db_lock_file(self) -> Path:
        """Locked by the embedded server as long as it lives."""
        return self.root / "run" / "db.lock"

    @property
    def drain_file(self) -> Path:
        """Seconds to drain, written by whoever asks the supervisor to stop."""
        return self.root / "run" / "drain_seconds"

    @property
    def ports_file(self) -> Path:
        """Ports the parts had at the last start, so that a page or client that knows one finds it again."""
        return self.root / "run" / "ports.json"

    @property
    def roots_file(self) -> Path:
        """Directories that stacks were started in, below which tasks may work."""
        return self.root / "roots.json"

    @property
    def db(self) -> Path:
        """The embedded server's data and configuration; not called ``redis``, for ``celery`` imports from the root."""
        return self.root / "db"

    def ready_file(self, part: str) -> Path:
        """Return the file a part writes its pid to when it is ready."""
        return self.root / "run" / f"{part}.ready"

    def log_file(self, part: str) -> Path:
        """Return the file that takes a part's output."""
        return self.root / "logs" / f"{part}.log"

    def create(self) -> None:
        """Make the directory and its parts, readable by nobody else.

        Raises:
            InvalidConfig: the path names something that is no directory.
            StackPartFailed: it cannot be written.
        """
        if self.root.exists() and not self.root.is_dir():
            raise errors.InvalidConfig(
                f"data_dir: {self.root} is no directory. Name another one with --data-dir.", setting="data_dir"
            )
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not any(self.root.iterdir()):
                self.root.chmod(0o700)
            for name in ("run", "logs", "db"):
                (self.root / name).mkdir(exist_ok=True, mode=0o700)
            write_private(self.root / "run" / "writable", "")
        except OSError as exc:
            raise errors.StackPartFailed(
                f"The data directory {self.root} cannot be written ({exc.strerror}). "
                "Name another one with --data-dir or MAHAVISHNU_DATA_DIR.",
                data_dir=str(self.root),
            ) from exc


def write_private(path: Path, text: str) -> os.stat_result:
    """Write a file in one step, readable by its user only; return how it was when it got there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        written = os.fstat(descriptor)
    temporary.replace(path)
    return written


def try_lock(path: Path, *, patience: float = 0.0) -> int | None:
    """Lock a file and return its descriptor; None when it is taken. The lock holds while any process has it open.

    Args:
        path: the file; it is made when it is missing.
        patience: how long to try, in seconds; somebody may just be looking whether it is locked.
    """
    deadline = time.monotonic() + patience
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.01)
        else:
            return descriptor


def is_locked(path: Path, *, patience: float = 0.0) -> bool:
    """Tell whether a process holds the lock of a file, for so many seconds."""
    lock = try_lock(path, patience=patience)
    if lock is None:
        return True
    os.close(lock)
    return False
