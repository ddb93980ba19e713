"""Hears what Redis publishes on a channel of ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from redis.exceptions import RedisError

from mahavishnu_pools.store import keys
from mahavishnu_pools.store.client import AsyncStore

logger = logging.getLogger(__name__)

#: Seconds between two looks at whether the connection is still there.
_LOOK_PERIOD = 1.0

_RECONNECT_PAUSE = 0.25


async def hear(
    store: AsyncStore, channel: str, *, heard: Callable[[str], None], begun: Callable[[], None] | None = None
) -> None:
    """Hand on each message of a channel (a name in ``keys``) until the connection is lost.

    ``begun`` is called after the subscription. What is published while nobody hears is gone.
    """
    try:
        async with store.redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(keys.key(channel, prefix=store.prefix))
            if begun is not None:
                begun()
            while True:
                message = await subscription.get_message(timeout=_LOOK_PERIOD)
                if message is not None:
                    heard(str(message["data"]))
    except (RedisError, OSError) as exc:
        logger.debug("The channel %s is not heard now: %s", channel, exc)
        await asyncio.sleep(_RECONNECT_PAUSE)
