"""Spawning a pool: check what can be checked first, register, wait until its workers are ready, or undo."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import errors, names, worker_types
from mahavishnu_pools.pools import usable
from mahavishnu_pools.pools.closing import Closer
from mahavishnu_pools.pools.factory import pool_type
from mahavishnu_pools.pools.placement import fitting, misfit
from mahavishnu_pools.routing.task_input import build
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig, gathered
from mahavishnu_pools.schemas.pool import FIXED_WORKERS, KUBERNETES, PoolConfig, PoolStatus
from mahavishnu_pools.store.pools import NodeInfo, PoolRecord, create_pool, list_nodes, read_pools

if TYPE_CHECKING:
    from mahavishnu_pools.broker.watching import PoolWatch
    from mahavishnu_pools.pools.interface import Outside
    from mahavishnu_pools.settings import Settings
    from mahavishnu_pools.store.client import AsyncStore

logger = logging.getLogger(__name__)

#: Where the configuration has what is said of Kubernetes.
_INSIDE = f"{KUBERNETES}."

#: How often it is looked whether a pool's outside is in trouble, while its workers are waited for, in seconds.
LOOK_OUTSIDE = 5.0

#: Why a pool is closed again whose spawning failed or was interrupted.
_UNDONE = "its workers did not come up"

#: A pool in one of these states has come up, or tried to.
_UP = frozenset({PoolStatus.RUNNING, PoolStatus.DEGRADED, PoolStatus.PAUSED})

#: A pool in one of these states will not come up any more.
_DOWN = frozenset({PoolStatus.DRAINING, PoolStatus.STOPPED, PoolStatus.FAILED})


@dataclass(frozen=True, slots=True)
class Spawned:
    """A pool that is there now; ``new`` is False when it had been there with the same configuration."""

    pool_id: str
    config: PoolConfig
    new: bool


def pool_config(
    kind: str | None, config: PoolConfig | None, fields: Mapping[str, Any], *, settings: Settings
) -> PoolConfig:
    """Return the configuration of a pool to spawn, made of what the caller gave and the settings' defaults.

    Raises:
        InvalidField: a field is unknown or has a value that cannot be used.
        UnknownChoice: there is no such pool type.
    """
    asked = _asked_for(kind, config, fields, settings=settings)
    pool_type(asked.pool_type)
    if asked.worker_type is not None or asked.pool_type != "mahavishnu" or settings.default_worker_type is None:
        return asked
    return asked.model_copy(update={"worker_type": settings.default_worker_type})


def _asked_for(kind: object, config: object, fields: Mapping[str, Any], *, settings: Settings) -> PoolConfig:
    if not isinstance(kind, str | None):
        given, remedy = type(kind).__name__, "Give the name of a pool type first, and a PoolConfig as config=…"
        raise errors.InvalidField.of("pool_type", f"is a {given}", remedy)
    if kind is not None:
        pool_type(kind)  # before anything else is found wrong for want of it
    if config is None:
        defaults: dict[str, Any] = {"pool_type": kind or settings.default_pool_type}
        if defaults["pool_type"] not in FIXED_WORKERS:
            defaults["min_workers"] = settings.pool_default_min_workers
            defaults["max_workers"] = settings.pool_default_max_workers
        return _built({**defaults, **fields})
    if not isinstance(config, PoolConfig):
        given = type(config).__name__
        raise errors.InvalidField.of("config", f"is a {given}", "Give a PoolConfig, or its fields by name.")
    if kind not in (None, config.pool_type):
        raise errors.InvalidField.of(
            "pool_type", f"is {kind!r}, but the configuration says {config.pool_type!r}", "Give the type once."
        )
    return _built({**config.model_dump(), **fields}) if fields else config


def _built(fields: Mapping[str, Any]) -> PoolConfig:
    if fields["pool_type"] != KUBERNETES:
        return build(PoolConfig, fields)
    try:
        given = gathered(fields, others=frozenset(PoolConfig.model_fields))
        return build(PoolConfig, given, also=KubernetesConfig.model_fields)
    except ValueError as exc:
        raise errors.InvalidField(f"{exc}. Correct it and try again.", field=None) from exc
    except errors.InvalidField as exc:
        # Named as the caller gave it: that these fields are kept together is no affair of theirs.
        field = exc.details()["field"]
        inner = None if field == KUBERNETES else field and field.removeprefix(_INSIDE)
        text = exc.message.removeprefix(_INSIDE).removeprefix(f"{KUBERNETES}: ")
        raise errors.InvalidField(text, field=inner) from exc


def differences(wanted: PoolConfig, existing: PoolConfig) -> list[str]:
    """Return the names of the fields in which two configurations differ."""
    return [name for name in PoolConfig.model_fields if getattr(wanted, name) != getattr(existing, name)]


class Spawner:
    """Spawns pools."""

    def __init__(self, store: AsyncStore, watch: PoolWatch, closer: Closer, settings: Settings) -> None:
        self._store = store
        self._watch = watch
        self._closer = closer
        self._settings = settings

    async def spawn(self, config: PoolConfig, *, wait: bool) -> Spawned:
        """Register a pool and, with ``wait``, wait until its workers are ready.

        Raises:
            UnknownChoice: there is no such pool type or worker type.
            InvalidField: the type's own rules refuse the configuration, or it could run nothing.
            PoolConflict: a pool of this name exists with another configuration.
            NoAgent: no node can run the pool, or that of this machine does not know its worker type.
            MissingProgram: the program of the worker type is missing on this machine, where the pool would run.
            InvalidConfig: a module cannot be loaded where the workers run; nothing is left of the pool.
            PoolNotReady: the workers did not come up in time; nothing is left of the pool.
        """
        config = _pinned(config)
        kind = pool_type(config.pool_type)
        kind.check(config)
        usable.check_config(config, kinds=self._known_types())
        outside = kind.outside(config, self._settings)
        spawned = await self._existing(config)
        if spawned is None and outside is not None:
            await outside.check(config)
        spawned = spawned or await self._create(config)
        async with self._undone(spawned):
            if outside is not None:
                await outside.make(spawned.pool_id, spawned.config)
            if wait:
                await self._until_up(spawned.pool_id, spawned.config.name, outside)
        return spawned

    async def _existing(self, config: PoolConfig) -> Spawned | None:
        registry = await self._store.run(read_pools(config.name))
        pool = registry.pools[0] if registry.pools else None
        return _same(config, pool.pool_id, pool.config) if pool else None

    async def _create(self, config: PoolConfig) -> Spawned:
        here = self._settings.node_name or names.default_node_name()
        nodes = await self._store.run(list_nodes())
        self._check_worker_type(config, nodes)
        if not config.is_deployment:  # whose nodes come with it
            self._check_nodes(config, nodes, here)
        pool_id = names.new_pool_id()
        found = await self._register(pool_id, config, prefer=here)
        # A reply that got lost is answered by asking again, and then this call's own pool is found.
        if found is not None and found[0] != pool_id:
            return _same(config, *found)
        logger.info("Spawned pool %s", config.name, extra={"action": "spawn", "pool_id": pool_id})
        return Spawned(pool_id, config, new=True)

    async def _register(self, pool_id: str, config: PoolConfig, *, prefer: str) -> tuple[str, PoolConfig] | None:
        making = asyncio.ensure_future(self._store.run(create_pool(pool_id, config, prefer=prefer)))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            # Only the answer that is on its way tells whether there is a pool now.
            await asyncio.shield(self._take_back(pool_id, making))
            raise

    async def _take_back(self, pool_id: str, making: asyncio.Future[tuple[str, PoolConfig] | None]) -> None:
        found = await making
        if found is None or found[0] == pool_id:
            await self._closer.close(pool_id, drain=0.0, reason=_UNDONE)

    def _check_nodes(self, config: PoolConfig, nodes: Sequence[NodeInfo], here: str) -> None:
        try:
            fits = fitting(config, nodes)
        except errors.NoAgent:
            self._refuse_missing_program(config, nodes, here)
            raise
        usable.check_placement(config, fits, here=here)

    def _known_types(self) -> Mapping[str, worker_types.WorkerType]:
        return worker_types.load_worker_types(self._settings.worker_types_file)

    def _check_worker_type(self, config: PoolConfig, nodes: Sequence[NodeInfo]) -> None:
        if config.worker_type is None or any(config.worker_type in node.programs for node in nodes):
            return
        worker_types.get_worker_type(config.worker_type, known=self._known_types())

    def _refuse_missing_program(self, config: PoolConfig, nodes: Sequence[NodeInfo], here: str) -> None:
        local = next((node for node in nodes if node.name == here and node.alive), None)
        if config.worker_type is None or local is None:
            return
        if misfit(config.model_copy(update={"worker_type": None}), local) is None:
            kind = self._known_types()[config.worker_type]
            worker_types.require_program(kind)
            if config.worker_type in local.unusable:
                return
            raise usable.unknown_to_agent(kind, node=here)

    @asynccontextmanager
    async def _undone(self, spawned: Spawned) -> AsyncIterator[None]:
        """Close a pool that was not there before when something fails."""
        try:
            yield
        except BaseException:
            # Nothing half-made stays behind, also when the caller is interrupted.
            if spawned.new:
                undo = self._closer.close(spawned.pool_id, drain=0.0, reason=_UNDONE)
                await asyncio.shield(undo)
            raise

    async def _until_up(self, pool_id: str, name: str, outside: Outside | None) -> None:
        last: PoolRecord | None = None

        async def look() -> PoolRecord | None:
            nonlocal last
            last = (await self._store.run(read_pools(pool_id))).one(name)
            return last if last.status in _UP | _DOWN else None

        timeout = max(self._settings.spawn_timeout, outside.start_timeout if outside else 0.0)
        deadline, trouble = time.monotonic() + timeout, None
        while True:
            left = max(0.0, deadline - time.monotonic())
            found = await self._watch.until(look, within=left if outside is None else min(left, LOOK_OUTSIDE))
            if found is not None and _is_up(found):
                return
            before, trouble = trouble, await outside.trouble(pool_id, last.config) if outside and last else None
            # Twice the same: what is tried again over there may succeed.
            hopeless = trouble is not None and trouble.lasting and trouble == before
            if found is not None or hopeless or time.monotonic() >= deadline:
                break
        said = trouble.text if trouble else None
        raise usable.not_up(
            found or last, name=name, failed=found is not None or hopeless, seconds=timeout, trouble=said
        )


def _pinned(config: PoolConfig) -> PoolConfig:
    """Return a configuration that means the same cluster wherever and whenever it is read."""
    if config.kubernetes is None:
        return config
    # Late: most pools have no cluster.
    from mahavishnu_pools.kube.connection import pinned

    return config.model_copy(update={"kubernetes": pinned(config.kubernetes)})


def _is_up(pool: PoolRecord) -> bool:
    """Tell whether a pool came up; a degraded one did only if some group of it is ready."""
    return pool.status in _UP and (pool.status is not PoolStatus.DEGRADED or pool.ready_workers > 0)


def _same(wanted: PoolConfig, pool_id: str, existing: PoolConfig) -> Spawned:
    differ = differences(wanted, existing)
    if differ:
        raise errors.PoolConflict.of(wanted.name, differ)
    return Spawned(pool_id, existing, new=False)
