"""Closing pools: no task is left waiting for ever, running ones may end, then nothing of the pool remains."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store.leases import list_leases, reap
from mahavishnu_pools.store.pools import change_pool, empty_pool, list_nodes, remove_pool

if TYPE_CHECKING:
    from mahavishnu_pools.broker.watching import PoolWatch
    from mahavishnu_pools.settings import Settings
    from mahavishnu_pools.store.client import AsyncStore

logger = logging.getLogger(__name__)

#: Seconds that agents may take beyond the drain time to end the groups.
STOP_EXTRA = 10.0

#: What the waiting tasks of a closed pool are told.
REASON = "Its pool was closed."


class Closer:
    """Closes pools."""

    def __init__(self, store: AsyncStore, watch: PoolWatch, settings: Settings) -> None:
        self._store = store
        self._watch = watch
        self._settings = settings

    async def close(self, pool_id: str, *, drain: float | None = None, reason: str | None = None) -> None:
        """Close a pool; ``drain`` is how many seconds running tasks may take (None: the setting).

        Waiting tasks are cancelled with ``reason``. When no living node has the pool, its running tasks end likewise.

        Raises:
            PoolNotReady: its workers did not stop in time; the pool stays closed to tasks and can be closed again.
        """
        try:
            why = reason or "it is being closed"
            await self._store.run(change_pool(pool_id, status=PoolStatus.STOPPED, reason=why))
        except errors.PoolNotFound:
            return  # somebody else was faster

        async def look() -> bool | None:
            return await self._removed(pool_id) or None

        limit = (self._settings.drain_timeout if drain is None else drain) + self._settings.kill_grace + STOP_EXTRA
        if await self._watch.until(look, within=limit) is None:
            raise errors.PoolNotReady(
                f"The workers of pool {pool_id} did not stop within {limit:g} s. Close it again later.",
                pool_id=pool_id,
            )
        logger.info("Closed pool %s", pool_id, extra={"action": "close", "pool_id": pool_id})

    async def _removed(self, pool_id: str) -> bool:
        while await self._store.run(empty_pool(pool_id, reason=REASON, result_ttl=self._settings.result_expires)):
            pass
        busy = await self._store.run(remove_pool(pool_id))
        if busy is None:
            return True
        if await self._orphans(pool_id):
            return await self._removed(pool_id)
        return False

    async def _orphans(self, pool_id: str) -> bool:
        """Take back what groups on lost nodes hold; tell whether there was anything."""
        living = {node.name for node in await self._store.run(list_nodes()) if node.alive}
        leases = [lease for lease in await self._store.run(list_leases()) if lease.pool_id == pool_id]
        lost = [lease for lease in leases if lease.node not in living]
        for lease in lost:
            call = reap(lease.lease, cause="node", result_ttl=self._settings.result_expires)
            while (await self._store.run(call)).left:
                pass
        return bool(lost)
