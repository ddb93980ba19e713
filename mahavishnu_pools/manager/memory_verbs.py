"""What a manager does with the memory of finished tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mahavishnu_pools.manager.connection import Connected

if TYPE_CHECKING:
    from mahavishnu_pools.memory.index import Filters
    from mahavishnu_pools.memory.search import Hits
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

    async def list_set_aside(self) -> list[dict[str, Any]]:
        """Return the records that a server refused; see ``MemoryAggregator.list_set_aside``."""
        from mahavishnu_pools.memory.aggregator import MemoryAggregator

        return await MemoryAggregator().list_set_aside(self)

    async def retry_set_aside(self) -> dict[str, Any]:
        """Send the refused records again; see ``MemoryAggregator.retry_set_aside``."""
        from mahavishnu_pools.memory.aggregator import MemoryAggregator

        return await MemoryAggregator().retry_set_aside(self)

    async def purge_set_aside(self) -> int:
        """Forget the refused records; see ``MemoryAggregator.purge_set_aside``."""
        from mahavishnu_pools.memory.aggregator import MemoryAggregator

        return await MemoryAggregator().purge_set_aside(self)

    async def search_memory(self, query: str, *, limit: int = 10, filters: Filters | None = None) -> Hits:
        """Search the memories of all pools; see ``MemoryAggregator.cross_pool_search``."""
        from mahavishnu_pools.memory.aggregator import MemoryAggregator

        return await MemoryAggregator().cross_pool_search(query, self, limit, filters=filters)
