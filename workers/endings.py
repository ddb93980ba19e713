"""Ends of claims on their way to the store: in order, many together, and none given up before it is confirmed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from mahavishnu_pools.store import leases
from mahavishnu_pools.store.calls import Call

#: Seconds that the end of a claim waits for others while its worker has the next task, and how many are enough.
LINGER, ENOUGH = 0.005, 40

#: The most that is sent at once.
SENT_MOST = 100

Ending = tuple[leases.Held, Call[Any]]


class Endings:
    """Filled by any thread, emptied by the claim loop's."""

    def __init__(self) -> None:
        self._all: deque[Ending] = deque()
        self._enough = threading.Event()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, held: leases.Held, call: Call[Any]) -> None:
        """Put the end of a claim behind the others."""
        self._all.append((held, call))
        if len(self._all) >= ENOUGH:
            self._enough.set()

    def first(self) -> list[Call[Any]]:
        """Return what is to be sent next; it stays until it is confirmed."""
        return [self._all[i][1] for i in range(min(len(self._all), SENT_MOST))]

    def confirmed(self) -> leases.Held:
        """Forget the first one, and return whose end it was."""
        return self._all.popleft()[0]

    def hurry(self) -> None:
        """End a wait for others."""
        self._enough.set()

    def linger(self, busy: Callable[[], bool]) -> None:
        """Wait for others, unless there is nothing to send, or somebody waits for it."""
        self._enough.clear()
        if 0 < len(self._all) < ENOUGH and busy():
            self._enough.wait(LINGER)
