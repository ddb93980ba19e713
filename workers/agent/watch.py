"""Watches over the groups: keeps their leases alive, ends what is frozen, and everything when cut off from Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from mahavishnu_pools.store.leases import refresh_leases

from .context import AgentContext
from .ending import Verdict
from .frozen import TickWatch
from .keeper import Keeper

logger = logging.getLogger(__name__)


class GroupWatch:
    """Each method is one look; the controller repeats them."""

    def __init__(self, context: AgentContext, keepers: Iterable[Keeper]) -> None:
        self._context = context
        self._keepers = keepers
        settings = context.settings
        self._ticks = TickWatch(settings.frozen_after)
        # Redis is silent for everybody on this node when the controller itself has not been answered for two beats.
        self._silent_after = max(settings.frozen_after / 2, 2 * settings.node_heartbeat + 1)
        # Others take a silent node's work over when it is lost; until then its groups must have ended.
        self._cut_off_after = 0.75 * settings.node_lost_after

    async def look(self) -> None:
        """End groups that do not tick, and all when Redis was silent so long that others will soon run their tasks."""
        table = self._context.table
        ready = {group.pid: table.life(group).tick for group in table if group.ready.is_set()}
        now = time.monotonic()
        silence = now - self._context.heard_at
        frozen = self._ticks.look(ready, now=now, excused=silence > self._silent_after)
        cut_off = silence > self._cut_off_after
        for keeper in self._keepers:
            group = keeper.group
            if group is None:
                continue
            if cut_off:
                keeper.condemn(group, Verdict.CUT_OFF)
            elif group.pid in frozen:
                keeper.condemn(group, Verdict.FROZEN)

    async def refresh(self) -> None:
        """Keep the leases of the groups alive; a group whose lease was reaped is ended, if it did not close it itself.

        Raises:
            RedisUnavailable: Redis did not answer.
        """
        groups = [(keeper, group) for keeper in self._keepers if (group := keeper.group) is not None]
        if not groups:
            return
        # One that is not ready yet may open its lease while the answer is on its way.
        kept = [(keeper, group, group.ready.is_set()) for keeper, group in groups]
        leases = [group.start.lease for _, group in groups]
        answers = await self._context.store.run(refresh_leases(leases, ttl=self._context.settings.lease_ttl))
        for (keeper, group, had_lease), alive in zip(kept, answers, strict=True):
            if not alive and had_lease and not self._context.table.life(group).leaving:
                logger.warning("The lease %s was taken over by a reaper", group.start.lease)
                keeper.condemn(group, Verdict.REFUSED)
