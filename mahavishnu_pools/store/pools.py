"""Calls about pools and nodes: register, read, change, remove; heartbeats and who runs what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.pool import PoolConfig, PoolInfo, PoolStatus
from mahavishnu_pools.store.calls import Argument, Call, pairs

#: Waiting tasks ended in one call while a pool is emptied.
EMPTY_CHUNK = 200


class GroupInfo(Value):
    """One worker group as its agent reports it. ``status`` is starting, ready, stopping or failed (then ``reason``)."""

    node: str
    status: str
    workers: int
    pid: int | None = None
    reason: str | None = None
    worker_type: str | None = None
    warning: str | None = None
    memory_mb: float | None = None
    cpu_percent: float | None = None
    restarts: int = 0
    generation: str = ""


class NodeInfo(Value):
    """One node as its agent reports it; ``programs`` are the worker types whose program was found there and works.

    ``unusable`` says of the others whose program is there why it does not, ``logged_out`` what those said that nobody
    has logged in to. ``callables`` are the functions its workers may call and find the module of (None: it does not
    say). ``only_pool`` is the name of the one pool it runs, None: any that fits. ``resources`` are its amounts of what
    tasks may need, ``devices`` the numbers of those that are handed out one by one, ``in_use`` what tasks have of it
    (the store knows, agents do not say it). ``patience``: how long a task that waits for much may be overtaken (s).
    """

    name: str
    pid: int
    started: float
    region: str = "default"
    tags: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    unusable: dict[str, str] = Field(default_factory=dict)
    logged_out: dict[str, str] = Field(default_factory=dict)
    callables: tuple[str, ...] | None = None
    only_pool: str | None = None
    alive: bool = True
    resources: dict[str, float] = Field(default_factory=dict)
    devices: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    in_use: dict[str, float] = Field(default_factory=dict)
    patience: float = 30.0

    @property
    def free(self) -> dict[str, float]:
        """Return what is not in use of its resources."""
        return {name: max(0.0, amount - self.in_use.get(name, 0.0)) for name, amount in self.resources.items()}


@dataclass(frozen=True, slots=True)
class PoolRecord:
    """A pool as stored: configuration, wanted workers, status, who runs it, figures.

    ``task_types`` are those its workers registered beside the built-in ones: name to the JSON schema of the payload.
    ``celery_tasks`` are the Celery tasks its workers have loaded, None before they reported. ``suspects`` are those of
    the ``queued`` tasks that may have killed their worker group and wait to run alone. ``works_off`` is True while it
    is drained and still starts what waits. ``scaled_because`` is why the autoscaler last changed its workers.
    ``generation`` changes with a restart: groups of another are replaced. ``revision`` counts changes of ``config``.
    """

    pool_id: str
    config: PoolConfig
    status: PoolStatus
    workers: int
    created: float
    reason: str | None
    assigned: tuple[str, ...]
    queued: int
    running: int
    groups: tuple[GroupInfo, ...]
    counts: Mapping[str, int]
    duration_sum: float = 0.0
    duration_count: int = 0
    task_types: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    celery_tasks: frozenset[str] | None = None
    suspects: int = 0
    works_off: bool = False
    scaled_because: str | None = None
    generation: str = ""
    revision: int = 0

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the nodes that run it or are to: those it is assigned to, or the Pods of its deployment."""
        return tuple(group.node for group in self.groups) if self.config.is_deployment else self.assigned

    @property
    def ready_workers(self) -> int:
        """Return the number of workers in groups that are ready."""
        return sum(group.workers for group in self.groups if group.status == "ready")

    @property
    def worker_type(self) -> str | None:
        """Return the worker type in use: the configured one, else what the group found installed."""
        return self.config.worker_type or next((g.worker_type for g in self.groups if g.worker_type), None)

    def info(self) -> PoolInfo:
        """Return what users see of the pool."""
        completed = self.counts.get("completed", 0)
        failed = sum(self.counts.get(name, 0) for name in ("failed", "timeout", "dead"))
        memory = [group.memory_mb for group in self.groups if group.memory_mb is not None]
        cpu = [group.cpu_percent for group in self.groups if group.cpu_percent is not None]
        warnings = [group.warning for group in self.groups if group.warning]
        return PoolInfo(
            pool_id=self.pool_id,
            name=self.config.name,
            pool_type=self.config.pool_type,
            status=self.status,
            reason=self.reason or (warnings[0] if warnings else None),
            workers=self.workers,
            min_workers=self.config.min_workers,
            max_workers=self.config.max_workers,
            region=self.config.region,
            worker_type=self.worker_type,
            tags=self.config.tags,
            nodes=self.nodes,
            replicas=self.config.replicas,
            allowed_roots=self.config.allowed_roots,
            isolation=self.config.isolation,
            imports=self.config.imports,
            celery_app=self.config.celery_app,
            kubernetes=self.config.cluster_place,
            queued=self.queued,
            running=self.running,
            tasks_completed=completed,
            tasks_failed=failed,
            avg_duration=self.duration_sum / self.duration_count if self.duration_count else None,
            success_rate=completed / (completed + failed) if completed + failed else None,
            memory_mb=sum(memory) if memory else None,
            cpu_percent=sum(cpu) if cpu else None,
            created_at=self.created,
        )


@dataclass(frozen=True, slots=True)
class Registry:
    """Pools at one version of the registry. ``gone`` are ids or names asked for that belonged to closed pools."""

    version: int
    pools: tuple[PoolRecord, ...]
    gone: frozenset[str] = field(default_factory=frozenset)

    def one(self, asked: str) -> PoolRecord:
        """Return the only pool read.

        Raises:
            PoolGone: it was closed.
            PoolNotFound: there is none of this id or name.
        """
        if self.pools:
            return self.pools[0]
        raise errors.PoolGone.of(asked) if self.gone else errors.PoolNotFound.of(asked)


def create_pool(pool_id: str, config: PoolConfig, *, prefer: str = "") -> Call[tuple[str, PoolConfig] | None]:
    """Register a pool; None when it is new, else the id and configuration of the pool that has the name."""

    def parse(reply: list[str]) -> tuple[str, PoolConfig] | None:
        return None if reply[0] == "created" else (reply[1], PoolConfig.model_validate_json(reply[2]))

    head = (pool_id, config.name, config.pool_type, config.model_dump_json())
    return Call("pool_create", (*head, config.min_workers, prefer), parse)


def read_pools(*which: str) -> Call[Registry]:
    """Read pools by id or name, or all in the order of their creation."""

    def parse(reply: list[Any]) -> Registry:
        found = [entry for entry in reply[1:] if entry[1]]
        gone = frozenset(entry[0] for entry in reply[1:] if not entry[1])
        return Registry(reply[0], tuple(_record(*entry) for entry in found), gone)

    return Call("pool_read", which, parse)


def registry_version() -> Call[int]:
    """Read the registry's version."""
    return Call("pool_version", (), int)


def change_pool(pool_id: str, *, only_if: Sequence[PoolStatus] = (), **fields: Argument) -> Call[None]:
    """Change stored fields of a pool (an empty text removes one), if its status is one of ``only_if`` (none: any).

    Raises:
        PoolNotFound: there is no such pool.
        InvalidField: the status is another one.
    """
    flat = [one for field in fields.items() for one in field]

    def parse(reply: list[str]) -> None:
        if reply[0] == "unknown":
            raise errors.PoolNotFound.of(pool_id)
        if reply[0] == "status":
            raise errors.InvalidField.of("pool", f"{pool_id} is {reply[1]}", f"This works for: {', '.join(only_if)}.")

    return Call("pool_set", (pool_id, ",".join(only_if), "", *flat), parse)


def empty_pool(pool_id: str, *, reason: str, result_ttl: float) -> Call[int]:
    """End waiting tasks of a pool as cancelled, ``EMPTY_CHUNK`` a call.

    Returns how many messages left the pool, also of tasks that had their outcome already; repeat until 0.
    """
    return Call("pool_empty", (pool_id, EMPTY_CHUNK, int(result_ttl * 1000), reason), lambda reply: int(reply[0]))


def remove_pool(pool_id: str) -> Call[tuple[int, int] | None]:
    """Remove a pool with all its keys; None when done, else (queued, leases) that are still there."""
    return Call("pool_remove", (pool_id,), lambda reply: (reply[1], reply[2]) if reply[0] == "busy" else None)


def reindex() -> Call[int]:
    """Write the load index anew from the truth; returns how many entries were wrong."""
    return Call("reindex", (), int)


def node_beat(node: NodeInfo, groups: Mapping[str, GroupInfo | None], *, ttl: float) -> Call[str]:
    """Say that a node lives for ``ttl`` more seconds, and what its groups are (None: this one is gone).

    The answer is the question of a check (see ``node_reports``), empty when nobody asks.
    """
    flat: list[Argument] = [node.name, node.model_dump_json(exclude={"in_use"}), int(ttl * 1000)]
    for pool_id, group in groups.items():
        flat.extend((pool_id, group.model_dump_json() if group else ""))
    return Call("node_beat", tuple(flat), str)


def node_leave(node: str) -> Call[bool]:
    """Take a node out; its pools are free for others at once."""
    return Call("node_leave", (node,), bool)


def node_of(about: str, *, used: str, alive: bool = True) -> NodeInfo:
    """Return a node as the store keeps it (JSON), with what is in use of it (JSON)."""
    found = NodeInfo.model_validate_json(about, extra="ignore")
    return found.model_copy(update={"alive": alive, "in_use": dict(json.loads(used))})


def list_nodes() -> Call[list[NodeInfo]]:
    """Read every known node."""

    def parse(reply: list[Any]) -> list[NodeInfo]:
        return [node_of(text, used=used, alive=bool(alive)) for _, text, alive, used in reply]

    return Call("node_list", (), parse)


def assign_node(pool_id: str, node: str, *, replicas: int, first: bool) -> Call[bool]:
    """Ask for a pool on a node; ``first`` says that no better node has to be waited for. True when it runs there."""
    return Call("node_assign", (pool_id, node, replicas, "1" if first else "0"), lambda reply: bool(reply[0]))


#: Statistics fields of the pool hash, without their ``n_``.
_COUNTS = ("completed", "failed", "timeout", "cancelled", "dead", "refused")


def _record(pool_id: str, flat: list[str], queued: int, running: int, groups: list[str], suspects: int) -> PoolRecord:
    h = pairs(flat)
    return PoolRecord(
        pool_id=pool_id,
        # A newer version may have written fields that this one does not know.
        config=PoolConfig.model_validate_json(h["config"], extra="ignore"),
        status=PoolStatus(h["status"]),
        workers=int(h["workers"]),
        created=float(h["created"]),
        reason=h.get("reason"),
        assigned=tuple(json.loads(h.get("assigned") or "[]")),
        queued=queued,
        running=running,
        groups=tuple(GroupInfo.model_validate_json(text, extra="ignore") for text in pairs(groups).values()),
        counts={name: int(h.get(f"n_{name}", 0)) for name in _COUNTS},
        duration_sum=float(h.get("duration_sum", 0)),
        duration_count=int(h.get("duration_count", 0)),
        task_types=json.loads(h.get("task_types") or "{}"),
        celery_tasks=frozenset(json.loads(h["celery_tasks"])) if "celery_tasks" in h else None,
        suspects=suspects,
        works_off=h.get("works_off") == "1",
        generation=h.get("generation", ""),
        revision=int(h.get("revision", 0)),
        scaled_because=h.get("scaled_because"),
    )
