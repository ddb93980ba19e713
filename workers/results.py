"""The result backend of users' Celery tasks on many threads: one client with few connections, not one a thread."""

from __future__ import annotations

from functools import partial
from typing import Any

#: The most connections that results of one worker process take; who finds them busy waits in line.
CONNECTIONS = 4

#: Seconds a thread waits for one of them; far above what a write takes.
WAIT = 30.0


def share_connections(backend: Any) -> None:
    """Bound the connections of a Redis result backend; any other backend, or one in use already, stays as it is."""
    from celery.backends.redis import RedisBackend
    from redis import BlockingConnectionPool

    if not isinstance(backend, RedisBackend) or type(backend)._get_pool is not RedisBackend._get_pool:
        return
    if "client" in backend.__dict__:
        return
    backend.connparams["max_connections"] = CONNECTIONS
    backend._ConnectionPool = partial(BlockingConnectionPool, timeout=WAIT)
