"""The table of claims of this process: what it holds, and what is to be done about each. Thread-safe."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from mahavishnu_pools.store.leases import Claim, Held
from mahavishnu_pools.tracing import TaskTrace

from .executors.interface import Cancellation
from .run_clock import RunClock


@dataclass(slots=True)
class Running:
    """One claim while this process holds it. ``ending`` is True once its finish is on the way.

    ``hand_back`` is True when its end was asked for so that it runs again, elsewhere or later. ``asked_at`` is when
    it was asked for, ``since`` when it came (seconds of the monotonic clock); with ``ahead`` that was before a worker
    was free for it. ``clock`` runs once a worker of ours has begun with it.
    """

    held: Held
    claim: Claim
    cancellation: Cancellation = field(default_factory=Cancellation)
    reason: str | None = None
    hand_back: bool = False
    ending: bool = False
    request: Any = None
    trace: TaskTrace | None = None
    since: float = field(default_factory=time.monotonic)
    asked_at: float = field(default_factory=time.monotonic)
    ahead: bool = False
    clock: RunClock | None = None


class ClaimTable:
    """Claims held by one lease, by task id. A lost lease empties it, so that late results find no claim."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}
        #: Those no worker has begun, the oldest first.
        self._waiting: dict[str, Running] = {}

    def __len__(self) -> int:
        return len(self._running)

    def add(self, running: Running) -> bool:
        """Take a claim in; False when it is there already (a repeated reply)."""
        with self._lock:
            known = self._running.get(running.held.task_id)
            if known is not None and known.held == running.held:
                return False
            self._running[running.held.task_id] = self._waiting[running.held.task_id] = running
            return True

    @property
    def waiting(self) -> int:
        """Return how many claims no worker has begun."""
        return len(self._waiting)

    def waiting_since(self, *, ahead: bool = False) -> float | None:
        """Return when the oldest claim that no worker has begun was claimed; None when there is none.

        With ``ahead`` only of those that were read ahead.
        """
        with self._lock:
            return next((one.since for one in self._waiting.values() if one.ahead or not ahead), None)

    def not_begun(self) -> list[Running]:
        """Return the claims that no worker has begun."""
        with self._lock:
            return list(self._waiting.values())

    def begin(self, running: Running) -> bool:
        """Note that a worker begins; False when the claim has ended, or is on its way to, and is not to be run."""
        with self._lock:
            if self._waiting.get(running.held.task_id) is not running:
                return False  # ended, and perhaps claimed again: that claim waits for its own turn
            del self._waiting[running.held.task_id]
            return not running.ending

    def get(self, task_id: str) -> Running | None:
        """Return the claim of a task, None when this process has none (any more)."""
        return self._running.get(task_id)

    def end(self, held: Held, *, unbegun: bool = False) -> Running | None:
        """Mark a claim as ending; None when it is not held or ending already, so only one caller ends it.

        With ``unbegun`` it is also None when a worker has begun.
        """
        with self._lock:
            running = self._running.get(held.task_id)
            if running is None or running.held != held or running.ending:
                return None
            if unbegun and held.task_id not in self._waiting:
                return None
            running.ending = True
            self._waiting.pop(held.task_id, None)
            return running

    def remove(self, held: Held) -> None:
        """Forget a claim whose end the store has confirmed."""
        with self._lock:
            running = self._running.get(held.task_id)
            if running is not None and running.held == held:
                del self._running[held.task_id]
                self._waiting.pop(held.task_id, None)

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
            running, self._running, self._waiting = list(self._running.values()), {}, {}
            return running
