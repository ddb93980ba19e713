"""What a manager does with pools."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from mahavishnu_pools import durations, errors
from mahavishnu_pools.manager.task_verbs import TaskVerbs
from mahavishnu_pools.pools.factory import pool_type as find_pool_type
from mahavishnu_pools.pools.interface import Pool
from mahavishnu_pools.pools.spawning import pool_config
from mahavishnu_pools.schemas.moving import ClosedPool, DrainedPool
from mahavishnu_pools.schemas.pool import ACTIVE_STATUSES, PoolConfig, PoolInfo
from mahavishnu_pools.store.pools import PoolRecord, read_pools

#: Pools closed at the same time by ``close_all``.
CLOSE_TOGETHER = 16


class PoolVerbs(TaskVerbs):
    """The verbs about pools."""

    async def spawn_pool(
        self, pool_type: str | None = None, config: PoolConfig | None = None, *, wait: bool = True, **fields: Any
    ) -> str:
        """Spawn a pool from a configuration or from its fields, and return its id.

        ``pool_type=None`` is the configuration's, else the default of the settings. ``wait=False`` returns before the
        workers are ready. A pool of this name with an equal configuration is returned as it is.

        Raises:
            InvalidField, UnknownChoice, PoolConflict, NoAgent, MissingProgram, PoolNotReady: see ``Spawner.spawn``.
        """
        wanted = pool_config(pool_type, config, fields, settings=self.settings)  # a slip is told without a stack, too
        parts = await self._connected()
        spawned = await parts.spawner.spawn(wanted, wait=wait)
        if spawned.new:
            self._spawned.add(spawned.pool_id)
        self._handle(spawned.pool_id, spawned.config)
        return spawned.pool_id

    async def get_pool(self, pool: str) -> Pool:
        """Return a handle of a pool, named by id or name.

        Raises:
            PoolNotFound, PoolGone: there is none.
        """
        record = await self._record(pool)
        return self._handle(record.pool_id, record.config)

    async def list_pools(self, *, active_only: bool = False, pool_type: str | None = None) -> list[PoolInfo]:
        """Return all pools in the order of their creation; ``active_only`` leaves out those that take no new tasks."""
        records = (await (await self._connected()).store.run(read_pools())).pools
        infos = (record.info() for record in records if pool_type in (None, record.config.pool_type))
        return [info for info in infos if not active_only or info.status in ACTIVE_STATUSES]

    async def pool_info(self, pool: str) -> PoolInfo:
        """Return what is seen of a pool; raises like ``get_pool``."""
        return (await self._record(pool)).info()

    async def scale_pool(self, pool: str, target: int, *, max_workers: int | None = None) -> PoolInfo:
        """Change a pool's number of workers and wait until they are there; ``max_workers`` changes the limit first.

        Raises:
            ScaleOutOfRange, ScalingNotSupported, InvalidField: the number cannot be.
        """
        record = await self._record(pool)
        return (await (await self._connected()).changer.scale(record, target, max_workers=max_workers)).info()

    async def pause_pool(self, pool: str) -> PoolInfo:
        """Start no more tasks of a pool; running ones go on, new ones wait."""
        return await self._move(pool, "pause")

    async def resume_pool(self, pool: str) -> PoolInfo:
        """Go on after a pause or a drain."""
        return await self._move(pool, "resume")

    async def drain_pool(self, pool: str, *, timeout: float | None = None) -> DrainedPool:  # noqa: ASYNC109 - public name
        """Take no new tasks for a pool and start none; running ones end.

        With ``timeout`` (seconds) wait for them; what runs longer is handed back and waits, and the attempt does not
        count. Tasks that wait stay in the pool: resume it, rebalance, or close it.

        Raises:
            InvalidField: the pool's status does not allow it.
        """
        seconds = durations.checked(timeout, name="timeout")
        record = await self._record(pool)
        return await (await self._connected()).changer.drain(record, seconds=seconds)

    async def close_pool(
        self,
        pool: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - public name
        tasks: Literal["cancel", "move", "drain", "refuse"] = "cancel",
        to: str | None = None,
    ) -> ClosedPool:
        """Close a pool and remove it; ``tasks`` says what becomes of those it has.

        ``cancel`` ends those that wait and gives running ones ``timeout`` seconds (None: the setting). ``move`` gives
        them to the other pools that can run them (``to``: to this one), running ones after ``timeout`` seconds.
        ``drain`` waits until all have run, at most ``timeout`` seconds (None: however long). ``refuse`` closes
        only a pool without tasks.

        Raises:
            PoolNotFound, PoolGone: there is none.
            PoolNotReady: its workers did not stop in time.
            PoolBusy, NoPoolAvailable, InvalidField, WaitTimeout: see ``Retiring``.
        """
        seconds = durations.checked(timeout, name="timeout")
        record = await self._record(pool)
        closed = await self._close(record, tasks, seconds, to)
        self._pools.pop(record.pool_id, None)
        self._spawned.discard(record.pool_id)
        return closed

    async def _close(self, record: PoolRecord, tasks: str, seconds: float | None, to: str | None) -> ClosedPool:
        parts = await self._connected()
        if to is not None and tasks != "move":
            raise errors.InvalidField.of("to", "is given, but tasks is not 'move'", "Give both, or neither.")
        if tasks == "move":
            target = None if to is None else await self._record(to)
            return await parts.retiring.moved(record, to=target, within=seconds)
        if tasks == "drain":
            return await parts.retiring.worked_off(record, within=seconds)
        if tasks == "refuse":
            return await parts.retiring.if_empty(record)
        if tasks != "cancel":
            raise errors.UnknownChoice.of("way to close a pool", tasks, ["cancel", "move", "drain", "refuse"])
        cancelled = await parts.closer.close(record.pool_id, drain=seconds)
        return ClosedPool(pool_id=record.pool_id, name=record.config.name, cancelled=cancelled)

    async def close_all(self, scope: Literal["own", "all"] = "own") -> list[str]:
        """Close the pools this manager spawned, or all there are, and return their ids."""
        registered = [record.pool_id for record in (await (await self._connected()).store.run(read_pools())).pools]
        chosen = [pool_id for pool_id in registered if scope == "all" or pool_id in self._spawned]
        slots = asyncio.Semaphore(CLOSE_TOGETHER)

        async def close(pool_id: str) -> None:
            async with slots:
                try:
                    await self.close_pool(pool_id)
                except errors.NotFound:
                    return  # somebody else closed it

        await asyncio.gather(*(close(pool_id) for pool_id in chosen))
        self._spawned.intersection_update(registered)
        return chosen

    async def _move(self, pool: str, verb: str) -> PoolInfo:
        record = await self._record(pool)
        return (await (await self._connected()).changer.move(record, verb)).info()

    def _handle(self, pool_id: str, config: PoolConfig) -> Pool:
        if pool_id not in self._pools:
            self._pools[pool_id] = find_pool_type(config.pool_type).handle(pool_id, config, self)
        return self._pools[pool_id]
