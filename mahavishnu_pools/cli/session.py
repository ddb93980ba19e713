"""One command's connection to the pools: opened when it is used, closed however the command ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from mahavishnu_pools import errors

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager

T = TypeVar("T")


def open_manager() -> PoolManager:
    """Return a manager for the configured Redis or the running local stack; a command never starts a stack.

    Raises:
        PoolsDisabled: the settings switch pools off.
        StackNotRunning: there is neither.
    """
    from mahavishnu_pools.settings import load_settings

    settings = load_settings()
    if not settings.pools_enabled:
        raise errors.PoolsDisabled
    from mahavishnu_pools.bootstrap import find_redis_url
    from mahavishnu_pools.manager import PoolManager

    url = find_redis_url(settings)
    if url is None:
        raise errors.StackNotRunning
    return PoolManager(settings=settings, redis_url=url)


class Session:
    """Runs coroutines of one command with a manager. Ctrl-C cancels the coroutine and raises KeyboardInterrupt."""

    def __init__(self, opener: Callable[[], PoolManager] = open_manager) -> None:
        self._open = opener

    def run(self, action: Callable[[PoolManager], Awaitable[T]]) -> T:
        """Return what ``action`` returns for a fresh manager, which is closed afterwards."""
        manager = self._open()
        return asyncio.run(_closing(manager, action))


async def _closing(manager: PoolManager, action: Callable[[PoolManager], Awaitable[T]]) -> T:
    try:
        return await action(manager)
    finally:
        await manager.close()
