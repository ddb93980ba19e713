"""The bell of a pool: one thread that waits until somebody announces work. It costs one blocking command at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from mahavishnu_pools.store import keys
from mahavishnu_pools.store.client import SyncStore

logger = logging.getLogger(__name__)

#: Milliseconds one wait lasts; below the time-out of the bell's own client.
BLOCK_MS = 8000

#: Seconds between two tries while Redis does not answer.
PAUSE = 0.25


class Bell:
    """Calls ``ring`` when an entry newer than the ones known is in the pool's bell stream."""

    def __init__(self, store: SyncStore, pool_id: str, *, ring: Callable[[], None]) -> None:
        self._store = store
        self._stream = keys.key("bell", prefix=store.prefix, of=pool_id)
        self._ring = ring
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="bell", daemon=True)
        #: The entry that the last claim has seen.
        self.known = "0-0"

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end after its wait."""
        self._stop.set()

    def _listen(self) -> None:
        try:
            self._wait_and_ring()
        except Exception:  # the border of a client that was closed in the midst of a wait: it breaks in many ways
            if not self._stop.is_set():
                raise

    def _wait_and_ring(self) -> None:
        seen = self.known
        while not self._stop.is_set():
            seen = max(seen, self.known, key=_entry_order)
            try:
                found: Any = self._store.redis.xread({self._stream: seen}, block=BLOCK_MS)
            except (RedisError, OSError) as exc:
                logger.debug("The bell waits for Redis: %s", exc)
                self._stop.wait(PAUSE)
                continue
            if found:
                seen = found[0][1][-1][0] if isinstance(found, list) else next(iter(found.values()))[0][-1][0]
                self._ring()


def _entry_order(entry_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in entry_id.split("-"))
