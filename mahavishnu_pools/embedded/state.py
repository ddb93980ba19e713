"""What is known about a stack: written by its supervisor to ``stack.json``, read by everybody else.

A copy without the password is in the supervisor's lock file: a stack whose ``stack.json`` was lost is still found.
"""

from __future__ import annotations

import enum
import json
import logging
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import valkey
from mahavishnu_pools.embedded.data_dir import DataDir, is_locked, write_private
from mahavishnu_pools.embedded.identity import ProcessId
from mahavishnu_pools.redis_url import mask_url

logger = logging.getLogger(__name__)

#: Version of the file; a file of another version is not read.
SCHEMA = 1

#: How long a supervisor that has just taken its lock, or whose file was removed, gets to write its state, in seconds.
SETTLING_SECONDS = 2.0

#: Somebody who looks whether the lock is held holds it no longer than this, in seconds.
LOOKING_SECONDS = 0.1

#: How long a failed writing of the state is left alone, in seconds.
WRITE_AGAIN = 5.0

_POLL = 0.02


class PartStatus(enum.StrEnum):
    """How a part is. That it is dead is only seen from outside, by ``status``; unreachable, by its supervisor too."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    EXTERNAL = "external"
    SKIPPED = "skipped"
    DEAD = "dead"
    UNREACHABLE = "unreachable"


#: A part with one of these is as it should be.
GOOD = frozenset({PartStatus.RUNNING, PartStatus.EXTERNAL, PartStatus.SKIPPED})

#: A part with one of these is on its way.
COMING = frozenset({PartStatus.WAITING, PartStatus.STARTING})


@dataclass(frozen=True, slots=True)
class PartState:
    """One part at one moment; ``reason`` says why it is not healthy, ``last_error`` why it was last restarted,
    ``failures`` how often in a row. A part that is not ``core`` is nothing to wait for; ``health_url`` answers when it
    is well.
    """

    name: str
    status: PartStatus
    process: ProcessId | None = None
    url: str | None = None
    restarts: int = 0
    reason: str | None = None
    last_error: str | None = None
    stop_order: int = 50
    stop_seconds: float = 5.0
    drains: bool = False
    failures: int = 0
    core: bool = True
    health_url: str | None = None

    @property
    def is_well(self) -> bool:
        """Tell whether the part is as it should be; one that others do not need may still be on its way."""
        return self.status in GOOD or (not self.core and self.status in COMING and not self.failures)

    @property
    def is_stopping(self) -> bool:
        """Tell whether the part is being stopped."""
        return self.status is PartStatus.STOPPING

    def to_document(self) -> dict[str, Any]:
        """Return what users see, ready for JSON."""
        return {
            "name": self.name,
            "status": self.status.value,
            "pid": self.process.pid if self.process else None,
            "url": self.url,
            "restarts": self.restarts,
            "reason": self.reason,
            "last_error": self.last_error,
        }


@dataclass(frozen=True, slots=True)
class StackState:
    """A stack at one moment. ``redis_url`` holds the password; ``external``: the server is not the stack's own.

    ``settings`` are digests of the settings its parts were started with, by name.
    """

    data_dir: Path
    redis_url: str | None = field(repr=False)
    external: bool
    supervisor: ProcessId | None
    parts: tuple[PartState, ...]
    started_at: str = ""
    drain_seconds: float = 30.0
    owner: ProcessId | None = None
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    def part(self, name: str) -> PartState | None:
        """Return one part, or None."""
        return next((part for part in self.parts if part.name == name), None)

    def uses(self, redis_url: str | None) -> bool:
        """Tell whether the stack uses this server; None: one of its own."""
        return self.external == (redis_url is not None) and (not self.external or self.redis_url == redis_url)

    def to_document(self) -> dict[str, Any]:
        """Return what users see, ready for JSON; passwords are masked."""
        return {
            "data_dir": str(self.data_dir),
            "redis_url": mask_url(self.redis_url) if self.redis_url else None,
            "started_at": self.started_at,
            "parts": [part.to_document() for part in self.parts],
        }


def write_state(state: StackState) -> os.stat_result:
    """Write the copy in the lock file when there is one, then the state file in one step: it is never ahead.

    Returns:
        How the state file was when it got there; somebody else may have removed or changed it since.
    """
    data = DataDir(state.data_dir)
    if data.lock_file.exists():
        # In place: the lock is that of this very file.
        copy = _to_json(replace(state, redis_url=None)).encode()
        with data.lock_file.open("r+b") as stream:
            stream.write(copy)
            stream.truncate()
    return write_private(data.state_file, _to_json(state))


class StateFile:
    """Keeps the state file as the supervisor sees the stack, also when somebody else removes or changes it."""

    def __init__(self, data: DataDir) -> None:
        self._path = data.state_file
        self._written: StackState | None = None
        self._stamp: tuple[int, ...] | None = None
        self._due = 0.0

    def save(self, state: StackState) -> None:
        """Write the state unless it is there already. A full disk is borne: it is tried again a little later."""
        if time.monotonic() < self._due or (state == self._written and self._stamp == self._found()):
            return
        try:
            self._written, self._stamp = state, _stamp(write_state(state))
        except OSError as exc:
            self._due = time.monotonic() + WRITE_AGAIN
            logger.warning("The state cannot be written: %s", exc, extra={"action": "save"})

    def _found(self) -> tuple[int, ...] | None:
        try:
            return _stamp(self._path.stat())
        except OSError:
            return None


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def clear_state(data: DataDir) -> None:
    """Remove the state file and empty its copy: the stack has ended."""
    if data.lock_file.exists():
        os.truncate(data.lock_file, 0)
    data.state_file.unlink(missing_ok=True)


def read_state(data_dir: Path) -> StackState | None:
    """Return what the supervisor of a data directory wrote last; None when nothing (readable) is there."""
    data = DataDir.at(data_dir)
    state = _read(data.state_file)
    if state is not None:
        return state
    copy = _read(data.lock_file)
    if copy is None or copy.external:
        return copy
    address = valkey.configured_address(data.db)
    return replace(copy, redis_url=address.url if address else None)


def settled_state(data_dir: Path) -> StackState | None:
    """Return the state; a living supervisor that has none to read gets a moment to write it.

    Raises:
        StackPartFailed: a supervisor lives, but nothing it wrote can be read.
    """
    data = DataDir.at(data_dir)
    deadline = time.monotonic() + SETTLING_SECONDS
    while (state := read_state(data.root)) is None and is_supervisor_locked(data):
        if time.monotonic() >= deadline:
            raise errors.StackPartFailed(
                f"A supervisor holds {data.lock_file}, but its account {data.state_file} cannot be read. "
                f"End that stack with 'mahavishnu down --data-dir {shlex.quote(str(data.root))}'.",
                data_dir=str(data.root),
            )
        time.sleep(_POLL)
    return state or read_state(data.root)


def is_supervisor_locked(data: DataDir) -> bool:
    """Tell whether a supervisor lives, as its lock says; nothing is made where no stack ever was."""
    return os.access(data.lock_file, os.R_OK | os.W_OK) and is_locked(data.lock_file, patience=LOOKING_SECONDS)


def _to_json(state: StackState) -> str:
    return json.dumps({"schema": SCHEMA, **asdict(state)}, default=str, indent=1)


def _read(path: Path) -> StackState | None:
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if text else {"schema": None}
        return _state(raw) if raw.pop("schema") == SCHEMA else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        logger.warning("The stack's state cannot be read: %s", exc, extra={"action": "read_state"})
        return None


def _state(raw: dict[str, Any]) -> StackState:
    raw["data_dir"] = Path(raw["data_dir"])
    raw["supervisor"] = _process(raw["supervisor"])
    raw["owner"] = _process(raw["owner"])
    raw["parts"] = tuple(
        PartState(**{**row, "status": PartStatus(row["status"]), "process": _process(row["process"])})
        for row in raw["parts"]
    )
    return StackState(**raw)


def _process(row: Mapping[str, Any] | None) -> ProcessId | None:
    return ProcessId(int(row["pid"]), str(row["born"])) if row else None
