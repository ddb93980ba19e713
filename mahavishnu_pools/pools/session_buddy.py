"""Pool type ``session-buddy``: a bridge worker group that delegates each prompt to a Session-Buddy server over MCP."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from mahavishnu_pools import errors
from mahavishnu_pools.pools.interface import PoolType
from mahavishnu_pools.pools.mahavishnu import MahavishnuPool
from mahavishnu_pools.schemas.pool import FIXED_WORKERS, PoolConfig
from mahavishnu_pools.schemas.pool import SESSION_BUDDY as NAME

#: What ``extra_config`` may hold: the name of the secret that is the server's bearer token, and a file with the
#: certificates that vouch for the server.
OPTIONS = ("token_secret", "ca_file")


class SessionBuddyPool(MahavishnuPool):
    """A handle of a pool of this type. ``scale`` is refused: the server gives each pool exactly three workers."""


def _check(config: PoolConfig) -> None:
    workers = FIXED_WORKERS[NAME]
    for field, value in (("min_workers", config.min_workers), ("max_workers", config.max_workers)):
        if value != workers:
            raise errors.InvalidField.of(
                field, f"is {value}, but a {NAME} pool has exactly {workers} workers", "Leave it out; spawn more pools."
            )
    if config.replicas != 1:
        raise errors.InvalidField.of(
            "replicas", f"is {config.replicas}, but one node bridges to the server", "Leave it out; spawn more pools."
        )
    if config.worker_type is not None:
        raise errors.InvalidField.of(
            "worker_type", "is the server's affair", "Leave it out, or name it in the task for the server to use."
        )
    check_endpoint(config.endpoint, example="http://localhost:8678/mcp")
    _check_options(config.extra_config)


def check_endpoint(endpoint: str | None, *, example: str) -> None:
    """Refuse what is no address of an MCP server, or has a password in it; None is left to the caller.

    Raises:
        InvalidField: it cannot be used.
    """
    if endpoint is None:
        return
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password:
        raise errors.InvalidField.of(
            "endpoint",
            "is no address of an MCP server",
            f"Give one such as {example}; a token is named in extra_config: token_secret.",
        )


def _check_options(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if name not in OPTIONS or not isinstance(value, str) or not value:
            raise errors.InvalidField.of(
                f"extra_config: {name}",
                "is nothing that this pool type uses",
                f"It takes texts for {', '.join(OPTIONS)}.",
            )


SESSION_BUDDY = PoolType(NAME, check=_check, handle=SessionBuddyPool, scalable=False)
