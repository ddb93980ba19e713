"""Who follows what: readers run while somebody follows, and no longer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable

from mahavishnu_pools import errors
from mahavishnu_pools.server.live.topics import Follower, Topic

logger = logging.getLogger(__name__)

#: Pages that may be open at once.
FOLLOWERS_MOST = 100

#: A look that takes long is followed by a pause so many times as long, but of so many seconds at most: reading takes a
#: small share of a busy server.
REST, REST_MOST = 10.0, 10.0


class TooManyPages(errors.Unavailable):
    """So many pages are open that no further one is served."""

    code = "too_many_pages"


class Hub:
    """Keeps a reader for each thing that is followed. ``stopping`` ends all when it is set."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self._topics: dict[str, Topic] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._open = 0

    @contextlib.asynccontextmanager
    async def following(self, key: str, make: Callable[[], Topic], *, last: str = "") -> AsyncIterator[Follower]:
        """Follow what has this key, made when nobody follows it yet, until the end of the block.

        Raises:
            TooManyPages: no further page is served.
        """
        if self._open >= FOLLOWERS_MOST:
            raise TooManyPages(f"{FOLLOWERS_MOST} pages are open already. Close some, then try again.")
        self._open += 1
        follower = Follower(last=last)
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = make()
            self._readers[key] = asyncio.create_task(self._read(topic))
        topic.join(follower)
        ending = asyncio.create_task(self._end_with_server(follower))
        try:
            yield follower
        finally:
            self._open -= 1
            ending.cancel()
            topic.followers.discard(follower)
            if not topic.followers and self._topics.get(key) is topic:
                # Also when others were left because they were too slow: they leave this empty place alone.
                del self._topics[key]
                await _ended(self._readers.pop(key))

    async def _end_with_server(self, follower: Follower) -> None:
        await self._stopping.wait()
        follower.end()

    async def _read(self, topic: Topic) -> None:
        while True:
            began, well = time.monotonic(), False
            try:
                await topic.update()
                well = True
            except errors.MahavishnuError as exc:
                logger.debug("A page cannot be told anything: %s", exc, extra={"action": "page"})
            except Exception:  # the border of the reader: pages end and come again, and the log says why
                logger.exception("A page could not be read", extra={"action": "page_failed"})
                for follower in topic.followers:
                    follower.end()
            await asyncio.sleep(rest_after(time.monotonic() - began, pause=topic.pause, well=well))


def rest_after(took: float, *, pause: float, well: bool) -> float:
    """Return how long (s) to rest after a look; what took long because it failed is tried again soon."""
    return min(max(pause, REST * took), max(pause, REST_MOST)) if well else pause


async def _ended(reader: asyncio.Task[None]) -> None:
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
