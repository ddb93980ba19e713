"""What a server says of itself; what it does not say (managed servers, limited users) is None."""

from __future__ import annotations

from typing import Any

from redis.exceptions import RedisError, ResponseError

from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.server import is_lost, translate

#: What is asked of the server's configuration.
_CONFIG = ("maxmemory-policy", "maxclients", "save", "appendfsync", "dir")


class ServerFacts(Value):
    """Version, persistence and limits of a server. ``maxmemory`` is None when there is no limit.

    ``data_dir`` is where it keeps its files.
    """

    version: str | None = None
    role: str | None = None
    append_only: bool | None = None
    appendfsync: str | None = None
    snapshots: bool | None = None
    last_write_ok: bool | None = None
    data_dir: str | None = None
    used_memory: int | None = None
    maxmemory: int | None = None
    maxmemory_policy: str | None = None
    maxclients: int | None = None
    clients: int | None = None


async def read_server_facts(store: AsyncStore) -> ServerFacts:
    """Ask the server.

    Raises:
        RedisUnavailable: it does not answer.
    """
    info = await _ask(store, "INFO")
    config = await _config(store)
    writes = [info.get(name) for name in ("aof_last_write_status", "rdb_last_bgsave_status") if name in info]
    version = info.get("valkey_version") or info.get("redis_version")
    return ServerFacts(
        version=None if version is None else str(version),
        role=_text(info, "role"),
        append_only=bool(info["aof_enabled"]) if "aof_enabled" in info else None,
        appendfsync=config.get("appendfsync"),
        snapshots=bool(config["save"]) if "save" in config else None,
        last_write_ok=all(one == "ok" for one in writes) if writes else None,
        data_dir=config.get("dir"),
        used_memory=_number(info, "used_memory"),
        maxmemory=_number(info, "maxmemory") or None,
        maxmemory_policy=config.get("maxmemory-policy") or _text(info, "maxmemory_policy"),
        maxclients=_number(config, "maxclients") or _number(info, "maxclients"),
        clients=_number(info, "connected_clients"),
    )


async def _config(store: AsyncStore) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _CONFIG:
        found.update(await _ask(store, "CONFIG GET", name))
    return found


async def _ask(store: AsyncStore, command: str, *arguments: str) -> dict[str, Any]:
    try:
        answer: Any = await (store.redis.info() if command == "INFO" else store.redis.config_get(*arguments))
    except (RedisError, OSError) as exc:
        if isinstance(exc, ResponseError) and not is_lost(exc):
            return {}  # hidden from this user, or on a managed server
        raise translate(exc, url=store.url) from exc
    return dict(answer)


def _text(found: dict[str, Any], name: str) -> str | None:
    return str(found[name]) if name in found else None


def _number(found: dict[str, Any], name: str) -> int | None:
    try:
        return int(found[name])
    except (KeyError, ValueError, TypeError):
        return None
