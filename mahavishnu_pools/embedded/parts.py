"""The parts of the local stack, one row each, and the order they are started and stopped in."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mahavishnu_pools.embedded.identity import ProcessId

#: Name of the part that is the embedded server.
REDIS = "redis"

#: Set in every process of a stack and inherited by what it starts, so that nothing is left behind at its end.
STACK_VARIABLE = "MAHAVISHNU_STACK"

#: Stands in a command for the interpreter, the server's program and its configuration file.
PYTHON, SERVER, CONFIG = "{python}", "{server}", "{config}"


class Ready(enum.StrEnum):
    """How one sees that a part is ready."""

    #: It answers PING.
    PING = "ping"
    #: It wrote its pid to ``run/<name>.ready`` in the data directory.
    FILE = "file"
    #: It lives for a moment.
    ALIVE = "alive"


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the stack.

    ``needs`` names the parts that are ready before it is started. Parts are stopped by ascending ``stop_order``;
    ``stop_seconds`` is the time between TERM and KILL, for a part that ``drains`` beyond the drain timeout.
    """

    name: str
    argv: tuple[str, ...]
    ready: Ready = Ready.ALIVE
    needs: tuple[str, ...] = (REDIS,)
    url: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    stop_order: int = 50
    stop_seconds: float = 5.0
    drains: bool = False


def python_module(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module; the current directory is never imported from (``-P``)."""
    return (PYTHON, "-P", "-m", module, *arguments)


#: Everything ``up`` starts. A new part is a new row.
PARTS: tuple[Part, ...] = (
    Part(REDIS, (SERVER, CONFIG), ready=Ready.PING, needs=(), stop_order=90, stop_seconds=10.0),
    Part(
        "agent",
        python_module("mahavishnu_workers.agent"),
        ready=Ready.FILE,
        stop_order=10,
        stop_seconds=10.0,
        drains=True,
    ),
    Part(
        "beat",
        python_module(
            "celery",
            *("-A", "mahavishnu_workers.app", "beat"),
            *("-S", "redbeat.RedBeatScheduler", "--loglevel", "INFO", "--pidfile", ""),
        ),
        stop_order=20,
    ),
)


@dataclass(frozen=True, slots=True)
class StackSpec:
    """All the supervisor needs to know; handed over as JSON on its standard input because it holds secrets.

    ``redis_url`` is None for the embedded server. ``owner`` is the process the stack ends with, None: it stays.
    ``temporary`` removes the data directory at the end. ``settings`` are digests of the settings in force, by name.
    """

    data_dir: Path
    parts: tuple[Part, ...]
    env: Mapping[str, str] = field(repr=False)
    redis_url: str | None = field(default=None, repr=False)
    redis_port: int = 0
    strict: bool = False
    drain_seconds: float = 30.0
    owner: ProcessId | None = None
    temporary: bool = False
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    def to_json(self) -> str:
        """Return the spec as JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> StackSpec:
        """Rebuild a spec from what ``to_json`` returned."""
        raw: dict[str, Any] = json.loads(text)
        raw["data_dir"] = Path(raw["data_dir"])
        raw["parts"] = tuple(_part(row) for row in raw["parts"])
        raw["owner"] = ProcessId(**raw["owner"]) if raw["owner"] else None
        return cls(**raw)


def resolved(parts: Sequence[Part], *, server: Path | None, config: Path) -> tuple[Part, ...]:
    """Return the parts with real commands; without a server program the redis part is left out."""
    words = {PYTHON: sys.executable, SERVER: str(server), CONFIG: str(config)}
    return tuple(
        replace(part, argv=tuple(words.get(word, word) for word in part.argv))
        for part in parts
        if part.name != REDIS or server is not None
    )


def _part(row: dict[str, Any]) -> Part:
    return Part(**{**row, "argv": tuple(row["argv"]), "needs": tuple(row["needs"]), "ready": Ready(row["ready"])})
