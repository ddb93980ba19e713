"""Who this node is: its name, what it has, and the worker type a pool gets here."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from mahavishnu_pools import errors, names, worker_types
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import keys
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.node_names import claim_name
from mahavishnu_pools.store.pools import NodeInfo, list_nodes

from .resources import look_for_equipment
from .trees import same_process

#: Names tried with a suffix before giving up.
_MOST_SUFFIXES = 100


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """This agent's first process. ``agent_id`` stays the same over its lives; ``previous_pid`` was the last life's."""

    pid: int
    started: float
    agent_id: str
    previous_pid: int | None = None


def agent_id_of(settings: Settings) -> str:
    """Return a name for the agent of this data directory and namespace that marks its processes over its lives."""
    text = f"{os.path.abspath(settings.data_dir)}\n{settings.namespace}"
    return hashlib.blake2s(text.encode(), digest_size=8).hexdigest()


def read_ready_file(settings: Settings) -> int | None:
    """Return the pid that the last agent of this data directory left, if any."""
    try:
        return int(ready_file(settings).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def ready_file(settings: Settings) -> Path:
    """Return the file that says that the agent is ready, with the pid of its first process."""
    return settings.data_dir / "run" / "agent.ready"


async def choose_name(store: AsyncStore, settings: Settings, me: AgentIdentity) -> str:
    """Return the name for this node: the configured one, else the host's, with a suffix when another agent has it.

    Raises:
        InvalidField: another living agent has the configured name.
    """
    base = settings.node_name or names.default_node_name()
    for number in range(1, _MOST_SUFFIXES):
        candidate = base if number == 1 else f"{base}-{number}"
        if not await _is_taken(store, candidate, settings, me) and await store.run(claim_name(candidate, me.agent_id)):
            return candidate
        if settings.node_name:
            break
    raise errors.InvalidField.of(
        "node_name", f"another agent is running as {base!r}", "Give this one another name in MAHAVISHNU_NODE_NAME."
    )


async def _is_taken(store: AsyncStore, name: str, settings: Settings, me: AgentIdentity) -> bool:
    other = next((node for node in await store.run(list_nodes()) if node.name == name), None)
    if other is None or not other.alive or _is_me(other, me):
        return False
    if same_process(other.pid, other.started) is not None:
        return True
    if other.pid == me.previous_pid:
        return False
    return await _still_beats(store, name, seconds=2 * settings.node_heartbeat + 0.5)


def _is_me(other: NodeInfo, me: AgentIdentity) -> bool:
    return other.pid == me.pid and abs(other.started - me.started) < 2.0


async def _still_beats(store: AsyncStore, name: str, *, seconds: float) -> bool:
    """Tell whether a node of which no process is known here refreshes its key: it lives on another machine."""
    key = keys.key("node", prefix=store.prefix, of=name)
    deadline = time.monotonic() + seconds
    try:
        before = await store.redis.pttl(key)
        while before > 0 and time.monotonic() < deadline:
            await asyncio.sleep(min(0.1, seconds / 10))
            now = await store.redis.pttl(key)
            if now > before:
                return True
            before = now
    except (RedisError, OSError) as exc:
        raise errors.RedisUnavailable(f"Redis does not answer: {exc}. Start it.") from exc
    return False


class NodeFacts:
    """What this node has; programs are looked for again at every ``info``, because users install them meanwhile."""

    def __init__(self, settings: Settings, name: str, me: AgentIdentity) -> None:
        self.name = name
        self._settings = settings
        self._me = me
        self._types = worker_types.load_worker_types(settings.worker_types_file)
        self._equipment = look_for_equipment(settings)
        #: Why worker types cannot be used although their program is here.
        self.unusable: Mapping[str, str] = {}
        #: What the programs of worker types said that are not logged in here.
        self.logged_out: Mapping[str, str] = {}

    def info(self) -> NodeInfo:
        """Return the node as it is announced."""
        return NodeInfo(
            name=self.name,
            pid=self._me.pid,
            started=self._me.started,
            region=self._settings.node_region,
            tags=self._settings.node_tags,
            only_pool=self._settings.only_pool,
            programs=tuple(name for name, kind in self._types.items() if self._can_use(name, kind)),
            unusable=dict(self.unusable),
            logged_out=dict(self.logged_out),
            callables=tuple(one for one in self._settings.python_callables if _is_installed(one)),
            resources=dict(self._equipment.resources),
            devices=dict(self._equipment.devices),
            patience=self._settings.resource_patience,
        )

    def _can_use(self, name: str, kind: worker_types.WorkerType) -> bool:
        return name not in self.unusable and worker_types.find_program(kind) is not None

    def worker_types(self) -> tuple[worker_types.WorkerType, ...]:
        """Return every worker type this node knows."""
        return tuple(self._types.values())

    def worker_type(self, config: PoolConfig) -> str | None:
        """Return the worker type of a pool here: its own, the configured default, the first installed, or None.

        A pool that delegates has none: what runs its prompts is its server's affair. The programs of one of Jobs are
        those of its image, so what is installed here does not count: it has qwen.
        """
        if config.delegates:
            return None
        named = config.worker_type or self._settings.default_worker_type
        if config.runs_jobs:
            return named or worker_types.DEFAULT_ORDER[0]
        return named or worker_types.default_worker_type(known=self._types)

    def warning(self, config: PoolConfig) -> str | None:
        """Return what people should know about a group of a pool here, if anything."""
        worker_type = self.worker_type(config)
        if config.runs_elsewhere:
            return None
        if worker_type is None:
            return worker_types.no_ai_program(known=self._types).message
        kind = self._types.get(worker_type)
        if kind is None:
            return f"The worker type {worker_type!r} is not known on node {self.name!r}."
        if worker_types.find_program(kind) is None:
            return f"The program {kind.needs!r} of worker type {worker_type!r} is not on PATH on node {self.name!r}."
        if worker_type in self.unusable:
            return f"Worker type {worker_type!r} cannot be used on node {self.name!r}: {self.unusable[worker_type]}"
        if worker_type in self.logged_out:
            return f"No prompt starts on node {self.name!r}: {self.logged_out[worker_type]}"
        return None

    def allowed_roots(self, config: PoolConfig) -> tuple[str, ...]:
        """Return where tasks of a pool may run: its own roots, the configured ones, or where the agent was started."""
        if config.allowed_roots is not None:
            return config.allowed_roots
        return tuple(str(root) for root in self._settings.allowed_roots) or (os.getcwd(),)


def _is_installed(reference: str) -> bool:
    """Tell whether the module of ``module:function`` can be found, without importing anything of users."""
    package = reference.partition(":")[0].partition(".")[0]
    try:
        return package in sys.modules or importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
