"""What a manager does with tasks that wait: moving them between pools."""

from __future__ import annotations

from collections.abc import Iterable

from mahavishnu_pools.manager.pool_verbs import PoolVerbs
from mahavishnu_pools.routing import balancing
from mahavishnu_pools.routing.strategies import selector_of
from mahavishnu_pools.schemas.moving import Rebalanced
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.store.steps import run_steps


class MoveVerbs(PoolVerbs):
    """The verbs about waiting tasks."""

    async def rebalance(
        self,
        strategy: PoolSelector | str = PoolSelector.LEAST_LOADED,
        *,
        pools: Iterable[str] | None = None,
        dry_run: bool = False,
    ) -> Rebalanced:
        """Move waiting tasks between pools (ids or names; None: all) until their loads are even.

        ``strategy`` chooses the targets. Moved are only tasks that the target can run; those bound by an affinity key
        stay, but for ``affinity``, which brings them to the pool their key is bound to. ``dry_run`` only tells.

        Raises:
            PoolNotFound, PoolGone: a named pool does not exist.
            UnknownChoice: there is no such strategy.
        """
        parts = await self._connected()
        selector = selector_of(strategy)
        view = await run_steps(parts.store, parts.chooser.view(fresh=True))
        named = None if pools is None else {(await self._record(pool)).pool_id for pool in pools}
        chosen = [pool for pool in view.pools if named is None or pool.pool_id in named]
        return await run_steps(parts.store, balancing.rebalance(view, chosen, strategy=selector, dry_run=dry_run))
