"""Turns how an attempt ended into what the store writes: our outcome, Celery's result, or a retry."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.store import leases
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.wording import whole_value

from .executors.usage import told

#: Retries of a cause that another attempt may cure, when the task does not say how many.
DEFAULT_RETRIES = 3

#: Seconds before the first retry; doubles with every attempt up to the second number.
RETRY_FIRST, RETRY_MOST = 1.0, 60.0

#: The exception that ``AsyncResult.get()`` raises for a status.
_EXCEPTIONS = {"failed": "TaskFailed", "timeout": "TaskTimeout", "dead": "TaskDead"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the writer of an outcome has to know of the attempt.

    ``started`` is in epoch seconds; ``waited`` seconds before that it was asked for, and it ran for ``duration``
    seconds.
    """

    held: leases.Held
    number: int
    worker_id: str
    task_type: str
    started: float
    duration: float
    waited: float = 0.0
    retries: int = 0


def retry_delay(retries: int) -> float:
    """Return the seconds until the next attempt after so many retries: exponential, with jitter over the upper half."""
    most = min(RETRY_MOST, RETRY_FIRST * 2.0**retries)
    return most * (0.5 + random.random() / 2)


def may_retry(outcome: Outcome, spec: TaskSpec, retries: int) -> bool:
    """Tell whether the task is to run again after so many retries: as it asks for, or the default of curable causes."""
    if outcome.final or outcome.status in ("completed", "cancelled"):
        return False
    allowed = spec.max_retries if spec.max_retries is not None else (DEFAULT_RETRIES if outcome.retryable else 0)
    return retries < allowed


def ending(outcome: Outcome, spec: TaskSpec, attempt: Attempt, *, result_ttl: float) -> Call[leases.Ending]:
    """Return the call that ends the claim: a retry, or the task's one outcome."""
    fields = _fields(outcome)
    besides = told(outcome, attempt.task_type, now=attempt.started + attempt.duration) if outcome.metadata else ""
    if may_retry(outcome, spec, attempt.retries):
        delay, ours = retry_delay(attempt.retries), _ours(fields, attempt)
        return leases.retry(attempt.held, outcome=ours, delay=delay, result_ttl=result_ttl, told=besides)
    return leases.finish(
        attempt.held,
        status=outcome.status,
        outcome=_ours(fields, attempt),
        meta=celery_meta(outcome, attempt, fields),
        result_ttl=result_ttl,
        told=besides,
        times=(attempt.waited, attempt.duration),
    )


def recorded(held: leases.Held, outcome: Outcome, *, result_ttl: float) -> Call[leases.Ending]:
    """Return the call that ends a claim of which Celery itself has stored the result."""
    text = _written(_fields(outcome))
    return leases.finish(held, status=outcome.status, outcome=text, meta="", result_ttl=result_ttl)


def again(held: leases.Held, outcome: Outcome, *, retries: int, result_ttl: float) -> Call[leases.Ending]:
    """Return the call that runs the task of a claim again later, after so many retries."""
    return leases.retry(held, outcome=_written(_fields(outcome)), delay=retry_delay(retries), result_ttl=result_ttl)


def dead(held: leases.Held, cause: str, *, result_ttl: float, told: bool = False) -> Call[leases.Ending]:
    """Return the call that gives a claim up as a dead letter; ``AsyncResult.get()`` raises TaskDead.

    ``told`` says that Celery has stored a result of its own, which stays.
    """
    result = _exception("mahavishnu_pools.errors", "TaskDead", cause)
    meta: dict[str, Any] = {"status": "FAILURE", "result": result, "traceback": None, "children": []}
    meta |= {"date_done": datetime.now(UTC).isoformat(), "task_id": held.task_id}
    text = _written({"status": "dead", "error": cause})
    return leases.finish(held, status="dead", outcome=text, meta="" if told else _written(meta), result_ttl=result_ttl)


def _ours(fields: dict[str, Any], attempt: Attempt) -> str:
    return _written({**fields, "worker_id": attempt.worker_id})


def _written(data: dict[str, Any]) -> str:
    """Return data as JSON; a half character, which a program's JSON can hold, would break whoever shows it."""
    text = json.dumps(data)
    return json.dumps(whole_value(data)) if "\\ud" in text else text


def _fields(outcome: Outcome) -> dict[str, Any]:
    return outcome.model_dump(mode="json", exclude_none=True, exclude={"retryable"})


def celery_meta(outcome: Outcome, attempt: Attempt, fields: dict[str, Any] | None = None) -> str:
    """Return the result as Celery's Redis backend stores it (``celery.backends.base``, ``_get_result_meta``).

    ``fields`` are those of the outcome as JSON data, when they are known already.
    """
    fields = _fields(outcome) if fields is None else fields
    now = datetime.now(UTC)
    if outcome.status == "completed":
        status, result = "SUCCESS", _celery_result(fields, attempt, now)
    elif outcome.status == "cancelled":
        status, result = "REVOKED", _exception("celery.exceptions", "TaskRevokedError", outcome.error or "cancelled")
    else:
        text = outcome.error or outcome.status
        status, result = "FAILURE", _exception("mahavishnu_pools.errors", _EXCEPTIONS[outcome.status], text)
    meta: dict[str, Any] = {"status": status, "result": result, "traceback": None, "children": []}
    return _written({**meta, "date_done": now.isoformat(), "task_id": attempt.held.task_id})


def _celery_result(fields: dict[str, Any], attempt: Attempt, now: datetime) -> dict[str, Any]:
    return {
        "task_id": attempt.held.task_id,
        "pool_id": attempt.held.pool_id,
        "worker_id": attempt.worker_id,
        "task_type": attempt.task_type,
        **fields,
        "duration": round(attempt.duration, 6),
        "attempts": attempt.number,
        "started_at": datetime.fromtimestamp(attempt.started, UTC).isoformat(),
        "finished_at": now.isoformat(),
    }


def _exception(module: str, name: str, message: str) -> dict[str, Any]:
    return {"exc_type": name, "exc_message": [message], "exc_module": module}
