"""The table of claims of this process: what it holds, and what is to be done about each. Thread-safe."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from mahavishnu_pools.store.leases import Claim, Held
from mahavishnu_pools.tracing import TaskTrace

from .executors.interface import Cancellation


@dataclass(slots=True)
class Running:
    """One claim while this process holds it. ``ending`` is True once its finish is on the way.

    ``hand_back`` is True when its end was asked for so that it runs again, elsewhere or later.
    """

    held: Held
    claim: Claim
    cancellation: Cancellation = field(default_factory=Cancellation)
    reason: str | None = None
    hand_back: bool = False
    ending: bool = False
    request: Any = None
    trace: TaskTrace | None = None


class ClaimTable:
    """Claims held by one lease, by task id. A lost lease empties it, so that late results find no claim."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}

    def __len__(self) -> int:
        return len(self._running)

    def add(self, running: Running) -> bool:
        """Take a claim in; False when it is there already (a repeated reply)."""
        with self._lock:
            known = self._running.get(running.held.task_id)
            if known is not None and known.held == running.held:
                return False
            self._running[running.held.task_id] = running
            return True

    def get(self, task_id: str) -> Running | None:
        """Return the claim of a task, None when this process has none (any more)."""
        return self._running.get(task_id)

    def end(self, held: Held) -> Running | None:
        """Mark a claim as ending; None when it is not held or ending already, so only one caller ends it."""
        with self._lock:
            running = self._running.get(held.task_id)
            if running is None or running.held != held or running.ending:
                return None
            running.ending = True
            return running

    def remove(self, held: Held) -> None:
        """Forget a claim whose end the store has confirmed."""
        with self._lock:
            running = self._running.get(held.task_id)
            if running is not None and running.held == held:
                del self._running[held.task_id]

    def all(self) -> list[Running]:
        """Return every claim held now."""
        with self._lock:
            return list(self._running.values())

    def hand_back(self) -> None:
        """End what runs so that it waits again; Celery tasks and functions in our own threads cannot be ended so."""
        for running in self.all():
            running.hand_back = True
            running.cancellation.cancel(leave=True)

    def clear(self) -> list[Running]:
        """Forget everything (the lease is lost) and return what was held."""
        with self._lock:
            running, self._running = list(self._running.values()), {}
            return running
