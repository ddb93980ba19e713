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

#: Stands in a command and in a URL for the port a part listens on.
PORT = "{port}"

#: What the embedded servers listen on.
LOOPBACK = "127.0.0.1"


class Ready(enum.StrEnum):
    """How one sees that a part is ready."""

    #: It answers PING.
    PING = "ping"
    #: It wrote its pid to ``run/<name>.ready`` in the data directory.
    FILE = "file"
    #: It lives for a moment.
    ALIVE = "alive"
    #: Its ``health`` path answers on its port.
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Choice:
    """When a part that is not needed by the others is started, and on which port.

    ``mode`` names the setting that says ``auto``, ``on`` or ``off``. ``url`` names the setting with the URL its clients
    use, or ``port`` the one with its port. Without ``packages`` (of the extra ``extra``) it is left out.
    """

    mode: str
    url: str | None = None
    port: str | None = None
    packages: tuple[str, ...] = ()
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the stack.

    ``needs`` names the parts that are ready before it is started. Parts are stopped by ascending ``stop_order``;
    ``stop_seconds`` is the time between TERM and KILL, for a part that ``drains`` beyond the drain timeout.

    A part with a ``choice`` may be left out, is started when all others are ready, and nobody waits for it. It listens
    on ``port`` (0: any free one); the other parts get its ``url`` in the variable ``told_as``.
    A ``page`` is for people: stacks that end with a program have none.
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
    choice: Choice | None = None
    port: int | None = None
    health: str = "/health"
    told_as: str | None = None
    page: bool = False

    @property
    def core(self) -> bool:
        """Tell whether the stack is of no use without the part."""
        return self.choice is None


@dataclass(frozen=True, slots=True)
class Absent:
    """A part that is shown but not started; ``external``: its URL answers already or is somebody else's business."""

    name: str
    external: bool
    url: str | None
    reason: str | None


def python_module(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module; the current directory is never imported from (``-P``)."""
    return (PYTHON, "-P", "-m", module, *arguments)


_MCP = ("mcp", "uvicorn", "starlette")

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
    Part(
        "session-buddy",
        python_module("mahavishnu_pools.cli.main", "session-buddy", "--port", PORT),
        ready=Ready.HTTP,
        url=f"http://{LOOPBACK}:{PORT}/mcp",
        told_as="MAHAVISHNU_SESSION_BUDDY_POOL_URL",
        choice=Choice("embedded_session_buddy", url="session_buddy_pool_url", packages=_MCP, extra="mcp"),
        stop_order=30,
        stop_seconds=17.0,
    ),
    Part(
        "akosha",
        python_module("mahavishnu_pools.cli.main", "akosha", "--port", PORT),
        ready=Ready.HTTP,
        url=f"http://{LOOPBACK}:{PORT}/mcp",
        told_as="MAHAVISHNU_AKOSHA_URL",
        choice=Choice("embedded_akosha", url="akosha_url", packages=_MCP, extra="mcp"),
        stop_order=31,
        stop_seconds=12.0,
    ),
    Part(
        "server",
        python_module("mahavishnu_pools.cli.main", "server", "--port", PORT),
        ready=Ready.HTTP,
        url=f"http://{LOOPBACK}:{PORT}/mcp",
        page=True,
        choice=Choice("server", port="server_port", packages=_MCP, extra="mcp"),
        stop_order=12,
        stop_seconds=15.0,
    ),
    Part(
        "flower",
        python_module("mahavishnu_pools.cli.main", "flower", "--port", PORT),
        ready=Ready.HTTP,
        url=f"http://{LOOPBACK}:{PORT}/",
        health="/healthcheck",
        page=True,
        choice=Choice("flower", port="flower_port", packages=("flower",)),
        stop_order=15,
    ),
)

#: What every stack has.
CORE: tuple[Part, ...] = tuple(part for part in PARTS if part.core)

#: What the stack of a program has.
PAGELESS: tuple[Part, ...] = tuple(part for part in PARTS if not part.page)


@dataclass(frozen=True, slots=True)
class StackSpec:
    """All the supervisor needs to know; handed over as JSON on its standard input because it holds secrets.

    ``redis_url`` is None for the embedded server. ``owner`` is the process the stack ends with, None: it stays.
    ``temporary`` removes the data directory at the end. ``settings`` are digests of the settings in force, by name.
    ``absent`` are the parts that are only shown.
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
    absent: tuple[Absent, ...] = ()

    def to_json(self) -> str:
        """Return the spec as JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> StackSpec:
        """Rebuild a spec from what ``to_json`` returned."""
        raw: dict[str, Any] = json.loads(text)
        raw["data_dir"] = Path(raw["data_dir"])
        raw["parts"] = tuple(_part(row) for row in raw["parts"])
        raw["absent"] = tuple(Absent(**row) for row in raw["absent"])
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
    choice = row["choice"] and Choice(**{**row["choice"], "packages": tuple(row["choice"]["packages"])})
    read = {"argv": tuple(row["argv"]), "needs": tuple(row["needs"]), "ready": Ready(row["ready"]), "choice": choice}
    return Part(**{**row, **read})
