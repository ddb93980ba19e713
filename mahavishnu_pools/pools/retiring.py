"""Closing a pool that has tasks, as asked: not at all, after they have run, or with other pools taking them over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.pools.closing import STOP_EXTRA, Closer
from mahavishnu_pools.routing.moving import evacuate, unfit
from mahavishnu_pools.schemas.moving import ClosedPool, TaskMove
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store.draining import drain_pool, end_pool
from mahavishnu_pools.store.steps import run_steps

if TYPE_CHECKING:
    from mahavishnu_pools.broker.watching import PoolWatch
    from mahavishnu_pools.routing.chooser import Chooser
    from mahavishnu_pools.routing.eligibility import View
    from mahavishnu_pools.settings import Settings
    from mahavishnu_pools.store.client import AsyncStore
    from mahavishnu_pools.store.pools import PoolRecord

#: What a pool that is being closed says of itself.
_REASON = "it is being closed"

#: A pool that was named as the one to move tasks to must be in one of these states.
_TAKES = frozenset({PoolStatus.INITIALIZING, PoolStatus.RUNNING, PoolStatus.DEGRADED, PoolStatus.PAUSED})


class Retiring:
    """Closes pools without cancelling anything."""

    def __init__(
        self, store: AsyncStore, watch: PoolWatch, closer: Closer, chooser: Chooser, settings: Settings
    ) -> None:
        self._store = store
        self._watch = watch
        self._closer = closer
        self._chooser = chooser
        self._settings = settings

    async def if_empty(self, pool: PoolRecord) -> ClosedPool:
        """Close a pool that has no task.

        Raises:
            PoolBusy: it has some.
        """
        busy = await self._store.run(end_pool(pool.pool_id, reason=_REASON))
        if busy is not None:
            raise errors.PoolBusy.of(pool.config.name, *busy)
        return await self._close(pool, ())

    async def worked_off(self, pool: PoolRecord, *, within: float | None) -> ClosedPool:
        """Take no new tasks, work off those there are, then close; ``within`` is in seconds, None: however long.

        Raises:
            WaitTimeout: some are left. What ran was handed back; the pool stays drained.
        """
        await self._store.run(drain_pool(pool.pool_id, reason=_REASON, seconds=within, work_off=True))
        limit = float("inf") if within is None else within
        deadline = time.monotonic() + limit

        async def look() -> bool | None:
            await self._closer.take_back(pool.pool_id)
            busy = await self._store.run(end_pool(pool.pool_id, reason=_REASON))
            if busy is None:
                return True
            # In the end what still runs is handed back; then there is nothing more to wait for.
            return False if time.monotonic() > deadline and busy[1] == 0 else None

        if not await self._watch.until(look, within=limit + self._settings.kill_grace + STOP_EXTRA):
            raise await self._not_in_time(pool, limit)
        return await self._close(pool, ())

    async def moved(self, pool: PoolRecord, *, to: PoolRecord | None, within: float | None) -> ClosedPool:
        """Move what waits to other pools (``to``: to this one), then close.

        Running tasks may go on for ``within`` seconds (None: the setting); then they are handed back and move, too.

        Raises:
            NoPoolAvailable: some task no other pool can run; nothing was changed.
            InvalidField: the pool to move to is this one, or takes no tasks.
            WaitTimeout: some tasks can neither be ended nor moved; the pool stays drained.
        """
        _check_target(pool, to)
        seconds = self._settings.drain_timeout if within is None else within
        moves = [*await self._evacuate(pool, to)]
        await self._store.run(drain_pool(pool.pool_id, reason=_REASON, seconds=seconds))

        async def look() -> bool | None:
            await self._closer.take_back(pool.pool_id)
            moves.extend(await self._evacuate(pool, to))
            return None if await self._store.run(end_pool(pool.pool_id, reason=_REASON)) else True

        limit = seconds + self._settings.kill_grace + STOP_EXTRA
        if await self._watch.until(look, within=limit) is None:
            raise await self._not_in_time(pool, limit)
        return await self._close(pool, tuple(moves))

    async def _evacuate(self, pool: PoolRecord, to: PoolRecord | None) -> tuple[TaskMove, ...]:
        view: View = await run_steps(self._store, self._chooser.view(fresh=True))
        now = view.find(pool.pool_id)
        if now is None:
            raise errors.PoolGone.of(pool.config.name)
        others = [one for one in view.pools if one.pool_id != pool.pool_id]
        if to is None:
            targets = [one for one in others if unfit(one) is None]
        else:
            targets = [one for one in others if one.pool_id == to.pool_id]
        return await run_steps(self._store, evacuate(view, now, targets))

    async def _close(self, pool: PoolRecord, moves: tuple[TaskMove, ...]) -> ClosedPool:
        await self._closer.close(pool.pool_id)
        return ClosedPool(pool_id=pool.pool_id, name=pool.config.name, moves=_together(moves))

    async def _not_in_time(self, pool: PoolRecord, limit: float) -> errors.WaitTimeout:
        left = await self._store.run(end_pool(pool.pool_id, reason=_REASON)) or (0, 0)
        return errors.WaitTimeout(
            f"Pool {pool.config.name!r} still has {left[0]} queued and {left[1]} running tasks after {limit:g} s. "
            "It takes no new tasks and starts none. Close it again (--move, --drain or --cancel), or resume it.",
            pool=pool.config.name,
            queued=left[0],
            running=left[1],
        )


def _check_target(pool: PoolRecord, to: PoolRecord | None) -> None:
    if to is None:
        return
    if to.pool_id == pool.pool_id:
        raise errors.InvalidField.of("to", "is the pool that is closed", "Name another pool.")
    if to.status not in _TAKES:
        raise errors.InvalidField.of(
            "to", f"{to.config.name!r} is {to.status} and takes no tasks", "Name another pool."
        )


def _together(moves: tuple[TaskMove, ...]) -> tuple[TaskMove, ...]:
    """Return moves that several rounds made as one each."""
    found: dict[tuple[str, str, int | None], TaskMove] = {}
    for one in moves:
        key = (one.target, one.waiting, one.priority)
        known = found.get(key)
        found[key] = one if known is None else one.model_copy(update={"tasks": known.tasks + one.tasks})
    return tuple(found.values())
