"""Read the pools straight from the store, which spares ``pools list`` the imports of a manager: a third of its time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.cli.which_stack import not_running, settings_in_force

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.pool import PoolInfo
    from mahavishnu_pools.settings import Settings


def read_pools(*, active_only: bool, pool_type: str | None) -> list[PoolInfo]:
    """Return the pools as ``PoolManager.list_pools`` does.

    Raises:
        PoolsDisabled: the settings switch pools off.
        StackNotRunning: no Redis is configured and no local stack is running.
        RedisUnavailable: it does not answer.
    """
    with _without_telemetry():
        from mahavishnu_pools.schemas.pool import ACTIVE_STATUSES
        from mahavishnu_pools.store import pools
        from mahavishnu_pools.store.client import REFUSED_PATIENCE, SyncStore

    settings = settings_in_force()
    if not settings.pools_enabled:
        raise errors.PoolsDisabled
    with SyncStore.from_settings(settings, _redis_url(settings)) as store:
        # Only for tries after an error; a server that answers slowly has the full time.
        store.timeout = min(store.timeout, REFUSED_PATIENCE)
        infos = [record.info() for record in store.run(pools.read_pools()).pools]
    return [
        info
        for info in infos
        if pool_type in (None, info.pool_type) and (not active_only or info.status in ACTIVE_STATUSES)
    ]


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Keep redis-py from loading OpenTelemetry, where that is installed: a fifth of the command's time, for nothing."""
    name = "opentelemetry"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment] # what Python takes for "there is no such module"
    try:
        yield
    finally:
        del sys.modules[name]


def _redis_url(settings: Settings) -> str:
    from mahavishnu_pools.embedded.stack import find_redis_url

    url = find_redis_url(settings)
    if url is None:
        raise not_running(settings)
    return url
