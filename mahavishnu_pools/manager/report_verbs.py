"""What a manager tells of pools."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mahavishnu_pools.manager.pool_verbs import PoolVerbs
from mahavishnu_pools.memory.sinks.plugins import sink_names
from mahavishnu_pools.metrics.exporter import exposition
from mahavishnu_pools.pools import reports
from mahavishnu_pools.pools.outsides import seen_from_outside
from mahavishnu_pools.store.outbox import read_sinks
from mahavishnu_pools.store.pools import list_nodes, read_pools
from mahavishnu_pools.store.tasks import read_recent


class ReportVerbs(PoolVerbs):
    """The verbs that sum up."""

    async def health_check(self, pool: str | None = None) -> dict[str, Any]:
        """Return the health of all pools, or of one, and how far the memory sync is, which makes no pool unhealthy."""
        run = (await self._connected()).store.run
        records = (await run(read_pools())).pools if pool is None else [await self._record(pool)]
        infos = await seen_from_outside(records, self.settings)
        nodes = await run(list_nodes())
        return {**reports.health(infos, nodes), "memory_sync": await self._memory_sync()}

    async def stats(self, *, by_type: bool = False) -> dict[str, Any]:
        """Return figures over all pools, and with ``by_type`` for each type."""
        return reports.statistics(await self.list_pools(), by_type=by_type, memory=await self._memory_sync())

    async def aggregate_results(self, pool_ids: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the last results (at most 1000) of pools (None: of all) with counts, by pool id."""
        store = (await self._connected()).store
        infos = await self.list_pools() if pool_ids is None else [await self.pool_info(one) for one in pool_ids]
        found = {}
        for info in infos:
            recent = await store.run(read_recent(info.pool_id))
            known = await self._read_tasks(recent)
            found[info.pool_id] = (info, [result for result in known if result is not None])
        return reports.aggregated(found)

    async def metrics(self) -> bytes:
        """Return the metrics of the whole system as text for Prometheus (``metrics.exporter.CONTENT_TYPE``)."""
        return await exposition((await self._connected()).store)

    async def _memory_sync(self) -> dict[str, Any]:
        states = await (await self._connected()).store.run(read_sinks(*sink_names()))
        return reports.memory_sync(dict(zip(sink_names(), states, strict=True)))
