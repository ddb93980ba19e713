"""Has pools that spent the budget of a day go on the next one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store.limits import renew_budget
from mahavishnu_pools.store.pools import PoolRecord

from .context import AgentContext

logger = logging.getLogger(__name__)


class BudgetKeeper:
    """One ``look`` is one round over the pools; it is repeated. ``records`` gives the pools known here."""

    def __init__(self, context: AgentContext, records: Callable[[], Iterable[PoolRecord]]) -> None:
        self._context = context
        self._records = records

    async def look(self) -> None:
        """Resume the pools whose budget is a new one.

        Raises:
            RedisUnavailable: Redis did not answer.
        """
        for record in self._records():
            budget = record.config.budget
            if record.status is not PoolStatus.PAUSED or budget is None or budget.per != "day":
                continue
            if await self._context.store.run(renew_budget(record.pool_id)):
                extra = {"action": "budget", "pool_id": record.pool_id}
                logger.info("Pool %s goes on: its budget is that of a new day", record.config.name, extra=extra)
