"""Closing pools: no task is left waiting for ever, running ones may end, then nothing of the pool remains."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.pools.factory import pool_type
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store.draining import drain_pool
from mahavishnu_pools.store.leases import list_leases, reap
from mahavishnu_pools.store.pools import (
    PoolRecord,
    change_pool,
    empty_pool,
    list_nodes,
    read_pools,
    remove_pool,
)

if TYPE_CHECKING:
    from mahavishnu_pools.broker.watching import PoolWatch
    from mahavishnu_pools.pools.interface import Outside
    from mahavishnu_pools.schemas.pool import PoolConfig
    from mahavishnu_pools.settings import Settings
    from mahavishnu_pools.store.client import AsyncStore

logger = logging.getLogger(__name__)

#: Seconds that agents may take beyond the drain time to end the groups.
STOP_EXTRA = 10.0

#: What the waiting tasks of a closed pool are told.
REASON = "Its pool was closed."


@dataclass(slots=True)
class _Closing:
    """A pool as it was before it was closed, and how many of its tasks were cancelled since."""

    before: PoolRecord
    cancelled: int = 0


class Closer:
    """Closes pools."""

    def __init__(self, store: AsyncStore, watch: PoolWatch, settings: Settings) -> None:
        self._store = store
        self._watch = watch
        self._settings = settings

    async def close(self, pool_id: str, *, drain: float | None = None, reason: str | None = None) -> int:
        """Close a pool; return how many of its tasks were cancelled, because they waited or did not end in time.

        ``drain`` is how many seconds running tasks may take (None: the agents' setting). When no living node has the
        pool, its running tasks end likewise.

        Raises:
            PoolNotReady: its workers did not stop in time; the pool stays closed to tasks and can be closed again.
            ClusterUnavailable, ClusterRefused: what it has elsewhere could not be removed, and workers live there.
        """
        registry = await self._store.run(read_pools(pool_id))
        if not registry.pools:
            return 0  # somebody else was faster
        closing = _Closing(registry.pools[0])
        why = reason or "it is being closed"
        if drain is not None and closing.before.running:
            await self._let_end(closing, seconds=drain, reason=why)
        outside = pool_type(closing.before.config.pool_type).outside(closing.before.config, self._settings)
        # Before the pool leaves the registry: whoever is interrupted here can close it again.
        if outside is not None and not outside.outlives_workers:
            await self._remove_outside(closing.before, outside)
        try:
            await self._store.run(change_pool(pool_id, status=PoolStatus.STOPPED, reason=why))
        except errors.PoolNotFound:
            return closing.cancelled

        async def look() -> bool | None:
            return await self._removed(closing) or None

        patience = _drain_of(closing.before.config, self._settings) if drain is None else drain
        limit = patience + self._settings.kill_grace + STOP_EXTRA
        if await self._watch.until(look, within=limit) is None:
            raise errors.PoolNotReady(
                f"The workers of pool {pool_id} did not stop within {limit:g} s. Close it again later.",
                pool_id=pool_id,
            )
        if outside is not None and outside.outlives_workers:
            await self._remove_outside(closing.before, outside)
        logger.info("Closed pool %s", pool_id, extra={"action": "close", "pool_id": pool_id})
        # Who removes a pool, this client or an agent, ends what waits first: all of that was cancelled.
        return max(closing.cancelled, closing.before.queued)

    async def _remove_outside(self, pool: PoolRecord, outside: Outside) -> None:
        try:
            await outside.remove(pool.pool_id, pool.config)
        except errors.MahavishnuError as exc:
            if pool.groups:
                raise
            # Nobody works there any more: a pool does not stay for ever because its cluster is gone.
            logger.warning("What pool %s has elsewhere may be left there: %s", pool.config.name, exc.message)

    async def _let_end(self, closing: _Closing, *, seconds: float, reason: str) -> None:
        """Let running tasks end; those that do not end in time are handed back, and cancelled like all that waits."""
        pool_id = closing.before.pool_id
        try:
            await self._store.run(drain_pool(pool_id, reason=reason, seconds=seconds))
        except errors.MahavishnuError as exc:
            logger.debug("Pool %s is stopped at once: %s", pool_id, exc)
            return

        async def look() -> bool | None:
            await self._empty(closing)
            await self.take_back(pool_id)
            registry = await self._store.run(read_pools(pool_id))
            left = sum(pool.running + pool.queued for pool in registry.pools)
            return None if left else True

        await self._watch.until(look, within=seconds + self._settings.kill_grace + STOP_EXTRA)

    async def _removed(self, closing: _Closing) -> bool:
        pool_id = closing.before.pool_id
        await self._empty(closing)
        busy = await self._store.run(remove_pool(pool_id))
        if busy is None:
            return True
        if await self.take_back(pool_id):
            return await self._removed(closing)
        return False

    async def _empty(self, closing: _Closing) -> None:
        pool_id = closing.before.pool_id
        while await self._store.run(empty_pool(pool_id, reason=REASON, result_ttl=self._settings.result_expires)):
            continue
        for pool in (await self._store.run(read_pools(pool_id))).pools:
            closing.cancelled = pool.counts["cancelled"] - closing.before.counts["cancelled"]

    async def take_back(self, pool_id: str) -> bool:
        """Queue again what groups on lost nodes hold; tell whether there was anything."""
        living = {node.name for node in await self._store.run(list_nodes()) if node.alive}
        leases = [lease for lease in await self._store.run(list_leases()) if lease.pool_id == pool_id]
        lost = [lease for lease in leases if lease.node not in living]
        for lease in lost:
            call = reap(lease.lease, cause="node", result_ttl=self._settings.result_expires)
            while (await self._store.run(call)).left:
                pass
        return bool(lost)


def _drain_of(config: PoolConfig, settings: Settings) -> float:
    """Return how many seconds running tasks may take where the pool runs."""
    own = config.kubernetes.grace_period if config.kubernetes is not None and config.is_deployment else None
    return settings.drain_timeout if own is None else max(settings.drain_timeout, own)
