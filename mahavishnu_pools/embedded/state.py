"""What is known about a stack: written by its supervisor to ``stack.json``, read by everybody else."""

from __future__ import annotations

import enum
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mahavishnu_pools.embedded.data_dir import DataDir, write_private
from mahavishnu_pools.embedded.identity import ProcessId
from mahavishnu_pools.redis_url import mask_url

logger = logging.getLogger(__name__)

#: Version of the file; a file of another version is not read.
SCHEMA = 1


class PartStatus(enum.StrEnum):
    """How a part is. The last three are only seen from outside, by ``status``."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    EXTERNAL = "external"
    DEAD = "dead"
    UNREACHABLE = "unreachable"
    MISSING = "missing"


#: A part with one of these is as it should be.
GOOD = frozenset({PartStatus.RUNNING, PartStatus.EXTERNAL})


@dataclass(frozen=True, slots=True)
class PartState:
    """One part at one moment; ``reason`` says why it is not healthy, ``last_error`` why it was last restarted,
    ``failures`` how often in a row.
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
    """A stack at one moment. ``redis_url`` holds the password; ``external``: the server is not the stack's own."""

    data_dir: Path
    redis_url: str | None = field(repr=False)
    external: bool
    supervisor: ProcessId | None
    parts: tuple[PartState, ...]
    started_at: str = ""
    drain_seconds: float = 30.0
    owner: ProcessId | None = None

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


def write_state(state: StackState) -> None:
    """Write the state file in one step."""
    document = {"schema": SCHEMA, **asdict(state)}
    write_private(DataDir(state.data_dir).state_file, json.dumps(document, default=str, indent=1))


def read_state(data_dir: Path) -> StackState | None:
    """Return what the supervisor of a data directory wrote last; None when nothing (readable) is there."""
    try:
        raw = json.loads(DataDir.at(data_dir).state_file.read_text(encoding="utf-8"))
        if raw.pop("schema") != SCHEMA:
            return None
        return _state(raw)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
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
