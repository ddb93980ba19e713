"""Tells Celery's worker state, and whoever listens to its events (Flower), what happens to tasks of ours."""

from __future__ import annotations

import itertools
import logging
from typing import Any

from celery.worker import state

from mahavishnu_pools import names
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.store.leases import Claim

from .claims import Running
from .request import PoolRequest

logger = logging.getLogger(__name__)


class TaskEvents:
    """Feeds ``celery.worker.state`` and, while Celery's consumer is connected, its event dispatcher."""

    def __init__(self, *, hostname: str, pool_id: str) -> None:
        self._hostname = hostname
        self._routing_key = names.queue_of(pool_id)
        self._slots = itertools.count(1)
        #: Celery's event dispatcher while its consumer is connected.
        self.dispatcher: Any = None

    def received(self, running: Running, headers: dict[str, Any]) -> None:
        """A claim arrived."""
        args = str(headers.get("argsrepr") or "")
        request = self._request(running.claim, running, args)
        running.request = request
        state.task_reserved(request)
        self._send("task-received", request.id, name=request.name, args=args, kwargs="{}")

    def started(self, running: Running) -> None:
        """A worker begins to run a claim."""
        request = running.request
        if request is not None:
            request.accepted(next(self._slots))
            state.task_accepted(request)
            self._send("task-started", request.id)  # the dispatcher adds the process id

    def finished(self, running: Running, outcome: Outcome, duration: float, *, again: bool = False) -> None:
        """An attempt is through; ``again`` says that the task has no outcome yet: it is retried or handed back."""
        request = running.request
        if request is None:
            return
        state.task_ready(request, successful=outcome.status == "completed")
        text = outcome.error or outcome.status
        if outcome.status == "completed":
            self._send("task-succeeded", request.id, result=outcome.output[:256], runtime=duration)
        elif outcome.status == "cancelled" and again:
            self._send("task-rejected", request.id, requeue=True)
        elif outcome.status == "cancelled":
            self._send("task-revoked", request.id, terminated=True, signum=None, expired=False)
        else:
            self._send("task-retried" if again else "task-failed", request.id, exception=text, traceback="")

    def _request(self, claim: Claim, running: Running, args: str) -> PoolRequest:
        return PoolRequest(
            claim,
            hostname=self._hostname,
            args=args,
            cancellation=running.cancellation,
            routing_key=self._routing_key,
        )

    def _send(self, kind: str, task_id: str, **fields: Any) -> None:
        dispatcher = self.dispatcher
        if dispatcher is None or not dispatcher.enabled or "task" not in (dispatcher.groups or {"task"}):
            return
        try:
            dispatcher.send(kind, uuid=task_id, **fields)
        except Exception:  # the border of observers: whatever keeps them from hearing of a task, the task goes on
            logger.warning("The event %s of task %s was not sent", kind, task_id, exc_info=True)
