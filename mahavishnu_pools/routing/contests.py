"""What a contest is made of: candidates from tasks, worker types and pools, and the task that judges. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mahavishnu_pools import errors, names
from mahavishnu_pools.schemas.batch_payloads import JUDGE, JUDGE_CALL
from mahavishnu_pools.schemas.contest import ContestKind
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.task_types import REDUCER_PREFIX
from mahavishnu_pools.wording import short

if TYPE_CHECKING:
    from mahavishnu_pools.store.pools import PoolRecord

#: Candidates that a contest may have: all are submitted by one call.
CANDIDATES_MOST = 32

#: The longest time (s) that a contest may be given.
DEADLINE_MOST = 366 * 86400.0

#: Task types that a judge may be given as, beside reducers.
_JUDGES = {"prompt": JUDGE, "python": JUDGE_CALL}

#: What may be said of a judge; it starts by itself when the others have ended.
_JUDGE_FIELDS: tuple[str, ...] = ("prompt", "task_type", "payload", "timeout", "priority", "max_retries", "worker_type")
_JUDGE_FIELDS += ("cwd", "env", "secrets", "memory", "metadata")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task of a contest, and the pool (id or name) it was given, None: one is chosen."""

    spec: TaskSpec
    pool: str | None


@dataclass(frozen=True, slots=True)
class Rules:
    """How candidates are made of tasks, and how one of them wins; ``deadline`` is the seconds all of it may take."""

    kind: ContestKind
    needed: int | None = None
    agree: bool = False
    judge: TaskSpec | None = None
    pools: tuple[str, ...] = ()
    worker_types: tuple[str, ...] = ()
    copies: int = 1
    deadline: float | None = None


def rules_key(tasks: Sequence[TaskSpec]) -> str | None:
    """Return the idempotency key of a contest: the one its tasks have.

    Raises:
        InvalidField: they have several.
    """
    keys = {task.idempotency_key for task in tasks}
    if len(keys) > 1:
        raise errors.InvalidField.of("idempotency_key", "differs between the tasks", "Give all of them the same.")
    return next(iter(keys), None)


def batch_of(key: str | None) -> str:
    """Return the id of a contest's batch: a new one, or always the same for a key."""
    if key is None:
        return names.new_batch_id()
    return names.BATCH_ID_PREFIX + hashlib.sha256(f"contest {key}".encode("utf-8", "surrogatepass")).hexdigest()[:24]


def candidates_of(tasks: Sequence[TaskSpec], rules: Rules) -> list[Candidate]:
    """Return a candidate for each task with each worker type on each pool, so often as copies are wanted.

    Raises:
        InvalidField: they are fewer than two or too many, come after others, share a session, as many as are needed
            cannot succeed, or the deadline is no time.
    """
    remedies = {"after": "Submit it when the others have ended.", "session": "Leave it out: each has its own."}
    for name, remedy in remedies.items():
        if any(getattr(task, name) for task in tasks):
            raise errors.InvalidField.of(name, "is nothing that a candidate can have", remedy)
    if not _whole(rules.copies) or rules.copies < 1:
        raise errors.InvalidField.of("copies", f"is {rules.copies!r}", "Give a whole number from 1 on.")
    worker_types, pools = rules.worker_types or (None,), rules.pools or (None,)
    count = len(tasks) * len(worker_types) * len(pools) * rules.copies
    if not 2 <= count <= CANDIDATES_MOST:
        ways = "Give several prompts, pools or worker types, or copies."
        number = "only 1 candidate" if count == 1 else f"{count} candidates"
        raise errors.InvalidField.of("tasks", f"make {number}, from 2 to {CANDIDATES_MOST} can take part", ways)
    _check_needed(rules, count)
    _check_deadline(rules.deadline)
    each = [_own(task, worker_type) for task in tasks for worker_type in worker_types]
    return [Candidate(spec, pool) for spec in each for pool in pools for _ in range(rules.copies)]


def _check_needed(rules: Rules, count: int) -> None:
    if rules.kind is ContestKind.BEST_OF:
        if rules.judge is None:
            raise errors.InvalidField.of("judge", "is missing", "Say who names the best answer: a prompt, for example.")
        return
    if rules.needed is None or not _whole(rules.needed) or not 1 <= rules.needed <= count:
        raise errors.InvalidField.of(
            "needed", f"is {rules.needed!r}, of {count} candidates", f"Give a whole number from 1 to {count}."
        )


def _check_deadline(deadline: object) -> None:
    if deadline is None:
        return
    if isinstance(deadline, bool) or not isinstance(deadline, int | float) or not 0 < deadline <= DEADLINE_MOST:
        raise errors.InvalidField.of(
            "deadline", f"is {deadline!r}", f"Give seconds above 0, at most {DEADLINE_MOST:.0f} (a year)."
        )


def _whole(number: object) -> bool:
    """Tell whether it is a whole number, as a caller without types may not have given one."""
    return isinstance(number, int) and not isinstance(number, bool)


def several(values: Sequence[str], *, name: str) -> tuple[str, ...]:
    """Return what a caller gave as a list, each once.

    Raises:
        InvalidField: it is a text.
    """
    if isinstance(values, str):
        raise errors.InvalidField.of(name, f"is a text: {short(values)}", "Give a list of them.")
    return tuple(dict.fromkeys(values))


def _own(task: TaskSpec, worker_type: str | None) -> TaskSpec:
    """Return what one candidate is to do: none is bound to a pool, and the key is that of the contest."""
    changes = {"idempotency_key": None, "affinity": None}
    return task.model_copy(update=changes if worker_type is None else {**changes, "worker_type": worker_type})


def judge_of(judge: TaskSpec, batch_id: str) -> TaskSpec:
    """Return the task that reads the answers of a batch and names the best.

    Raises:
        InvalidField: a task of this type cannot judge, or something is said of it that a judge cannot have.
    """
    for name in sorted(judge.model_fields_set.difference(_JUDGE_FIELDS)):
        if getattr(judge, name) != TaskSpec.model_fields[name].get_default(call_default_factory=True):
            known = ", ".join(_JUDGE_FIELDS)
            raise errors.InvalidField.of("judge", f"cannot have {name}", f"It takes: {known}.")
    if judge.task_type.startswith(REDUCER_PREFIX):
        payload = {"batch_id": batch_id, "reducer": judge.task_type.removeprefix(REDUCER_PREFIX)}
        return _judging(judge, judge.task_type, payload)
    if judge.task_type not in _JUDGES:
        known = f"{', '.join(_JUDGES)} and {REDUCER_PREFIX}NAME"
        raise errors.InvalidField.of("judge", f"cannot be a task of type {judge.task_type!r}", f"These can: {known}.")
    if judge.text is not None:
        return _judging(judge, JUDGE, {"batch_id": batch_id, "prompt": judge.text})
    return _judging(judge, JUDGE_CALL, {**judge.payload, "batch_id": batch_id})


def _judging(judge: TaskSpec, kind: str, payload: Mapping[str, object]) -> TaskSpec:
    changes = {"task_type": kind, "payload": dict(payload), "prompt": None, "idempotency_key": None, "affinity": None}
    return judge.model_copy(update=changes)


def least_busy(pools: Sequence[PoolRecord], taken: Mapping[str, int]) -> str:
    """Return the id of the pool with the least to do for each worker; ``taken`` counts what each is to get besides."""

    def load(pool: PoolRecord) -> float:
        return (pool.queued + pool.running + taken.get(pool.pool_id, 0)) / max(1, pool.workers)

    return min(pools, key=load).pool_id
