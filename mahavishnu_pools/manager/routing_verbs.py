"""What a manager tells of routing."""

from __future__ import annotations

from mahavishnu_pools.manager.connection import Connected
from mahavishnu_pools.pools.interface import Task
from mahavishnu_pools.routing.chooser import Wish
from mahavishnu_pools.routing.eligibility import Need, PoolFilter
from mahavishnu_pools.routing.task_input import task_spec
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.schemas.routing import Routing
from mahavishnu_pools.store.routing_look import explain_route
from mahavishnu_pools.store.steps import run_steps


class RoutingVerbs(Connected):
    """The verb about routing."""

    async def explain_route(
        self,
        task: Task,
        *,
        pool: str | None = None,
        pool_selector: PoolSelector | str | None = None,
        pool_affinity: str | None = None,
        filters: PoolFilter | None = None,
    ) -> Routing:
        """Tell which pool a task would get now, from which candidates, and why each other pool is left out.

        Nothing is submitted, and nobody's turn is used up. Raises like ``submit``.
        """
        spec = task_spec(task)
        parts = await self._connected()
        await run_steps(parts.store, parts.chooser.validate(spec))
        wish = Wish(pool, pool_selector, pool_affinity or spec.affinity or spec.session, filters, explain=True)
        return await run_steps(parts.store, parts.chooser.choose(Need.of(spec), wish, explain_route))
