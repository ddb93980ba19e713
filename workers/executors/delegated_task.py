"""What of a task goes to another instance, through which instances it came, and what its end there means here. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import JsonValue

from mahavishnu_pools.schemas.task import Outcome, TaskSpec

#: Where the metadata of a delegated task says where it comes from.
ORIGIN = "federation"

#: Instances that may delegate a task one after the other.
DEEPEST = 3

#: Characters an idempotency key may have.
_KEY_MOST = 200

#: Fields of a task that were this instance's affair, or have another name there.
_KEPT_HERE = frozenset(
    {"approval", "approval_timeout", "secrets", "idempotency_key", "affinity", "metadata"}
    | {"name", "after", "on_parent_failure"}
)

#: How the ends of tasks are called here: an attempt can be no dead letter.
_STATUSES: Mapping[str, Literal["completed", "failed", "timeout", "cancelled"]] = {
    "completed": "completed",
    "timeout": "timeout",
    "cancelled": "cancelled",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a task is delegated from: this instance, the pool and the task's id here."""

    instance: str
    pool_id: str
    task_id: str

    @property
    def key(self) -> str:
        """Return the idempotency key under which other instances know the task, whoever sends it how often."""
        key = f"federation:{self.instance}:{self.task_id}"
        if len(key) <= _KEY_MOST:
            return key
        return f"federation:{self.instance}:sha256:{hashlib.sha256(self.task_id.encode()).hexdigest()}"


def chain_of(spec: TaskSpec) -> tuple[str, ...]:
    """Return the ids of the instances that delegated a task before, the first one first."""
    said = spec.metadata.get(ORIGIN)
    chain = said.get("chain") if isinstance(said, dict) else None
    return tuple(str(one) for one in chain) if isinstance(chain, list) else ()


def loop_refusal(spec: TaskSpec, *, here: str, there: str) -> str | None:
    """Return why a task must not go from here to another instance, None: it may. Loops are refused, and long ways."""
    chain = (*chain_of(spec), here)
    shown = " → ".join((*chain, there))
    if there in chain:
        return f"It would come back to an instance that has delegated it: {shown}. Give the pools other endpoints."
    if len(chain) > DEEPEST:
        return f"It was delegated {DEEPEST} times already, no more is allowed: {shown}."
    return None


def request_of(spec: TaskSpec, origin: Origin, *, routed: bool) -> dict[str, JsonValue]:
    """Return a task as the tool ``pool_submit`` of another instance takes it; only what differs from the defaults.

    ``routed`` says that the instance chooses the pool, so that an affinity has a meaning there.
    """
    given: dict[str, JsonValue] = spec.model_dump(mode="json", exclude_defaults=True, exclude=set(_KEPT_HERE))
    chain: list[JsonValue] = [*chain_of(spec), origin.instance]
    told: dict[str, JsonValue] = {"chain": chain, "pool_id": origin.pool_id, "task_id": origin.task_id}
    given |= {"idempotency_key": origin.key, "metadata": {**spec.metadata, ORIGIN: told}}
    if routed and spec.affinity is not None:
        given |= {"pool_selector": "affinity", "pool_affinity": spec.affinity}
    return given


def outcome_of(task: Mapping[str, Any]) -> Outcome:
    """Return what the end of a task there (its record) means here. It is final: retries were the instance's affair."""
    status = str(task.get("status"))
    error, exit_code, metadata = task.get("error"), task.get("exit_code"), task.get("metadata")
    text = str(error) if error else None
    if status == "dead":
        text = f"It is a dead letter there: {text or 'without a reason'}"
    elif status == "refused":
        text = f"It was refused there: {text or 'without a reason'}"
    return Outcome(
        status=_STATUSES.get(status, "failed"),
        output=str(task.get("output") or ""),
        value=task.get("value"),
        error=text,
        exit_code=exit_code if isinstance(exit_code, int) else None,
        metadata=metadata if isinstance(metadata, dict) else {},
        final=True,
    )


def skipped(pieces: Sequence[tuple[str, str]], known: int) -> tuple[list[tuple[str, str]], int]:
    """Return pieces without their first ``known`` characters of output, and how many are still to be left out.

    Remarks (stream ``system``) are no output; they are left out while output is.
    """
    left: list[tuple[str, str]] = []
    for stream, text in pieces:
        if known and stream == "system":
            continue
        rest = text[known:]
        known -= len(text) - len(rest)
        if rest:
            left.append((stream, rest))
    return left, known
