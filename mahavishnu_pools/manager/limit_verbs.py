"""What a manager does about limits: cool-downs of worker types, rates, budgets, usage."""

from __future__ import annotations

from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.manager.pool_verbs import PoolVerbs
from mahavishnu_pools.schemas.limits import Budget, UsageRow
from mahavishnu_pools.schemas.pool import PoolInfo
from mahavishnu_pools.store import limits
from mahavishnu_pools.store.pools import PoolRecord, read_pools
from mahavishnu_pools.store.steps import run_steps


class LimitVerbs(PoolVerbs):
    """The verbs about limits."""

    async def limits(self) -> dict[str, Any]:
        """Return what holds tasks back: ``cool_downs`` of worker types, and ``pools`` with a rate limit or a budget.

        What was spent of a budget (``spent_usd``, ``spent_tokens``) is that of today (UTC) or of the pool's life.
        """
        store = (await self._connected()).store
        limited = [one for one in (await store.run(read_pools())).pools if one.config.rate_limit or one.config.budget]
        seen = await store.run(limits.read_limits(*(one.pool_id for one in limited)))
        pools = [_limited(one, *spent) for one, *spent in zip(limited, seen.today, seen.life, strict=True)]
        return {"cool_downs": [one.model_dump(mode="json") for one in seen.cool_downs], "pools": pools}

    async def end_cool_down(self, worker_type: str) -> int:
        """Let prompts start with a worker type again, before its time; returns how many tasks had waited for it.

        Raises:
            InvalidField: it does not cool down.
        """
        store = (await self._connected()).store
        run = store.run
        cooling = (await run(limits.read_limits())).cool_downs
        meant = [one for one in cooling if one.worker_type == worker_type]
        if not meant:
            names = dict.fromkeys(one.worker_type for one in cooling)
            now = f"These do: {', '.join(names)}." if names else "None does now."
            raise errors.InvalidField.of("worker_type", f"{worker_type!r} does not cool down", now)
        pool_ids = [pool.pool_id for pool in (await run(read_pools())).pools]
        return sum([await run_steps(store, limits.end_everywhere(one, pool_ids)) for one in meant])

    async def limit_rate(self, pool: str, rate: str | None) -> PoolInfo:
        """Have a pool start at most so many tasks (``30/m``; None: as many as it can), from now on.

        Raises:
            InvalidField: it is no rate.
            PoolNotFound, PoolGone: there is no such pool.
        """
        record = await self._record(pool)
        await run_steps((await self._connected()).store, limits.limit_rate(record.pool_id, rate=rate))
        return (await self._record(record.pool_id)).info()

    async def usage(self, *, days: int = 30, pool: str | None = None) -> tuple[UsageRow, ...]:
        """Return what AI tasks used, newest day first, of the last 1 to 400 days (UTC), by pool and task type.

        ``pool`` is a pool's name, also of one that was closed since.
        """
        if not 1 <= days <= limits.USAGE_DAYS:
            raise errors.InvalidField.of("days", f"is {days}", f"Choose 1 to {limits.USAGE_DAYS}.")
        rows = await (await self._connected()).store.run(limits.read_usage(days=days))
        return tuple(row for row in rows if pool is None or row.pool == pool)


def _limited(record: PoolRecord, today: limits.Spent, life: limits.Spent) -> dict[str, Any]:
    config = record.config
    found: dict[str, Any] = {"pool_id": record.pool_id, "name": config.name, "rate_limit": config.rate_limit}
    return found | {"budget": _budget(config.budget, today, life) if config.budget else None}


def _budget(budget: Budget, today: limits.Spent, life: limits.Spent) -> dict[str, Any]:
    spent = life if budget.per == "life" else today
    return {**budget.model_dump(), "spent_usd": spent.usd, "spent_tokens": spent.tokens}
