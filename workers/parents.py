"""What a task is told of those it comes after: read when it runs, and cut so that it fits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.dependency import ParentResult
from mahavishnu_pools.schemas.task import Outcome, TaskResult
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.dependencies import Ended, read_parents
from mahavishnu_pools.store.tasks import read_tasks

from .executors.interface import RunContext

#: The variable that holds all of it as JSON.
VARIABLE = "MAHAVISHNU_PARENTS"

#: Results read in one call: each may be a MiB.
READ_CHUNK = 20

#: Bytes that all of it may take as JSON: an environment variable holds it, and 128 KiB are the most one may have.
BYTES_MOST = 96 * 1024

#: Bytes of an error; and of what there is of a parent besides its output, value and error, at most.
_ERROR_MOST, _HEAD = 500, 220

#: Reads what a task comes after; None: its record does not say so.
ParentReader = Callable[[str], tuple[ParentResult, ...] | None]


def parent_reader(store: SyncStore) -> ParentReader:
    """Return a function that reads the results of what a task comes after, in the order in which it names them."""

    def read(task_id: str) -> tuple[ParentResult, ...] | None:
        ended = store.run(read_parents(task_id))
        if ended is None:
            return None
        share = _Share.of(len(ended))
        found: list[ParentResult] = []
        for at in range(0, len(ended), READ_CHUNK):
            some = ended[at : at + READ_CHUNK]
            results = store.run(read_tasks([one.task_id for one in some]))
            found += [_told(one, result, share) for one, result in zip(some, results, strict=True)]
        return tuple(found)

    return read


@dataclass(frozen=True, slots=True)
class _Share:
    """Bytes that each parent's texts may take as JSON."""

    error: int
    rest: int

    @classmethod
    def of(cls, count: int) -> _Share:
        most = max(0, BYTES_MOST // max(1, count) - _HEAD)
        error = min(_ERROR_MOST, most // 4)
        return cls(error, most - error)


def as_json(parents: tuple[ParentResult, ...]) -> str:
    """Return them as the JSON text that tasks read, without what is not known; it is ASCII."""
    return json.dumps([one.model_dump(mode="json", exclude_none=True, exclude_defaults=True) for one in parents])


def _told(one: Ended, result: TaskResult | None, share: _Share) -> ParentResult:
    name = one.name or None
    if result is None:
        return ParentResult(task_id=one.task_id, name=name, status=one.status, expired=True)
    value, left = _value(result, share.rest // 2)
    output, error = _cut(result.output, share.rest - left), _cut(result.error, share.error)
    whole = (value, output, error) == (result.value, result.output, result.error)
    return ParentResult(
        task_id=one.task_id,
        name=name,
        status=one.status or result.status.value,
        output=output,
        value=value,
        error=error,
        exit_code=result.exit_code,
        truncated=not whole,
    )


def _value(result: TaskResult, most: int) -> tuple[Any, int]:
    """Return the value and the bytes it takes; None and 0 when it takes more than it may."""
    taken = 0 if result.value is None else len(json.dumps(result.value))
    return (result.value, taken) if taken <= most else (None, 0)


def _cut(text: str | None, most: int) -> str | None:
    """Return the beginning of a text that takes at most so many bytes as JSON."""
    if text is None or len(json.dumps(text)) <= most:
        return text
    kept = text[: max(0, most - 2)]
    while (taken := len(json.dumps(kept))) > max(2, most):
        kept = kept[: min(len(kept) - 1, int(len(kept) * most / taken))]
    return kept


def with_parents(context: RunContext) -> RunContext | Outcome:
    """Return a task's context with what those ended with that it comes after, or how it ends when that is not known."""
    if not context.spec.after:
        return context
    reader: ParentReader | None = context.services.get("parents")
    try:
        parents = None if reader is None else reader(context.task_id)
    except errors.Unavailable as exc:
        text = f"The results of what it comes after could not be read: {exc}"
        return Outcome(status="failed", error=text, retryable="connection")
    if parents is None:
        remedy = "Submit it with PoolManager, the command line or MCP, where it waits for them."
        return Outcome(status="failed", error=f"It comes after other tasks, and its record does not say so. {remedy}")
    # Whoever runs it elsewhere knows none of them.
    spec = context.spec.model_copy(update={"after": (), "env": {**context.spec.env, VARIABLE: as_json(parents)}})
    return replace(context, spec=spec, parents=parents)
