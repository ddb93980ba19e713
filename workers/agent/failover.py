"""Takes over the queues of dead pools: those with fail-over that nobody has run for a while.

A pool whose node is lost moves to another node that fits. Only when there is none, or its group cannot be kept, do its
waiting tasks go to healthy pools of its kind. Every agent watches; the one that gets the turn moves the tasks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from mahavishnu_pools import errors, worker_types
from mahavishnu_pools.routing.eligibility import View
from mahavishnu_pools.routing.moving import evacuate, is_dead, same_kind, unfit
from mahavishnu_pools.schemas.moving import TaskMove, total
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store.moves import take_turn
from mahavishnu_pools.store.pools import PoolRecord, change_pool, list_nodes, read_pools
from mahavishnu_pools.store.steps import run_steps

from .context import AgentContext
from .silence import SilenceWatch

logger = logging.getLogger(__name__)

#: Seconds for which one agent has the turn; then tasks that came meanwhile are looked at again.
TURN_SECONDS = 5.0

#: A pool in one of these states ought to work. One that is paused or drained waits for people.
_OUGHT_TO_WORK = frozenset({PoolStatus.RUNNING, PoolStatus.DEGRADED, PoolStatus.FAILED})


class Failover:
    """One ``look`` is one poll; it is repeated at most a second apart. ``records`` gives the pools known here."""

    def __init__(self, context: AgentContext, records: Callable[[], Iterable[PoolRecord]]) -> None:
        self._context = context
        self._records = records
        self._watch = SilenceWatch(context.settings.failover_after)
        self._types = worker_types.load_worker_types(context.settings.worker_types_file)
        self._in_vain: set[str] = set()

    async def look(self) -> None:
        """Look at the pools with fail-over, and take over the queues of those that have been dead long enough.

        Raises:
            RedisUnavailable: Redis did not answer; every count begins anew.
        """
        watched = [record.pool_id for record in self._records() if record.config.failover]
        if not watched:
            return
        asked = time.monotonic()
        try:
            registry = await self._context.store.run(read_pools(*watched))
        except errors.RedisUnavailable:
            self._watch.failed()
            raise
        dead = {one.pool_id: one for one in registry.pools if one.status in _OUGHT_TO_WORK and is_dead(one)}
        self._in_vain &= dead.keys()
        for pool_id in self._watch.poll(dead, asked=asked, answered=time.monotonic()):
            if dead[pool_id].queued:
                await self._take_over(dead[pool_id])

    async def _take_over(self, pool: PoolRecord) -> None:
        run, node = self._context.store.run, self._context.facts.name
        if not await run(take_turn(pool.pool_id, node=node, seconds=TURN_SECONDS)):
            return
        registry, nodes = await run(read_pools()), await run(list_nodes())
        view = View(registry.version, registry.pools, tuple(nodes), self._types)
        others = (one for one in view.pools if one.pool_id != pool.pool_id)
        targets = [one for one in others if unfit(one) is None and same_kind(pool, one)]
        moves = await run_steps(self._context.store, evacuate(view, pool, targets, partly=True))
        await self._mark(pool)
        self._tell(pool, moves)

    async def _mark(self, pool: PoolRecord) -> None:
        """Have new tasks go elsewhere, if there is a better pool; a group that gets ready makes it running again."""
        try:
            await self._context.store.run(
                change_pool(
                    pool.pool_id,
                    only_if=(PoolStatus.RUNNING,),
                    status=PoolStatus.DEGRADED,
                    reason="No worker group of it is ready; other pools take over its tasks.",
                )
            )
        except (errors.PoolNotFound, errors.InvalidField) as exc:
            logger.debug("The status of %s stays: %s", pool.pool_id, exc)

    def _tell(self, pool: PoolRecord, moves: tuple[TaskMove, ...]) -> None:
        extra = {"action": "failover", "pool_id": pool.pool_id}
        name = pool.config.name
        if moves:
            names = ", ".join(sorted({one.target_name for one in moves}))
            logger.warning("Nobody runs pool %s: %d waiting tasks went to %s", name, total(moves), names, extra=extra)
        elif pool.pool_id not in self._in_vain:
            self._in_vain.add(pool.pool_id)
            logger.warning("Nobody runs pool %s, and no other pool can take over its tasks", name, extra=extra)
