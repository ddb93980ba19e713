"""Scales the pools of this node between their limits; see ``mahavishnu_pools.pools.autoscaling`` for when."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from mahavishnu_pools.pools.autoscaling import Autoscaler, Decision, Limits, Rules
from mahavishnu_pools.pools.factory import on_nodes, pool_type
from mahavishnu_pools.schemas.pool import ACTIVE_STATUSES
from mahavishnu_pools.store import scaling
from mahavishnu_pools.store.pools import PoolRecord

from .context import AgentContext

logger = logging.getLogger(__name__)

#: How often pools are looked at, in seconds.
PERIOD = 1.0

#: A node that has not looked at a pool for so long (s) leaves it to another one that runs it.
TURN_SECONDS = 5.0


class PoolScaler:
    """One ``look`` is one round over the pools; it is repeated. ``records`` gives the pools known here."""

    def __init__(self, context: AgentContext, records: Callable[[], Iterable[PoolRecord]]) -> None:
        settings = context.settings
        self._context = context
        self._records = records
        self._rules = Rules(settings.autoscale_wait, settings.autoscale_quiet, settings.autoscale_hold)
        self._scalers: dict[str, Autoscaler] = {}

    async def look(self) -> None:
        """Look at the pools that may be scaled here, and scale those that have too few or too many workers.

        Raises:
            RedisUnavailable: Redis did not answer.
        """
        scaled = {record.pool_id: record for record in self._records() if self._is_scaled(record)}
        self._scalers = {pool_id: one for pool_id, one in self._scalers.items() if pool_id in scaled}
        if not scaled:
            return
        least = {pool_id: record.config.min_workers for pool_id, record in scaled.items()}
        seen = await self._context.store.run(scaling.look(self._context.facts.name, least, turn=TURN_SECONDS))
        for pool_id, sample in seen.items():
            config = scaled[pool_id].config
            scaler = self._scalers.setdefault(pool_id, Autoscaler(self._rules))
            decision = scaler.look(sample, Limits(config.min_workers, config.max_workers))
            if decision is not None:
                await self._scale(scaled[pool_id], sample.workers, decision)

    def _is_scaled(self, record: PoolRecord) -> bool:
        config = record.config
        mine = record.status in ACTIVE_STATUSES and self._context.facts.name in record.assigned
        may = config.auto_scale and config.min_workers < config.max_workers
        return mine and may and on_nodes(config.pool_type) and pool_type(config.pool_type).scalable

    async def _scale(self, record: PoolRecord, before: int, decision: Decision) -> None:
        node, after = self._context.facts.name, decision.workers
        call = scaling.set_workers(record.pool_id, node, before=before, after=after, reason=decision.reason)
        if await self._context.store.run(call):
            extra = {"action": "scale", "pool_id": record.pool_id}
            logger.info("Pool %s: %d → %d workers: %s", record.config.name, before, after, decision.reason, extra=extra)
