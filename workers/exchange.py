"""One round trip of a worker group: what has ended is written, and work is claimed, in one pipeline."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.store import leases
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.client import SyncStore

from .claiming import Claiming
from .endings import Endings

logger = logging.getLogger(__name__)


class Exchange:
    """Done by one thread at a time; ``confirmed`` is told the store's verdict on each end."""

    def __init__(
        self,
        store: SyncStore,
        ended: Endings,
        claiming: Claiming,
        *,
        confirmed: Callable[[leases.Held, str], None],
    ) -> None:
        self._store = store
        self._ended = ended
        self._claiming = claiming
        self._confirmed = confirmed
        #: Set when the first claim was answered.
        self.first_answer = threading.Event()

    def step(self) -> bool:
        """Write what is finished and claim; True when there may be more to do at once.

        Raises:
            RedisUnavailable: nothing is lost; the same is sent again by the next step.
        """
        ended = self._ended.first()
        claim = self._claiming.next(ending=len(ended))
        calls: list[Call[Any]] = [*leases.together(ended), *([claim] if claim else ())]
        if not calls:
            return False
        asked = time.monotonic()
        replies = self._store.run_many(calls)
        self._claiming.ahead.answered(time.monotonic() - asked)
        self._sent(replies if claim is None else replies[:-1])
        if claim is None:
            return bool(self._ended)
        if isinstance(replies[-1], errors.RedisFull):
            logger.warning("Nothing is claimed: %s", replies[-1].message)
            self._claiming.requests.refused()
            return True
        more = self._claiming.answered(replies[-1])
        self.first_answer.set()
        return more or bool(self._ended)

    def _sent(self, replies: Sequence[list[leases.Ending] | errors.RedisFull]) -> None:
        for verdicts in replies:
            if isinstance(verdicts, errors.RedisFull):
                return
            for verdict in verdicts:
                self._confirmed(self._ended.confirmed(), verdict)
