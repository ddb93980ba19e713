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

_EVENT_OF = {"completed": "task-succeeded", "cancelled": "task-revoked"}


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

    def finished(self, running: Running, outcome: Outcome, duration: float) -> None:
        """An attempt is through."""
        request = running.request
        if request is None:
            return
        state.task_ready(request, successful=outcome.status == "completed")
        kind = _EVENT_OF.get(outcome.status, "task-failed")
        text = outcome.output[:256] if kind == "task-succeeded" else (outcome.error or outcome.status)
        if kind == "task-succeeded":
            self._send(kind, request.id, result=text, runtime=duration)
        elif kind == "task-failed":
            self._send(kind, request.id, exception=text, traceback="")
        else:
            self._send(kind, request.id, terminated=True, signum=None, expired=False)

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
