"""Waiting until a pool is as wanted: by news of changes, and by a look now and then for what nobody tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mahavishnu_pools.broker.listener import Channel, Listener
from mahavishnu_pools.store import keys

T = TypeVar("T")

#: Seconds after which a waiting client looks again although nobody told of a change.
LOOK_AGAIN = 1.0


class PoolWatch:
    """Wakes those who wait for a change of some pool. Listens only while somebody waits."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._channel = keys.key("changed", prefix="")
        self._waiting: set[asyncio.Event] = set()

    async def until(self, look: Callable[[], Awaitable[T | None]], *, within: float) -> T | None:
        """Return what ``look`` finds as soon as that is not None; None when ``within`` seconds have passed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        news = asyncio.Event()
        self._enter(news)
        try:
            while True:
                news.clear()
                found = await look()
                left = deadline - loop.time()
                if found is not None or left <= 0:
                    return found
                try:
                    async with asyncio.timeout(min(left, LOOK_AGAIN)):
                        await news.wait()
                except TimeoutError:
                    continue
        finally:
            self._leave(news)

    def _enter(self, news: asyncio.Event) -> None:
        if not self._waiting:
            self._listener.add([self._channel], Channel(lambda _: self._tell(), self._tell))
        self._waiting.add(news)

    def _leave(self, news: asyncio.Event) -> None:
        self._waiting.discard(news)
        if not self._waiting:
            self._listener.remove([self._channel])

    def _tell(self) -> None:
        for news in self._waiting:
            news.set()
