"""Task type ``reduce``: one value of the results of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.task_types import ReducePayload, task_type

from ..executors.interface import Refused, RunContext
from .analyze import ranked_counts

#: Makes one JSON value of the results of a batch, which come in input order.
Reducer = Callable[[Sequence[TaskResult]], JsonValue]


@task_type("reduce", payload=ReducePayload, mode="call")
def reduce(payload: ReducePayload, context: RunContext) -> JsonValue:
    """Read the batch and reduce it.

    Raises:
        Refused: this worker cannot read batches.
        UnknownChoice: no reducer has this name.
    """
    if payload.reducer not in REDUCERS:
        raise Refused(errors.UnknownChoice.of("reducer", payload.reducer, list(REDUCERS)).message)
    reader: Callable[[str], Sequence[TaskResult]] | None = context.services.get("batch_reader")
    if reader is None:
        raise Refused("This worker cannot read the results of a batch. Submit the task to a pool of a running stack.")
    return REDUCERS[payload.reducer](reader(payload.batch_id))


def concat(results: Sequence[TaskResult]) -> JsonValue:
    """Return counts, and each item's value (its output where there is none; null for a failed item) in input order."""
    values = [_value(result) if result.ok else None for result in results]
    return {**_counts(results), "values": values}


def analysis(results: Sequence[TaskResult]) -> JsonValue:
    """Return the totals of ``analyze`` tasks: files, issues, issues by rule, and what failed with the reason."""
    by_rule: Counter[str] = Counter()
    issues = files = 0
    for result in results:
        if result.ok and isinstance(result.value, dict):
            issues += _number(result.value.get("issues"))
            listed = result.value.get("files")
            files += len(listed) if isinstance(listed, list) else 1
            rules = result.value.get("by_rule")
            by_rule.update({rule: _number(count) for rule, count in rules.items()} if isinstance(rules, dict) else {})
    failures: list[JsonValue] = [
        {"task_id": result.task_id, "error": result.error} for result in results if not result.ok
    ]
    ranked = ranked_counts(by_rule)
    return {"files": files, "issues": issues, "by_rule": ranked, "failed": len(failures), "failures": failures}


#: The reducers that exist without any configuration.
REDUCERS: Mapping[str, Reducer] = MappingProxyType({"concat": concat, "analysis": analysis})


def _counts(results: Sequence[TaskResult]) -> dict[str, JsonValue]:
    completed = sum(result.ok for result in results)
    return {"count": len(results), "completed": completed, "failed": len(results) - completed}


def _value(result: TaskResult) -> JsonValue:
    return result.output if result.value is None else result.value


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
