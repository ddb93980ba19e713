"""What Celery's worker state holds for a task of ours: enough for ``inspect``, Flower and ``revoke``."""

from __future__ import annotations

import time
from typing import Any

from mahavishnu_pools import names
from mahavishnu_pools.store.leases import Claim

from .executors.interface import Cancellation


class PoolRequest:
    """Stands where Celery keeps a ``celery.worker.request.Request``."""

    def __init__(self, claim: Claim, *, hostname: str, args: str, cancellation: Cancellation, routing_key: str) -> None:
        self.id = self.task_id = claim.task_id
        self.name = self.task_name = names.RUN_TASK
        self.hostname = hostname
        self.time_start: float | None = None
        self.worker_pid: int | None = None
        self.acknowledged = False
        self._args = args
        self._cancellation = cancellation
        self._routing_key = routing_key

    def info(self, safe: bool = False) -> dict[str, Any]:
        """Return what ``inspect active`` and ``inspect reserved`` show."""
        return {
            "id": self.id,
            "name": self.name,
            "args": [self._args],
            "kwargs": {},
            "type": self.name,
            "hostname": self.hostname,
            "time_start": self.time_start,
            "acknowledged": self.acknowledged,
            "delivery_info": {"exchange": "", "routing_key": self._routing_key, "redelivered": False},
            "worker_pid": self.worker_pid,
        }

    def accepted(self, slot: int) -> None:
        """Note that a worker began to run the task."""
        self.time_start, self.worker_pid = time.time(), slot

    def terminate(self, pool: Any, signal: int | None = None) -> None:
        """End the task's process tree."""
        self._cancellation.cancel()

    cancel = terminate
