"""Tells Celery of tasks in groups and chords that ended without it: cancelled while they waited, or given up.

The store has their outcome; what Celery keeps of a chord it writes itself, with the user's app. The first worker that
has the app does that, as soon as there is one.
"""

from __future__ import annotations

import json
import logging
import threading
from secrets import token_hex
from typing import Any

from celery import Celery
from celery.app.task import Context
from celery.exceptions import BackendError
from kombu.exceptions import OperationalError
from kombu.serialization import prepare_accept_content
from redis.exceptions import RedisError

from mahavishnu_pools import errors
from mahavishnu_pools.broker.amqp import SIGNER
from mahavishnu_pools.schemas.task import TaskResult, TaskStatus
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.leases import next_untold
from mahavishnu_pools.store.tasks import read_tasks

from .channel import ClaimChannel

logger = logging.getLogger(__name__)

#: Celery's result backend or broker is away: later it may not be.
_AWAY = (RedisError, OperationalError, BackendError, OSError)


class Teller:
    """Tells one app; ``look`` has it look for what is to be told, in a thread that lives only for that."""

    def __init__(self, app: Celery, store: SyncStore, *, name: str, pool_id: str) -> None:
        self._app = app
        self._store = store
        self._name = name
        self._holder = token_hex(8)
        self._channel = ClaimChannel(pool_id, on_reject=lambda task_id, requeue: None)
        self._busy = threading.Lock()

    def look(self) -> None:
        """Begin to tell, unless it is being done; returns at once."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._tell_all, name="teller", daemon=True).start()
        except RuntimeError:  # no room for a thread now; the next answer to a claim says it again
            self._busy.release()

    def _tell_all(self) -> None:
        try:
            message = ""
            while message := self._store.run(next_untold(self._name, by=self._holder, told=message)):
                self._tell(json.loads(message))
        except (errors.RedisUnavailable, *_AWAY) as exc:
            logger.warning("Celery will be told of ended tasks later: %s", exc)
        finally:
            self._busy.release()

    def _tell(self, raw: dict[str, Any]) -> None:
        signer = getattr(self._app, SIGNER, None)
        if signer is not None and not signer.accepts(raw):
            return  # what is to follow it would be sent with this worker's own signature
        task_id = str(raw["headers"]["id"])
        (result,) = self._store.run(read_tasks([task_id]))
        if result is not None and (not result.done or result.ok):
            return  # it came to life again, and Celery sees to it
        try:
            self._mark(self._request(raw, task_id), result)
        except _AWAY:
            raise
        except Exception:  # the border of strangers' messages: what cannot be told is left out, the others are told
            logger.exception("Celery cannot be told that task %s has ended", task_id)

    def _request(self, raw: dict[str, Any], task_id: str) -> Context:
        message = self._channel.message(raw, task_id=task_id)
        message.accept = prepare_accept_content(self._app.conf.accept_content)
        args, kwargs, embed = message.decode()
        return Context(
            {**message.headers, **embed, "args": args, "kwargs": kwargs, "delivery_info": message.delivery_info}
        )

    def _mark(self, request: Context, result: TaskResult | None) -> None:
        backend = self._app.backend
        error = (result.error if result else None) or "It was cancelled."
        if result is None or result.status is TaskStatus.CANCELLED:
            backend.mark_as_revoked(request.id, error, request=request)
        else:
            kind = errors.TaskDead if result.status is TaskStatus.DEAD else errors.TaskFailed
            backend.mark_as_failure(request.id, kind(error), request=request)
