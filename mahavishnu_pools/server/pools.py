"""The one manager of the server: made when it is needed, made again when the stack is another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mahavishnu_pools import bootstrap, errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.settings import Settings

#: Seconds a call may ask the store whether it is there.
READY_SECONDS = 5.0


class Pools:
    """Hands out the manager. It never starts a stack: the server is for the one that others started."""

    def __init__(
        self, settings: Settings, *, find: Callable[[Settings], str | None] = bootstrap.find_redis_url
    ) -> None:
        self.settings = settings
        self._find = find
        self._url: str | None = None
        self._manager: PoolManager | None = None
        self._making = asyncio.Lock()

    async def manager(self) -> PoolManager:
        """Return the manager for the configured Redis, or the local stack that runs now.

        Raises:
            PoolsDisabled: the settings switch pools off.
            StackNotRunning: there is neither.
        """
        if not self.settings.pools_enabled:
            raise errors.PoolsDisabled
        async with self._making:
            url = self._find(self.settings)
            if url is not None and url != self._url:
                await self._close()
                self._url = url
                self._manager = PoolManager(settings=self.settings, redis_url=url)
            if self._manager is None:
                raise errors.StackNotRunning
            return self._manager

    async def why_not_ready(self) -> str | None:
        """Return why tasks cannot be taken now; None: they can."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await (await self.manager()).nodes()
        except errors.MahavishnuError as exc:
            return exc.message
        except TimeoutError:
            return f"Redis did not answer within {READY_SECONDS:g} s."
        return None

    async def close(self) -> None:
        """Close the manager; pools stay."""
        async with self._making:
            await self._close()

    async def _close(self) -> None:
        manager, self._manager, self._url = self._manager, None, None
        if manager is not None:
            await manager.close()
