"""What a Redis server must be like, and what its errors mean to users."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from mahavishnu_pools import errors
from mahavishnu_pools.redis_url import mask_url

#: The oldest server whose commands suffice.
OLDEST_REDIS = (6, 2)

#: Errors after which the same call may succeed: the connection or the server was away.
LOST = (redis.ConnectionError, redis.TimeoutError, BusyLoadingError, OSError)


def translate(exc: Exception, *, url: str) -> errors.MahavishnuError:
    """Return our error for one of the client library: what is wrong with the server, and what to do."""
    where = mask_url(url)
    if isinstance(exc, AuthenticationError) or "NOAUTH" in str(exc) or "WRONGPASS" in str(exc):
        return errors.RedisUnavailable(
            f"Redis at {where} refuses the user or password. Correct MAHAVISHNU_REDIS_URL.", url=where
        )
    if isinstance(exc, LOST):
        return errors.RedisUnavailable(
            f"Redis at {where} does not answer ({exc}). Start it, or correct MAHAVISHNU_REDIS_URL.", url=where
        )
    if _says(exc, "OOM "):
        return errors.RedisFull(
            f"Redis at {where} is full: what was asked is refused, what runs goes on. "
            "Raise its maxmemory, purge dead letters, or wait until results expire.",
            url=where,
        )
    if is_read_only(exc):
        return errors.RedisUnavailable(
            f"Redis at {where} is a replica that cannot be written to. Name the primary in MAHAVISHNU_REDIS_URL.",
            url=where,
        )
    return errors.RedisUnavailable(f"Redis at {where} refused a command: {exc}.", url=where)


def is_lost(exc: Exception) -> bool:
    """Tell whether an error is worth another try; a refused password is not."""
    return is_read_only(exc) or (isinstance(exc, LOST) and not isinstance(exc, AuthenticationError))


def is_read_only(exc: Exception) -> bool:
    """Tell whether the server became a replica: after a fail-over another connection reaches the new primary."""
    return _says(exc, "READONLY ")


def _says(exc: Exception, word: str) -> bool:
    # A script's error may quote the command's, and the library takes the word off where it knows it.
    kinds = {"OOM ": OutOfMemoryError, "READONLY ": ReadOnlyError}
    return isinstance(exc, kinds[word]) or (isinstance(exc, ResponseError) and word in str(exc))


def check_server(info: dict[str, Any], maxmemory_policy: str, url: str) -> None:
    """Refuse a server that cannot be used, from what ``INFO server`` and its configuration say.

    Raises:
        RedisUnavailable: it is too old, a cluster, or evicts keys.
    """
    version = tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2] if part.isdigit())
    if version < OLDEST_REDIS:
        raise errors.RedisUnavailable(
            f"Redis at {mask_url(url)} is version {info.get('redis_version')}; 6.2 or later is needed. Upgrade it.",
            url=mask_url(url),
        )
    if info.get("redis_mode") == "cluster":
        raise errors.RedisUnavailable(
            f"Redis at {mask_url(url)} is a cluster, which is not supported. Use a standalone server or Sentinel.",
            url=mask_url(url),
        )
    if maxmemory_policy not in ("noeviction", ""):
        raise errors.RedisUnavailable(
            f"Redis at {mask_url(url)} evicts keys when full (maxmemory-policy {maxmemory_policy}), "
            "which would lose tasks. "
            "Set maxmemory-policy to noeviction.",
            url=mask_url(url),
        )


async def policy_async(client: redis.asyncio.Redis) -> str:
    """Return what the server does when its memory is full, empty text when it does not say."""
    try:
        return str((await client.config_get("maxmemory-policy")).get("maxmemory-policy", ""))
    except ResponseError:  # managed servers hide CONFIG; then nothing can be said
        return ""


def policy_sync(client: redis.Redis) -> str:
    """Return what the server does when its memory is full, empty text when it does not say."""
    try:
        return str(client.config_get("maxmemory-policy").get("maxmemory-policy", ""))
    except ResponseError:  # managed servers hide CONFIG; then nothing can be said
        return ""
