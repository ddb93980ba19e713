"""One pub/sub connection of a client, which connects again by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis.asyncio
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from mahavishnu_pools.store.client import AsyncStore

logger = logging.getLogger(__name__)

#: Seconds without any message after which the connection is asked whether it lives; it has as long again to answer.
SILENCE = 10.0

#: Seconds between two tries to connect.
RECONNECT_PAUSE = 0.2

#: Channels in one SUBSCRIBE or UNSUBSCRIBE.
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Channel:
    """What to do with a channel; none of it may block or raise.

    ``confirmed`` is called after every (re)subscription: messages may have been missed before it, so it is the moment
    to read the state itself. ``lost`` is called when the connection is lost. What ``message`` returns is awaited before
    the next message is read: who has much to do holds up the server in this way, instead of the event loop.
    """

    message: Callable[[str], Awaitable[None] | None]
    confirmed: Callable[[], None]
    lost: Callable[[], None] | None = None


class Listener:
    """Listens on channels. The names are given without the namespace's prefix. Belongs to one event loop."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._channels: dict[str, Channel] = {}
        self._changed = asyncio.Event()
        self._drop: set[str] = set()
        self._add: set[str] = set()
        self._pubsub: Any = None
        self._lost = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen; does nothing when it has begun."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep_subscribed())]

    async def close(self) -> None:
        """End the connection; does nothing when it was never begun."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def add(self, names: Iterable[str], channel: Channel) -> None:
        """Subscribe to channels; ``confirmed`` follows for each."""
        for name in names:
            full = self._store.prefix + name
            self._channels[full] = channel
            self._add.add(full)
            self._drop.discard(full)
        self._changed.set()

    def remove(self, names: Iterable[str]) -> None:
        """Unsubscribe from channels; unknown ones are ignored."""
        for name in names:
            full = self._store.prefix + name
            if self._channels.pop(full, None) is not None:
                self._drop.add(full)
                self._add.discard(full)
        self._changed.set()

    async def _listen(self) -> None:
        while not cancel_asked():
            try:
                async with self._store.redis.pubsub() as pubsub:
                    await self._connected(pubsub)
                    while not cancel_asked() and await self._receive(pubsub):
                        pass
            except (RedisError, OSError) as exc:
                level = logging.DEBUG if self._lost else logging.WARNING  # said once, not at every try
                self._lost = True
                logger.log(level, "Lost the connection for news of Redis: %s", exc, extra={"action": "listen"})
            finally:
                self._pubsub = None
                self._tell_lost()
            await asyncio.sleep(RECONNECT_PAUSE)

    def _tell_lost(self) -> None:
        for channel in self._channels.values():
            if channel.lost is not None:
                channel.lost()

    async def _connected(self, pubsub: redis.asyncio.client.PubSub) -> None:
        await pubsub.connect()
        self._lost = False
        self._drop.clear()
        self._add = set(self._channels)
        self._pubsub = pubsub
        self._changed.set()

    async def _receive(self, pubsub: redis.asyncio.client.PubSub) -> bool:
        message = await pubsub.get_message(timeout=SILENCE)
        if message is None:
            await pubsub.ping()
            message = await pubsub.get_message(timeout=SILENCE)
        if message is None:
            logger.warning("Redis is silent; connecting again", extra={"action": "listen"})
            return False
        channel = self._channels.get(message["channel"] or "")
        if channel is not None and message["type"] == "message":
            busy = channel.message(message["data"])
            if busy is not None:
                await busy
        elif channel is not None and message["type"] == "subscribe":
            channel.confirmed()
        return True

    async def _keep_subscribed(self) -> None:
        while not cancel_asked():
            await self._changed.wait()
            self._changed.clear()
            pubsub = self._pubsub
            if pubsub is None:
                continue  # _connected subscribes to everything
            add, self._add = self._add, set()
            drop, self._drop = self._drop, set()
            try:
                for some in _chunks(sorted(add)):
                    await pubsub.subscribe(*some)
                for some in _chunks(sorted(drop)):
                    await pubsub.unsubscribe(*some)
            except (RedisError, OSError) as exc:
                logger.debug("Could not subscribe, the connection is lost: %s", exc)


def cancel_asked() -> bool:
    """Tell whether the current task was cancelled, also when something on the way swallowed that.

    ``asyncio.wait_for`` of Python 3.11, which redis-py writes with, loses a cancellation that comes when it is done.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _chunks(names: list[str]) -> Iterable[list[str]]:
    return (names[start : start + CHUNK] for start in range(0, len(names), CHUNK))
