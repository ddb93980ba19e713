"""Changing a pool that exists: its number of workers, and whether it takes and runs tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mahavishnu_pools import errors
from mahavishnu_pools.pools.factory import pool_type
from mahavishnu_pools.schemas.moving import DrainedPool
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.store.draining import drain_pool
from mahavishnu_pools.store.pool_changes import change_as_read
from mahavishnu_pools.store.pools import PoolRecord, change_pool, read_pools

if TYPE_CHECKING:
    from mahavishnu_pools.broker.watching import PoolWatch
    from mahavishnu_pools.settings import Settings
    from mahavishnu_pools.store.client import AsyncStore

#: Verb: the states it starts from, and the one it leads to.
_MOVES = {
    "pause": ((PoolStatus.RUNNING, PoolStatus.DEGRADED, PoolStatus.PAUSED), PoolStatus.PAUSED),
    "resume": ((PoolStatus.PAUSED, PoolStatus.DRAINING, PoolStatus.RUNNING), PoolStatus.RUNNING),
}

#: Seconds that groups may take beyond deadline and grace to hand back what they run.
HAND_BACK_EXTRA = 10.0

#: Outcomes of tasks that ran.
ENDED = ("completed", "failed", "timeout", "dead")


def rescaled(config: PoolConfig, target: int, *, max_workers: int | None) -> PoolConfig:
    """Return the configuration for a new number of workers.

    Raises:
        ScaleOutOfRange: the number is outside the limits.
        ScalingNotSupported: the pool's type has a fixed number of workers.
        InvalidField: the new limit is below the lower one.
    """
    if not pool_type(config.pool_type).scalable:
        raise errors.ScalingNotSupported(
            f"Pools of type {config.pool_type} have a fixed number of workers. Spawn more pools instead.",
            pool_type=config.pool_type,
        )
    most = config.max_workers if max_workers is None else max_workers
    if not config.min_workers <= most <= 1000:
        problem = f"{most} is not between the pool's minimum ({config.min_workers}) and 1000"
        raise errors.InvalidField.of("max_workers", problem, "Choose another limit.")
    if not config.min_workers <= target <= most:
        raise errors.ScaleOutOfRange.of(target, config.min_workers, most)
    return config.model_copy(update={"max_workers": most})


class Changer:
    """Changes pools."""

    def __init__(self, store: AsyncStore, watch: PoolWatch, settings: Settings) -> None:
        self._store = store
        self._watch = watch
        self._settings = settings

    async def scale(self, pool: PoolRecord, target: int, *, max_workers: int | None) -> PoolRecord:
        """Have ``target`` workers, and return the pool when its groups report them or the spawn timeout has passed.

        Raises:
            ScaleOutOfRange, ScalingNotSupported, InvalidField: see ``rescaled``.
            Unavailable: where its workers are does not answer; nothing was changed.
        """
        config = await self._rescale(pool, target, max_workers=max_workers)

        async def look() -> PoolRecord | None:
            now = await self._read(pool)
            if config.is_deployment:
                return now if now.ready_workers == now.workers and _reached(config, now.workers, target) else None
            # What is paused or not up yet reports nothing; another scaling may have overtaken this one.
            settled = now.status is not PoolStatus.RUNNING or now.workers != target
            return now if settled or now.ready_workers == target else None

        return await self._watch.until(look, within=self._settings.spawn_timeout) or await self._read(pool)

    async def _rescale(self, pool: PoolRecord, target: int, *, max_workers: int | None) -> PoolConfig:
        while True:
            config = rescaled(pool.config, target, max_workers=max_workers)
            outside = pool_type(config.pool_type).outside(config, self._settings)
            if outside is not None:
                await outside.scale(pool.pool_id, config, workers=target)
            # The Pods of a deployment say themselves how many workers there are.
            changes: dict[str, Any] = {} if config.is_deployment else {"workers": target}
            if config != pool.config:
                changes["config"] = config.model_dump_json()
            if not changes or await self._store.run(change_as_read(pool, changes)):
                return config
            pool = await self._read(pool)

    async def move(self, pool: PoolRecord, verb: str) -> PoolRecord:
        """Pause or resume a pool.

        Raises:
            InvalidField: its status does not allow that.
        """
        before, after = _MOVES[verb]
        reason = {"pause": "it was paused"}.get(verb, "")
        changes = {"status": after, "reason": reason, "drain_until": "", "works_off": ""}
        await self._store.run(change_pool(pool.pool_id, only_if=before, **changes))
        return await self._read(pool)

    async def drain(self, pool: PoolRecord, *, seconds: float | None) -> DrainedPool:
        """Drain a pool. With ``seconds`` wait until what runs has ended, or was handed back after that time.

        Raises:
            InvalidField: its status does not allow that.
        """
        await self._store.run(drain_pool(pool.pool_id, reason="it is drained", seconds=seconds))
        now = await self._read(pool)
        if seconds is not None:

            async def look() -> PoolRecord | None:
                found = await self._read(pool)
                return None if found.running else found

            limit = seconds + self._settings.kill_grace + HAND_BACK_EXTRA
            now = await self._watch.until(look, within=limit) or await self._read(pool)
        ended = sum(now.counts[name] - pool.counts[name] for name in ENDED)
        handed_back = max(0, pool.running - now.running - ended)
        return DrainedPool(**now.info().model_dump(), ended=ended, handed_back=handed_back)

    async def _read(self, pool: PoolRecord) -> PoolRecord:
        return (await self._store.run(read_pools(pool.pool_id))).one(pool.config.name)


def _reached(config: PoolConfig, workers: int, target: int) -> bool:
    """Tell whether a deployment has what was asked for: at least that where the cluster's autoscaler may have more."""
    # Late: most pools are no affair of Kubernetes.
    from mahavishnu_pools.kube.scaling import scales

    return workers >= target if scales(config) else workers == target
