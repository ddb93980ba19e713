"""The connection of a manager: made at first use, closed once."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from mahavishnu_pools import bootstrap, errors
from mahavishnu_pools.manager.messages import Messages
from mahavishnu_pools.pools.interface import Pool
from mahavishnu_pools.settings import Settings, load_settings
from mahavishnu_pools.store.pools import PoolRecord, Registry, read_pools


class Connected:
    """What all verbs of a manager share: its settings, the parts it works with, and the pools it knows."""

    def __init__(
        self,
        terminal_manager: Any = None,
        session_buddy_client: Any = None,
        message_bus: Any = None,
        *,
        settings: Settings | None = None,
        redis_url: str | None = None,
    ) -> None:
        self.terminal_manager = terminal_manager
        self.session_buddy_client = session_buddy_client
        self._messages = Messages(self._opened)
        self.message_bus = self._messages.join(message_bus)
        self._given = bootstrap.with_url(settings or load_settings(), redis_url)
        self.settings = self._given
        self._pools: dict[str, Pool] = {}
        self._spawned: set[str] = set()
        self._parts: bootstrap.Parts | None = None
        self._closed = False
        self._connecting = asyncio.Lock()

    async def connect(self) -> Self:
        """Connect now; every verb does it by itself when needed.

        Raises:
            RedisUnavailable, StackPartFailed, PoolsDisabled: see ``bootstrap.connect``.
            ManagerClosed: it was closed.
        """
        await self._connected()
        return self

    async def close(self) -> None:
        """Close this client's connections, its message bus and its private stack; pools of a shared server stay.

        Every verb raises ``ManagerClosed`` from then on; to close it again does nothing.
        """
        self._closed = True
        await self._messages.close()
        parts, self._parts = self._parts, None
        if parts is not None:
            await parts.close()

    async def _connected(self) -> bootstrap.Parts:
        parts = await self._opened()
        # Who subscribed before this verb hears what it does.
        await self._messages.settled()
        return parts

    async def _opened(self) -> bootstrap.Parts:
        async with self._connecting:
            self._refuse_when_closed()
            if self._parts is None:
                parts = await bootstrap.connect(self._given)
                try:
                    self._refuse_when_closed()  # nobody else would close what has just been opened
                except errors.ManagerClosed:
                    await parts.close()
                    raise
                self._parts, self.settings = parts, parts.settings
            return self._parts

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise errors.ManagerClosed

    async def _registry(self, pool: str) -> Registry:
        store = (await self._connected()).store
        registry = await store.run(read_pools(pool))
        if not registry.pools and not registry.gone:
            others = await store.run(read_pools())
            raise errors.PoolNotFound.of(pool, [other.config.name for other in others.pools])
        return registry

    async def _record(self, pool: str) -> PoolRecord:
        return (await self._registry(pool)).one(pool)
