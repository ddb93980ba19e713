"""Takes claims of dead leases back: those of this node's former life at once, those of silent nodes after a while."""

from __future__ import annotations

import asyncio
import logging
import time

from mahavishnu_pools import errors
from mahavishnu_pools.store.leases import LeaseInfo, list_leases, reap

from ..fresh_directories import remove_left
from .context import AgentContext
from .silence import SilenceWatch
from .trees import same_process

logger = logging.getLogger(__name__)


class Reaper:
    """One ``look`` is one poll; the controller repeats it at most half a second apart. Every agent does so."""

    def __init__(self, context: AgentContext) -> None:
        self._context = context
        self._silence = SilenceWatch(context.settings.lease_ttl)

    async def look(self) -> None:
        """Poll all leases and reap what may be reaped.

        Raises:
            RedisUnavailable: Redis did not answer; every count begins anew.
        """
        asked = time.monotonic()
        try:
            found = await self._context.store.run(list_leases())
        except errors.RedisUnavailable:
            self._silence.failed()
            raise
        answered = time.monotonic()
        others = [lease for lease in found if lease.lease not in self._context.leases]
        ended = [lease for lease in others if self._has_ended_here(lease)]
        # A node that is only cut off ends its own groups first, and it has until it is lost to do so.
        lost = [lease for lease in others if not lease.alive and not lease.node_alive and lease not in ended]
        missing = {lease.lease: lease for lease in lost}
        silent = self._silence.poll(missing, asked=asked, answered=answered)
        for lease in [*ended, *(missing[name] for name in silent)]:
            await self._reap(lease)

    def _has_ended_here(self, lease: LeaseInfo) -> bool:
        return self._is_here(lease) and same_process(lease.pid, lease.started) is None

    def _is_here(self, lease: LeaseInfo) -> bool:
        return lease.node == self._context.facts.name

    async def _reap(self, lease: LeaseInfo) -> None:
        context = self._context
        logger.warning("The claims of lease %s are handed back", lease.lease, extra={"action": "reap"})
        if self._is_here(lease):
            shared = context.table.has_pool(lease.pool_id)
            mark = context.mark(lease.pool_id, lease.lease, shared=shared)
            await context.sweeper.end(same_process(lease.pid, lease.started), mark)
            await context.containers.end(lease.lease)
            await asyncio.to_thread(remove_left, lease.lease)
        call = reap(lease.lease, cause="node", result_ttl=context.settings.result_expires)
        while (await context.store.run(call)).left:
            continue
