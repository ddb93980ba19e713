"""Celery's AMQP layer where it meets pools: a message for a pool becomes one submit, and kombu never consumes one.

Given to an app as ``Celery(amqp=PoolAMQP)`` or by ``install(app)``. Everything that is no pool's stays stock Celery.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery import current_task, signals
from celery.app.amqp import AMQP, Queues
from kombu import Consumer, Exchange, Queue
from kombu.serialization import dumps
from pydantic import ValidationError

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.message import render, spec_data
from mahavishnu_pools.broker.signing import HEADER, Signer
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.tasks import Choice, Envelope, republish, submit

if TYPE_CHECKING:
    from mahavishnu_pools.store.client import SyncStore

#: Celery priority (0 first) of a call that names none: the middle, as for every other task of this project.
DEFAULT_BUCKET = names.celery_priority(5)

#: Name of the app's attribute that makes its store at first use.
STORE_FACTORY = "_mahavishnu_store"

#: Name of the app's attribute with the signer of messages, or None.
SIGNER = "_mahavishnu_signer"

#: Name of the app's attribute with the router of pools.
ROUTER = "_mahavishnu_router"


class PoolConsumer(Consumer):
    """A consumer that knows pool queues (``inspect active_queues`` lists them) but never takes messages from them."""

    def _consume_queues(self, queues: dict[str, bool | None]) -> None:
        super()._consume_queues({name: no_ack for name, no_ack in queues.items() if not names.pool_of(name)})


class PoolQueues(Queues):
    """Celery's queues; those of pools use the default exchange, so that no binding key is left behind by a pool."""

    def new_missing(self, name: str) -> Queue:
        """Return the queue for a name that was not configured."""
        if names.pool_of(name):
            return Queue(name, exchange=Exchange(""), routing_key=name)
        return super().new_missing(name)

    def _add(self, queue: Queue) -> Queue:
        added = super()._add(queue)
        if names.pool_of(added.name):
            added.exchange, added.routing_key = Exchange(""), added.name
        return added


class PoolAMQP(AMQP):
    """Celery's AMQP with pools."""

    Consumer = PoolConsumer
    queues_cls = PoolQueues

    def _create_task_sender(self) -> Callable[..., Any]:
        stock = super()._create_task_sender()

        def send_task_message(producer: Any, name: str, message: Any, **options: Any) -> Any:
            pool_id = _target(options)
            if pool_id is None:
                return stock(producer, name, message, **options)
            return self._to_pool(name, message, pool_id, options)

        return send_task_message

    def _to_pool(self, name: str, message: Any, pool_id: str, options: dict[str, Any]) -> None:
        headers = {**message.headers, **(options.get("headers") or {})}
        properties = _properties(message, options)
        headers.pop(HEADER, None)  # a task that sends itself again takes its headers along
        body = _encoded(message.body, options.get("serializer") or self._serializer())
        envelope = _envelope(headers, properties, body, message.body, signer=getattr(self.app, SIGNER, None))
        sent = {"body": message.body, "headers": headers, "properties": properties, "declare": []}
        place = {"exchange": "", "routing_key": names.queue_of(pool_id), "retry_policy": None}
        signals.before_task_publish.send(sender=name, **sent, **place)
        store = self._store()
        if headers.get("retries") or _replaces_itself(headers["id"]):
            lease, due = os.environ.get("MAHAVISHNU_LEASE", ""), _epoch(headers.get("eta"))
            if not store.run(republish(envelope, pool_id=pool_id, due=due, lease=lease)):
                raise errors.PoolGone.of(pool_id)
        else:
            (submitted,) = store.run(submit([envelope], Choice("pool", pool=pool_id)))
            if submitted.task_id != envelope.task_id:
                raise errors.TaskExists.of(submitted.task_id)
        del sent["declare"], sent["properties"], place["retry_policy"]
        signals.after_task_publish.send(sender=name, **sent, **place)

    def Router(self, queues: Any = None, create_missing: bool | None = None) -> Any:  # noqa: N802 - Celery's name
        """Return Celery's router with that of pools first, also when the app was configured anew after ``install``."""
        router = super().Router(queues, create_missing)
        own = getattr(self.app, ROUTER, None)
        if own is not None and own not in router.routes:
            router.routes = [own, *router.routes]
        return router

    def _serializer(self) -> str:
        return str(self.app.conf.task_serializer)

    def _store(self) -> SyncStore:
        factory = getattr(self.app, STORE_FACTORY, None)
        if factory is None:
            raise errors.InvalidConfig(
                "This Celery app has no pools. Call mahavishnu_pools.celery.install(app) once, where the app is made."
            )
        store: SyncStore = factory()
        return store


def _replaces_itself(task_id: str) -> bool:
    """Tell whether the running task sends a message under its own id (``self.replace``, ``self.retry``)."""
    return bool(current_task) and current_task.request.id == task_id


def _target(options: dict[str, Any]) -> str | None:
    """Return the pool a message goes to, or None; explicit routing (as in a retry) wins over the queue."""
    if not options.get("exchange") and options.get("routing_key"):
        found = names.pool_of(str(options["routing_key"]))
        if found:
            return found
    queue = options.get("queue")
    if queue is None or (options.get("routing_key") and options.get("exchange")):
        return None
    return names.pool_of(queue if isinstance(queue, str) else queue.name)


#: Options of a call that describe the way, not the message.
_NO_PROPERTIES = frozenset(
    [
        "exchange",
        "routing_key",
        "queue",
        "event_dispatcher",
        "retry",
        "retry_policy",
        "serializer",
        "delivery_mode",
        "compression",
        "declare",
        "headers",
        "exchange_type",
        "timeout",
        "confirm_timeout",
        "pool",
        "pool_selector",
        "pool_affinity",
    ]
)


def _properties(message: Any, options: dict[str, Any]) -> dict[str, Any]:
    extra = {name: value for name, value in options.items() if name not in _NO_PROPERTIES}
    priority = extra.pop("priority", None)
    bucket = DEFAULT_BUCKET if priority is None else min(9, max(0, int(priority)))
    task_id = message.headers["id"]
    return {**message.properties, **extra, "priority": bucket, "delivery_tag": task_id}


def _encoded(body: Any, serializer: str) -> str:
    """Return a body as base64 text."""
    content_type, encoding, data = dumps(body, serializer=serializer)
    if content_type != "application/json":
        raise errors.InvalidField.of("serializer", f"{serializer!r} cannot go to a pool", "Use serializer='json'.")
    raw = data if isinstance(data, bytes) else data.encode(encoding)
    return b64encode(raw).decode()


def _envelope(
    headers: dict[str, Any], properties: dict[str, Any], encoded: str, body: Any, *, signer: Signer | None
) -> Envelope:
    prefix, suffix = render(encoded, headers, properties, signer=signer)
    kind, spec = _described(headers["task"], body)
    return Envelope(
        task_id=headers["id"],
        kind=kind,
        spec=spec,
        bucket=properties["priority"],
        prefix=prefix,
        suffix=suffix,
        idempotency_key=_idempotency_key(headers["task"], body),
    )


def _described(task: str, body: Any) -> tuple[str, str]:
    """Return a task's type and specification for its record, which lists, moves and retries go by.

    Of a ``run_task`` that nothing follows these are its own; all else is a Celery task, which only its message tells.
    """
    args, kwargs, embed = body
    if task == names.RUN_TASK and len(args) == 1 and not kwargs and not any((embed or {}).values()):
        try:
            spec = TaskSpec.model_validate(args[0])
        except ValidationError:  # it may be another task's result; the worker says what is wrong with it
            return f"celery:{task}", ""
        return spec.task_type, json.dumps(spec_data(spec))
    return f"celery:{task}", ""


def _idempotency_key(task: str, body: Any) -> str | None:
    """Return the key of a ``run_task`` call; other Celery tasks have none."""
    if task != names.RUN_TASK or not body[0] or not isinstance(body[0][0], dict):
        return None
    key = body[0][0].get("idempotency_key")
    return key if isinstance(key, str) else None


def _epoch(iso: str | None) -> float | None:
    return datetime.fromisoformat(iso).timestamp() if iso else None
