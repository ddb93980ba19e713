"""What a manager does with the memory of finished tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mahavishnu_pools.manager.connection import Connected

if TYPE_CHECKING:
    from mahavishnu_pools.memory.index import Filters
    from mahavishnu_pools.store.client import AsyncStore


class MemoryVerbs(Connected):
    """The verbs about memory."""

    async def memory_store(self) -> AsyncStore:
        """Return the connected store, for a ``MemoryAggregator``."""
        return (await self._connected()).store

    async def sync_memory(self, *, force: bool = True) -> dict[str, Any]:
        """Deliver the outbox; see ``MemoryAggregator.collect_and_sync``."""
        from mahavishnu_pools.memory.aggregator import MemoryAggregator

        return await MemoryAggregator().collect_and_sync(self, force=force)

    async def search_memory(
        self, query: str, *, limit: int = 10, filters: Filters | None = None
    ) -> list[dict[str, Any]]:
        """Search the memories of all pools; see ``MemoryAggregator.cross_pool_search``."""
        from mahavishnu_pools.memory.aggregator import MemoryAggregator

        return await MemoryAggregator().cross_pool_search(query, self, limit, filters=filters)
