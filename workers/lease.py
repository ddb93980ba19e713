"""The lease of a worker group: opened here, kept alive by the controller, or by a thread without one."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from mahavishnu_pools import errors
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.leases import open_lease, reap, refresh_leases

logger = logging.getLogger(__name__)


def own_start_time() -> float:
    """Return when this process started, as psutil tells it, so that pid and start time attest a death."""
    import psutil

    return float(psutil.Process(os.getpid()).create_time())


class Lease:
    """One consumer's lease. ``ttl`` and ``result_ttl`` are seconds."""

    def __init__(self, store: SyncStore, lease_id: str, *, pool_id: str, node: str, ttl: float) -> None:
        self.id = lease_id
        self._store = store
        self._pool_id = pool_id
        self._node = node
        self._ttl = ttl
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Make the lease.

        Raises:
            PoolNotFound: the pool is gone.
        """
        about = {"pool_id": self._pool_id, "node": self._node, "pid": os.getpid(), "started": own_start_time()}
        if not self._store.run(open_lease(self.id, ttl=self._ttl, **about)):  # type: ignore[arg-type]
            raise errors.PoolNotFound.of(self._pool_id)

    def keep_alive(self, on_lost: Callable[[], None]) -> None:
        """Refresh the lease in a thread of its own until closed; ``on_lost`` is called when it was reaped."""
        self._thread = threading.Thread(target=self._refresh, args=(on_lost,), name="lease", daemon=True)
        self._thread.start()

    def _refresh(self, on_lost: Callable[[], None]) -> None:
        while not self._stop.wait(self._ttl / 4):
            try:
                alive = self._store.run(refresh_leases([self.id], ttl=self._ttl))
            except errors.RedisUnavailable as exc:
                logger.warning("The lease could not be refreshed: %s", exc)
                continue
            if not alive[0]:
                on_lost()
                return

    def close(self, *, result_ttl: float, within: float) -> None:
        """Hand back what is still held and end the lease, trying for ``within`` seconds."""
        self._stop.set()
        deadline = time.monotonic() + within
        while True:
            try:
                while self._store.run(reap(self.id, cause="node", result_ttl=result_ttl)).left:
                    continue
                return
            except errors.RedisUnavailable as exc:
                if time.monotonic() > deadline:
                    logger.warning("The lease could not be closed, a reaper will do it: %s", exc)
                    return
