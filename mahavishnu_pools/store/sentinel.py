"""Redis behind Sentinel: ``sentinel://[user:password@]host[:port][,host[:port]…]/service[/db]``.

Every new connection asks the sentinels for the primary. User and password are the primary's; those of the sentinels are
given as ``?sentinel_username=…&sentinel_password=…``. The protocol is that of the Redis documentation ("Guidelines for
Redis clients with support for Redis Sentinel"), as redis-py has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis import BlockingConnectionPool
from redis.asyncio import BlockingConnectionPool as AsyncBlockingConnectionPool
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.sentinel import Sentinel, SentinelConnectionPool

SCHEME = "sentinel://"

#: Where sentinels listen when nothing else is said.
SENTINEL_PORT = 26379

#: Names in the URL's query and what redis-py calls them.
_SENTINEL_LOGIN = {"sentinel_username": "username", "sentinel_password": "password"}


@dataclass(frozen=True, slots=True)
class Sentinels:
    """What a ``sentinel://`` URL says. ``login`` is for the sentinels, user and password for the primary."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    login: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """Return how to log in at the primary."""
        given = {"db": self.db, "username": self.username, "password": self.password}
        return {name: value for name, value in given.items() if value is not None}


class PrimaryPool(SentinelConnectionPool, BlockingConnectionPool):
    """A bounded pool of connections to whichever server is the primary; who finds all busy waits."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close connections, and with those in use the ones to the sentinels too."""
        super().disconnect(inuse_connections)
        if inuse_connections:
            for client in self.sentinel_manager.sentinels:
                client.close()


class AsyncPrimaryPool(AsyncSentinelConnectionPool, AsyncBlockingConnectionPool):
    """The same for coroutines."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close connections, and with those in use the ones to the sentinels too."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for client in self.sentinel_manager.sentinels:
                await client.aclose()


def parse_sentinels(url: str) -> Sentinels:
    """Read a ``sentinel://`` URL; ``Settings`` has checked its form."""
    parts = urlsplit(url)
    credentials, _, places = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    service, _, db = parts.path.strip("/").partition("/")
    query = dict(parse_qsl(parts.query))
    return Sentinels(
        hosts=tuple(_host(place) for place in places.split(",")),
        service=unquote(service),
        db=int(db or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
        login={theirs: query[ours] for ours, theirs in _SENTINEL_LOGIN.items() if ours in query},
    )


def primary_pool(url: str, **options: Any) -> PrimaryPool:
    """Return a pool of connections to the primary; ``options`` are those of redis-py's BlockingConnectionPool."""
    found = parse_sentinels(url)
    sentinel = Sentinel(list(found.hosts), sentinel_kwargs=_asking(found, options))
    return PrimaryPool(found.service, sentinel, **found.options, **options)  # type: ignore[no-untyped-call]


def async_primary_pool(url: str, **options: Any) -> AsyncPrimaryPool:
    """Return the same for coroutines."""
    found = parse_sentinels(url)
    sentinel = AsyncSentinel(list(found.hosts), sentinel_kwargs=_asking(found, options))
    return AsyncPrimaryPool(found.service, sentinel, **found.options, **options)  # type: ignore[no-untyped-call]


def _asking(found: Sentinels, options: dict[str, Any]) -> dict[str, Any]:
    times = ("socket_timeout", "socket_connect_timeout")
    return {**found.login, **{name: value for name, value in options.items() if name in times}}


def _host(place: str) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    return parts.hostname or "localhost", parts.port or SENTINEL_PORT
