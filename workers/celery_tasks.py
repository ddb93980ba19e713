"""Users' own Celery tasks on a pool: how they reach Celery's consumer, and how their claims end.

Celery runs them as it always does. The claim ends when Celery is through with the task in every respect (result stored,
chord part and callbacks sent), so a death before that runs it again: at least once, as with ``acks_late``.
"""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery.worker import state as worker_state

from mahavishnu_pools import names
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.store import leases
from mahavishnu_pools.store.calls import Call

from .channel import ClaimChannel
from .claims import ClaimTable, Running
from .outcome import DEFAULT_RETRIES, dead, recorded

logger = logging.getLogger(__name__)

#: Seconds before a task that Celery rejected with requeue runs again.
REJECT_DELAY = 1.0

#: The largest value of a Celery task that is copied into its record, in bytes of JSON; Celery's result has it in any
#: case.
VALUE_BYTES = 64 * 1024


@dataclass(slots=True)
class _Delivery:
    running: Running
    message: dict[str, Any]
    #: What Celery's ``task_postrun`` said: state and return value.
    state: str | None = None
    value: Any = None
    applied: bool = False
    #: The queue, no pool's, that the task sent itself to (``self.retry``, ``self.replace``).
    sent_to: str | None = None
    #: The end of the claim as the task itself wants it (``run_task`` inside a chain knows better than Celery).
    end: Call[Any] | None = None


class CeleryTasks:
    """Hands claims to Celery's consumer in Celery's own thread and ends them when their job is through."""

    def __init__(
        self,
        table: ClaimTable,
        *,
        pool_id: str,
        result_ttl: float,
        end: Callable[[leases.Held, Call[Any]], None],
    ) -> None:
        self._table = table
        self._end = end
        self._result_ttl = result_ttl
        self._channel = ClaimChannel(pool_id, on_reject=self._rejected)
        self.deliveries: dict[str, _Delivery] = {}
        self._waiting: deque[_Delivery] = deque()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._consumer: Any = None

    def close(self) -> None:
        """Close the wake-up pipe."""
        os.close(self._reader)
        os.close(self._writer)

    # ── towards Celery ──

    def take(self, running: Running, message: dict[str, Any]) -> None:
        """Queue a claim for Celery's consumer (called by the claim loop)."""
        delivery = _Delivery(running, message)
        self.deliveries[running.held.task_id] = delivery
        self._waiting.append(delivery)
        self.wake()

    def wake(self) -> None:
        """Have Celery's event loop look at what waits."""
        try:
            os.write(self._writer, b"x")
        except BlockingIOError:
            logger.debug("The wake-up pipe is full, so the loop is awake")

    def register(self, consumer: Any, hub: Any) -> None:
        """Follow a new event loop. What an earlier one lost (rate-limit buckets, timers) is handed over again."""
        self._consumer = consumer
        for delivery in list(self.deliveries.values()):
            if not delivery.applied and delivery not in self._waiting:
                self._waiting.append(delivery)
        hub.add_reader(self._reader, self._deliver)
        self.wake()

    def _deliver(self) -> None:
        while _drain(self._reader):
            continue
        while self._waiting:
            delivery = self._waiting.popleft()
            task_id = delivery.running.held.task_id
            if self._table.get(task_id) is not delivery.running:
                self.deliveries.pop(task_id, None)
                continue
            try:
                self._consumer.task_consumer.on_message(self._channel.message(delivery.message, task_id=task_id))
            except Exception as exc:  # the border of strangers' messages: an error here would end Celery's event loop
                logger.warning("Celery failed to take task %s", task_id, exc_info=True)
                self._dead(delivery, f"The message cannot be read: {type(exc).__name__}: {exc}")
                continue
            self._check(delivery)

    def _check(self, delivery: _Delivery) -> None:
        """End a message that Celery swallowed without running or rejecting it."""
        name = delivery.message["headers"]["task"]
        limited = self._consumer.task_buckets.get(name) is not None
        if delivery.applied or limited or delivery.running.ending:
            return
        if delivery.running.held.task_id in worker_state.revoked:
            # It was revoked by its id alone, or its time ran out on the way; Celery has written that down.
            self._finish(delivery, Outcome(status="cancelled", error="It was revoked, or had expired."))
        else:
            self._dead(delivery, "Celery could not read the message or does not accept its content type.")

    # ── from Celery ──

    def applied(self, task_id: str) -> None:
        """Note that Celery gave the task to the concurrency pool."""
        if delivery := self.deliveries.get(task_id):
            delivery.applied = True

    def end_with(self, task_id: str, end: Call[Any]) -> None:
        """End the claim of a task so once its job is through; earlier, its next run could meet the job of this one."""
        if delivery := self.deliveries.get(task_id):
            delivery.end = end

    def postrun(self, task_id: str, *, state: str | None, value: Any) -> None:
        """Note how a task ended, as Celery's signal says it."""
        if delivery := self.deliveries.get(task_id):
            delivery.state, delivery.value = state, value

    def sent(self, task_id: str, queue: str) -> None:
        """Note that a message with the id of a running task went to a queue."""
        if delivery := self.deliveries.get(task_id):
            delivery.sent_to = None if names.pool_of(queue) else queue

    def job_done(self, task_id: str) -> None:
        """End the claim of a task whose job is through."""
        delivery = self.deliveries.pop(task_id, None)
        if delivery is not None and not delivery.running.ending:
            self._end_claim(delivery)

    def _end_claim(self, delivery: _Delivery) -> None:
        held, ttl = delivery.running.held, self._result_ttl
        if delivery.end is not None and delivery.state is not None:
            self._end(held, delivery.end)
        elif delivery.state in ("RETRY", "IGNORED"):
            self._end(held, _released(delivery, result_ttl=ttl))
        elif delivery.state == "REJECTED":
            # Celery rejects in its own thread, later; what the task wanted is known now.
            self._reject(delivery, requeue=bool(getattr(delivery.value, "requeue", False)))
        elif delivery.state is None and delivery.running.claim.attempt <= DEFAULT_RETRIES:
            # Celery broke off before it stored a result (its backend was away): at least once means again.
            self._reject(delivery, requeue=True)
        else:
            self._finish(delivery, _outcome(delivery.state, delivery.value))

    def _finish(self, delivery: _Delivery, outcome: Outcome) -> None:
        self.deliveries.pop(delivery.running.held.task_id, None)
        self._end(delivery.running.held, recorded(delivery.running.held, outcome, result_ttl=self._result_ttl))

    def _rejected(self, task_id: str, requeue: bool) -> None:
        delivery = self.deliveries.get(task_id)
        # Of one that runs, the end of its job tells.
        if delivery is not None and not delivery.applied:
            self._reject(delivery, requeue=requeue)

    def _reject(self, delivery: _Delivery, *, requeue: bool) -> None:
        held = delivery.running.held
        if requeue:
            self.deliveries.pop(held.task_id, None)
            why = '{"error":"rejected with requeue"}'
            self._end(held, leases.retry(held, outcome=why, delay=REJECT_DELAY, result_ttl=self._result_ttl))
        else:
            name = delivery.message["headers"]["task"]
            cause = f"Celery rejected it: {delivery.value or f'is {name!r} a task of this worker?'}"
            # It knows no such task and has stored that; of one that rejects itself nothing is stored.
            self._dead(delivery, cause, told=delivery.value is None)

    def _dead(self, delivery: _Delivery, cause: str, *, told: bool = False) -> None:
        held = delivery.running.held
        self.deliveries.pop(held.task_id, None)
        self._end(held, dead(held, cause, result_ttl=self._result_ttl, told=told))


def _drain(fd: int) -> bool:
    try:
        return bool(os.read(fd, 4096))
    except BlockingIOError:
        return False


def _released(delivery: _Delivery, *, result_ttl: float) -> Call[Any]:
    """Give up the claim of a task that Celery stores no result of."""
    end = _end_without_result(delivery)
    text = end.model_dump_json(exclude_none=True, exclude_defaults=True)
    return leases.release(delivery.running.held, status=end.status, outcome=text, result_ttl=result_ttl)


def _end_without_result(delivery: _Delivery) -> Outcome:
    """Return what is to be recorded of such a task when it runs in no pool again."""
    if delivery.sent_to is not None:
        where = f"It sent itself on to the queue {delivery.sent_to!r}, which is no pool's."
        return Outcome(status="cancelled", error=f"{where} Celery's result tells how it ends there.")
    if delivery.state == "RETRY":
        return Outcome(status="failed", error="It asked for a retry without sending itself again (raise self.retry()).")
    return Outcome(status="completed")


def _outcome(state: str | None, value: Any) -> Outcome:
    if state == "SUCCESS":
        return Outcome(status="completed", value=_small(value))
    if state == "REVOKED":
        return Outcome(status="cancelled", error="It was revoked.")
    if state is None:
        return Outcome(status="failed", error="Celery could not store its result. Its log says why.")
    return Outcome(status="failed", error=f"{type(value).__name__}: {value}")


def _small(value: Any) -> Any:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        return None
    return value if len(text) <= VALUE_BYTES else None
