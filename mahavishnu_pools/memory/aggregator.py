"""MemoryAggregator: brings the outcomes of all pools to the memory servers, and searches them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.memory.delivering import Synced, deliver_all
from mahavishnu_pools.memory.index import Filters
from mahavishnu_pools.memory.retention import prune_when_due
from mahavishnu_pools.memory.search import Hits, catch_up, index_of, search_all
from mahavishnu_pools.memory.set_aside import list_aside, purge_aside, retry_aside
from mahavishnu_pools.memory.sinks.akosha import AkoshaSink
from mahavishnu_pools.memory.sinks.interface import Sink
from mahavishnu_pools.memory.sinks.plugins import plugin_sinks, sink_names
from mahavishnu_pools.memory.sinks.session_buddy import SessionBuddySink
from mahavishnu_pools.settings import Settings, load_settings
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.outbox import read_sinks

if TYPE_CHECKING:
    from pydantic import SecretStr

_log = logging.getLogger(__name__)


class StoreOwner(Protocol):
    """What the aggregator needs of a PoolManager."""

    settings: Settings

    async def memory_store(self) -> AsyncStore:
        """Return the manager's store, connected."""
        ...


class MemoryAggregator:
    """Delivers to Session-Buddy, Akosha and the sinks of plug-ins. What is None comes from the settings.

    ``sync_interval`` is in seconds.

    Raises:
        InvalidField: the interval is no number of seconds above 0.
    """

    def __init__(
        self,
        session_buddy_url: str | None = None,
        akosha_url: str | None = None,
        sync_interval: float | None = None,
    ) -> None:
        self._urls = {"session_buddy_pool_url": session_buddy_url, "akosha_url": akosha_url}
        self._interval = _checked_interval(sync_interval)
        self._task: asyncio.Task[None] | None = None

    async def start_periodic_sync(self, pool_manager: StoreOwner) -> None:
        """Sync now and at every interval until ``stop``; a second call changes nothing."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._periodically(pool_manager))

    async def stop(self) -> None:
        """End the periodic sync; a batch that is under way is delivered again by the next one."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def collect_and_sync(self, pool_manager: StoreOwner, *, force: bool = True) -> dict[str, Any]:
        """Deliver what waits and return ``pools_synced, memory_items_synced, memory_items_pending, timestamp``.

        An item counts as synced for each server that confirmed it, and as pending while one has not. ``errors`` holds
        what keeps a server from taking more. Without ``force`` a server that failed a short time ago is left alone.

        Raises:
            RedisUnavailable: the outbox cannot be read.
        """
        return await sync(await pool_manager.memory_store(), self._settings(pool_manager), force=force)

    async def list_set_aside(self, pool_manager: StoreOwner) -> list[dict[str, Any]]:
        """Return the records that a server refused while it took others, the oldest first, each with its ``reason``.

        At most 1,000 for each server, for 30 days.

        Raises:
            RedisUnavailable: they cannot be read.
        """
        return await list_aside(await pool_manager.memory_store(), sink_names())

    async def retry_set_aside(self, pool_manager: StoreOwner) -> dict[str, Any]:
        """Send the refused records again; return ``delivered`` and ``set_aside`` (what is left), and ``errors``.

        Raises:
            RedisUnavailable: they cannot be read.
        """
        store = await pool_manager.memory_store()
        async with opened_sinks(self._settings(pool_manager)) as sinks:
            done = {sink.name: await retry_aside(store, sink) for sink in sinks}
        return {
            "delivered": sum(one.confirmed for one in done.values()),
            "set_aside": sum(state.aside for state in await store.run(read_sinks(*sink_names()))),
            "errors": {name: one.error for name, one in done.items() if one.error},
        }

    async def purge_set_aside(self, pool_manager: StoreOwner) -> int:
        """Forget the refused records; return how many there were.

        Raises:
            RedisUnavailable: they cannot be reached.
        """
        return await purge_aside(await pool_manager.memory_store(), sink_names())

    async def cross_pool_search(
        self, query: str, pool_manager: StoreOwner, limit: int = 10, *, filters: Filters | None = None
    ) -> Hits:
        """Search the memories of all pools, best first; also when servers or Redis are down, which ``notes`` tell.

        Raises:
            InvalidField: the limit is below 1.
            Unavailable: this machine's index cannot be used.
        """
        settings = self._settings(pool_manager)
        index, notes = index_of(settings), []
        try:
            try:
                await catch_up(await pool_manager.memory_store(), index)
                await asyncio.to_thread(prune_when_due, index, settings.memory_keep_days)
            except errors.RedisUnavailable as exc:
                notes.append(f"The newest outcomes are missing: {exc.message}")
            # Only now, connected, the manager knows where its stack's servers are.
            async with opened_sinks(self._settings(pool_manager)) as sinks:
                found = await search_all(index, sinks, query, limit=limit, filters=filters)
        finally:
            index.close()
        found.notes[:0] = notes
        return found

    def _settings(self, pool_manager: StoreOwner) -> Settings:
        given = {name: url for name, url in self._urls.items() if url is not None}
        return pool_manager.settings.model_copy(update=given)

    async def _periodically(self, pool_manager: StoreOwner) -> None:
        interval = self._interval or pool_manager.settings.memory_sync_interval
        while True:
            try:
                await self.collect_and_sync(pool_manager, force=False)
            except errors.MahavishnuError as exc:
                _log.warning("The memory was not synced: %s", exc.message)
            await asyncio.sleep(interval)


async def sync(store: AsyncStore, settings: Settings, *, force: bool) -> dict[str, Any]:
    """Deliver the outbox to every sink; see ``MemoryAggregator.collect_and_sync``."""
    done = await _delivered(store, settings, force=force) if settings.memory_aggregation_enabled else {}
    states = await store.run(read_sinks(*sink_names()))
    return {
        "pools_synced": len(frozenset[str]().union(*(one.pools for one in done.values()))),
        "memory_items_synced": sum(one.confirmed for one in done.values()),
        "memory_items_pending": max(state.pending for state in states),
        "timestamp": datetime.now(UTC).isoformat(),
        "errors": {name: one.error for name, one in done.items() if one.error},
    }


async def _delivered(store: AsyncStore, settings: Settings, *, force: bool) -> dict[str, Synced]:
    """Deliver to all sinks at once: one that answers late keeps no other waiting."""
    async with opened_sinks(settings) as sinks:
        work = (deliver_all(store, sink, force=force) for sink in sinks)
        ended = await asyncio.gather(*work, return_exceptions=True)
    done = {}
    for sink, one in zip(sinks, ended, strict=True):
        if isinstance(one, BaseException):
            raise one
        done[sink.name] = one
    return done


@asynccontextmanager
async def opened_sinks(settings: Settings) -> AsyncIterator[list[Sink]]:
    """Give the sinks of the settings, in the order of delivery; they connect when used."""
    async with AsyncExitStack() as stack:
        buddy = McpClient(settings.session_buddy_pool_url, token=_secret(settings.session_buddy_token))
        akosha = McpClient(settings.akosha_url, token=_secret(settings.akosha_token))
        for client in (buddy, akosha):
            await stack.enter_async_context(client)
        yield [SessionBuddySink(buddy), AkoshaSink(akosha), *plugin_sinks(settings)]


def sync_once(settings: Settings | None = None, *, redis_url: str) -> dict[str, Any]:
    """Sync once from synchronous code, with a connection of its own; servers that failed lately are left alone."""

    async def run() -> dict[str, Any]:
        chosen = settings or load_settings()
        async with AsyncStore.from_settings(chosen, redis_url) as store:
            return await sync(store, chosen, force=False)

    return asyncio.run(run())


def _checked_interval(seconds: object) -> float | None:
    if seconds is None:
        return None
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds <= 0:
        raise errors.InvalidField.of("sync_interval", f"is {seconds!r}", "Give seconds above 0.")
    return seconds


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
