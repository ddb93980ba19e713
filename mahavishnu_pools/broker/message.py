"""Builds the Celery messages (protocol 2, kombu's virtual envelope) of tasks submitted through this project.

The queue's name is not known before the script has routed the task, so a message is built as the text before it and the
text after it. Format: Celery "Message Protocol", version 2; kombu ``virtual.Channel.prepare_message``.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from mahavishnu_pools import errors, names, tracing
from mahavishnu_pools.broker.signing import HEADER, Signer
from mahavishnu_pools.schemas.secret_names import secret_in
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.tasks import Envelope

#: One encoder for all messages: making one takes as long as encoding a short message.
_encode = json.JSONEncoder(separators=(",", ":")).encode

#: Celery's "embed", the third part of a body: nothing follows the task.
_EMBED = _encode({"callbacks": None, "errbacks": None, "chain": None, "chord": None})


#: Seconds that a task awaits approval when it says nothing itself.
APPROVAL_TIMEOUT = 7 * 86400.0


def render(
    body: str, headers: Mapping[str, Any], properties: Mapping[str, Any], *, signer: Signer | None = None
) -> tuple[str, str]:
    """Return a message as the text before and after its queue's name.

    ``body`` is base64 text; ``properties`` lacks ``delivery_info``, which is added here with the routing key to come.
    """
    signature = {} if signer is None else {HEADER: signer.sign(body, headers)}
    message = {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {**headers, **signature},
        "properties": {**properties, "body_encoding": "base64", "delivery_mode": 2},
    }
    text = _encode(message)
    priority = int(properties.get("priority") or 0)
    # The last two braces close properties and the message; delivery_info goes before them.
    head = text[:-2] + ',"delivery_info":{"exchange":"","priority":' + str(priority) + ',"routing_key":"'
    return head, '"}}}'


def _body(spec: str) -> str:
    """Return the body for a specification that is JSON text already."""
    return b64encode(f"[[{spec}],{{}},{_EMBED}]".encode()).decode()


def _headers(task_id: str, task_type: str) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": names.RUN_TASK,
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "timelimit": [None, None],
        "eta": None,
        "expires": None,
        "argsrepr": f"<{task_type}>",
        "kwargsrepr": "{}",
        "origin": f"{os.getpid()}@{socket.gethostname()}",
        "ignore_result": False,
    }


def spec_data(spec: TaskSpec) -> dict[str, Any]:
    """Return a specification as JSON data, without fields that have their default."""
    return spec.model_dump(mode="json", exclude_defaults=True)


def refuse_secrets(env: Any, payload: Any) -> None:
    """Refuse a task whose own variables hold what should be secret.

    Raises:
        SecretInTheOpen: names the first one.
    """
    place = secret_in(env, payload)
    if place is not None:
        raise errors.SecretInTheOpen.at(place)


#: Fields of a specification that no choice of a pool looks at, and that may be long.
_LONG = frozenset({"prompt", "payload", "env", "metadata", "secrets", "after", "idempotency_key"})


def _after(spec: TaskSpec) -> dict[str, Any]:
    need = {name: value for name, value in spec_data(spec).items() if name not in _LONG}
    return {"ids": list(spec.after), "policy": spec.on_parent_failure, "need": need}


class Messages:
    """Writes the messages of one call, all in one trace; what tasks of a type and priority share is written once."""

    def __init__(self, signer: Signer | None = None) -> None:
        self._signer = signer
        self._trace = tracing.headers()
        #: None for what was written once: a form pays from the second time on.
        self._forms: dict[tuple[str, int], tuple[str, list[str], str] | None] = {}

    def write(self, task_id: str, spec: TaskSpec, text: str) -> tuple[str, str]:
        """Return the message of a task as ``render`` does; ``text`` is its specification as JSON."""
        bucket = names.celery_priority(spec.priority)
        known = spec.task_type, bucket
        if self._signer is not None or known not in self._forms:
            self._forms[known] = None
            return self._rendered(task_id, _body(text), *known)
        before, between, suffix = self._forms.get(known) or self._form(*known)
        return f"{before}{_body(text)}{task_id.join(between)}", suffix

    def _form(self, task_type: str, bucket: int) -> tuple[str, list[str], str]:
        """Return the text before the body, that between the places where the id is, and the text after the queue."""
        # Nobody can have given a type with these in it.
        task_id, body = secrets.token_hex(16), secrets.token_hex(16)
        prefix, suffix = self._rendered(task_id, body, task_type, bucket)
        before, after = prefix.split(body)
        form = self._forms[task_type, bucket] = before, after.split(task_id), suffix
        return form

    def _rendered(self, task_id: str, body: str, task_type: str, bucket: int) -> tuple[str, str]:
        properties = {"correlation_id": task_id, "priority": bucket, "delivery_tag": task_id}
        return render(body, {**_headers(task_id, task_type), **self._trace}, properties, signer=self._signer)


def envelope(spec: TaskSpec, *, task_id: str, max_bytes: int, messages: Messages | None = None) -> Envelope:
    """Build what the submit script needs for one task; who builds many has all written by the same ``messages``.

    Raises:
        SecretInTheOpen: a variable looks like a secret.
        PayloadTooLarge: the specification takes more than ``max_bytes`` as JSON.
    """
    if spec.env or "env" in spec.payload:
        refuse_secrets(spec.env, spec.payload)
    text = _encode(spec_data(spec))
    if len(text.encode("utf-8", "surrogatepass")) > max_bytes:
        raise errors.PayloadTooLarge.of(len(text), max_bytes)
    prefix, suffix = (messages or Messages()).write(task_id, spec, text)
    return Envelope(
        task_id=task_id,
        kind=spec.task_type,
        spec=text,
        bucket=names.celery_priority(spec.priority),
        prefix=prefix,
        suffix=suffix,
        idempotency_key=spec.idempotency_key,
        expires=spec.expires,
        lost="fail" if spec.on_worker_lost == "fail" else None,
        needs=spec.asks_for.text if spec.needs else None,
        approval=None if spec.approval is None else {"timeout": spec.approval_timeout or APPROVAL_TIMEOUT},
        after=_after(spec) if spec.after else None,
        name=spec.name,
    )
