"""Server-sent events over HTTP for one page, until it leaves, is too slow, or the server stops."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mahavishnu_pools.server.live.topics import Follower

if TYPE_CHECKING:
    from starlette.types import Receive, Send

logger = logging.getLogger(__name__)

#: Seconds without news after which a page is told that the connection lives; it counts on that.
HEARTBEAT = 10.0

#: Seconds that a page may take to receive a frame.
SLOW = 15.0

_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}


async def stream(follower: Follower, receive: Receive, send: Send) -> None:
    """Send a follower's frames until they end."""
    headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    leaving = asyncio.create_task(_until_left(follower, receive))
    try:
        async with asyncio.timeout(SLOW) as limit:
            await _send_all(follower, send, limit)
    except TimeoutError:
        logger.info("A page took nothing for %g s and was left.", SLOW, extra={"action": "page_slow"})
    finally:
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)


async def _send_all(follower: Follower, send: Send, limit: asyncio.Timeout) -> None:
    loop = asyncio.get_running_loop()
    body = b": hello\n\n"
    while True:
        limit.reschedule(loop.time() + SLOW)
        await send({"type": "http.response.body", "body": body, "more_body": True})
        limit.reschedule(None)
        try:
            async with asyncio.timeout(HEARTBEAT):
                frame = await follower.frames.get()
        except TimeoutError:
            frame = b": still here\n\n"
        if frame is None:
            limit.reschedule(loop.time() + SLOW)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        body = frame


async def _until_left(follower: Follower, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    follower.end()
