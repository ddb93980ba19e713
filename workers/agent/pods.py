"""What an agent in a Pod does beside the usual: it tells the registry how many workers all Pods have.

How many Pods there are is the affair of the cluster's autoscaler. The registry follows, so that load, which is work
divided by workers, stays true.
"""

from __future__ import annotations

import logging

from mahavishnu_pools.store.pools import PoolRecord, change_pool, read_pools

from .context import AgentContext
from .keepers import Keepers

logger = logging.getLogger(__name__)

#: How often the ready workers of all Pods are counted, in seconds.
COUNT_PERIOD = 1.0


class PodCount:
    """``look`` is one count; the controller repeats it."""

    def __init__(self, context: AgentContext, keepers: Keepers) -> None:
        self._context = context
        self._keepers = keepers
        self._counted: int | None = None

    async def look(self) -> None:
        """Have the registry say how many workers are ready; all Pods count, and come to the same number.

        Raises:
            RedisUnavailable: Redis did not answer.
        """
        for pool_id in self._keepers.pools():
            registry = await self._context.store.run(read_pools(pool_id))
            for record in registry.pools:
                await self._write(record)

    async def _write(self, record: PoolRecord) -> None:
        ready = record.ready_workers
        # Twice the same, so that Pods that come and go together do not make every count a change.
        steady, self._counted = ready == self._counted, ready
        if steady and ready > 0 and ready != record.workers:
            extra = {"action": "count_pods", "pool_id": record.pool_id}
            logger.info("Pool %s has %d ready workers", record.config.name, ready, extra=extra)
            await self._context.store.run(change_pool(record.pool_id, workers=ready))
