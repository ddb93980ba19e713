"""What a Redis server must be like, and what its errors mean to users."""

from __future__ import annotations

import re
from contextlib import suppress
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


#: What a server says of its disk when it refuses changes.
_DISK_REASON = re.compile(r"AOF file: (.+?)\.?(?: script: .*)?$")


def translate(exc: Exception, *, url: str, directory: str = "") -> errors.MahavishnuError:
    """Return our error for one of the client library: what is wrong with the server, and what to do.

    ``directory`` is that of the server's data, where somebody asked for it (``refuses_for_disk``).
    """
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
    if refuses_for_disk(exc):
        return _disk_full(exc, where, directory)
    if is_read_only(exc):
        return errors.RedisUnavailable(
            f"Redis at {where} is a replica that cannot be written to. Name the primary in MAHAVISHNU_REDIS_URL.",
            url=where,
        )
    return errors.RedisUnavailable(f"Redis at {where} refused a command: {exc}.", url=where)


async def told_async(
    exc: Exception, client: redis.asyncio.Redis, url: str, *, maybe: bool = False
) -> errors.MahavishnuError:
    """Return what ``translate`` does, with what the server can still be asked; ``maybe``: the call may be done."""
    directory = ""
    if refuses_for_disk(exc):
        with suppress(redis.RedisError, OSError):  # then the message does without
            directory = await setting_async(client, "dir")
    return _may_be_done(translate(exc, url=url, directory=directory), maybe)


def told_sync(exc: Exception, client: redis.Redis, url: str, *, maybe: bool = False) -> errors.MahavishnuError:
    """Return what ``told_async`` does."""
    directory = ""
    if refuses_for_disk(exc):
        with suppress(redis.RedisError, OSError):  # as above
            directory = setting_sync(client, "dir")
    return _may_be_done(translate(exc, url=url, directory=directory), maybe)


def _may_be_done(error: errors.MahavishnuError, maybe: bool) -> errors.MahavishnuError:
    return error.but(error.message, maybe_done=True) if maybe else error


def _disk_full(exc: Exception, where: str, directory: str) -> errors.RedisDiskFull:
    found = _DISK_REASON.search(str(exc))
    reason = found.group(1) if found else "its last snapshot failed"
    place = directory or "its data directory ('config get dir' tells it)"
    return errors.RedisDiskFull(
        f"Redis at {where} cannot write to its disk and refuses every change: {reason}. Make room in {place}, "
        "or look into its log; it goes on by itself when it can write again.",
        url=where,
        directory=directory or None,
    )


def refuses_for_disk(exc: Exception) -> bool:
    """Tell whether the server takes no changes because it cannot write them to its disk."""
    return _says(exc, "MISCONF ")


def maybe_done(exc: Exception) -> bool:
    """Tell whether a call may have been carried out though this came instead of its answer."""
    if not isinstance(exc, LOST) or isinstance(exc, (AuthenticationError, BusyLoadingError)):
        return False
    return not isinstance(exc.__cause__ or exc.__context__ or exc, (ConnectionRefusedError, FileNotFoundError))


def is_lost(exc: Exception) -> bool:
    """Tell whether an error is worth another try; a refused password is not."""
    return is_read_only(exc) or (isinstance(exc, LOST) and not isinstance(exc, AuthenticationError))


def is_read_only(exc: Exception) -> bool:
    """Tell whether the server became a replica: after a fail-over another connection reaches the new primary."""
    return _says(exc, "READONLY ")


def _says(exc: Exception, word: str) -> bool:
    # A script's error may quote the command's, and the library takes the word off where it knows it.
    kinds = {"OOM ": OutOfMemoryError, "READONLY ": ReadOnlyError}
    known = kinds.get(word)
    return (known is not None and isinstance(exc, known)) or (isinstance(exc, ResponseError) and word in str(exc))


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
    return await setting_async(client, "maxmemory-policy")


def policy_sync(client: redis.Redis) -> str:
    """Return what the server does when its memory is full, empty text when it does not say."""
    return setting_sync(client, "maxmemory-policy")


async def setting_async(client: redis.asyncio.Redis, name: str) -> str:
    """Return a setting of the server, empty text when it does not say."""
    try:
        return str((await client.config_get(name)).get(name, ""))
    except ResponseError:  # managed servers hide CONFIG; then nothing can be said
        return ""


def setting_sync(client: redis.Redis, name: str) -> str:
    """Return a setting of the server, empty text when it does not say."""
    try:
        return str(client.config_get(name).get(name, ""))
    except ResponseError:  # managed servers hide CONFIG; then nothing can be said
        return ""
