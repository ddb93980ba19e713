"""Calls about tasks: submit, route, read, cancel; batches."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mahavishnu_pools import errors, names
from mahavishnu_pools.schemas.approval import Approval
from mahavishnu_pools.schemas.dependency import Dependencies
from mahavishnu_pools.schemas.needs import Needs
from mahavishnu_pools.schemas.routing import Choice as Choice
from mahavishnu_pools.schemas.routing import Routing
from mahavishnu_pools.schemas.task import Got, TaskResult, TaskStatus
from mahavishnu_pools.store.calls import Argument, Call, pairs
from mahavishnu_pools.store.node_stock import waits_for
from mahavishnu_pools.store.pools import node_of
from mahavishnu_pools.wording import short


class StaleRegistry(Exception):
    """The candidates were chosen from an older registry; read the pools again and repeat."""


class Overlapping(Exception):
    """A run of a schedule was not started: the one before it, ``task_id``, has not ended."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id


@dataclass(frozen=True, slots=True)
class Envelope:
    """A task ready to be pushed: its record and its Celery message around the name of the queue.

    ``bucket`` is Celery's priority (0 first). ``expires`` is seconds of waiting, ``lost`` is ``fail`` or None.
    ``delegated`` says who is sent the outcome as a message (``bus.answers.asked_by``). ``approval`` has it wait at a
    gate: its ``timeout`` in seconds, and the ``wish`` its pool is chosen by then (none: the pool it is submitted to).
    ``needs`` is what it asks of its node (``Needs.text``). ``after`` has it wait for other tasks
    (``ids``), with the same ``wish``, the ``policy`` when one does not complete, and the ``need`` that says which pools
    can run it. ``name`` is what it is called. ``turn`` has it be a run of a schedule that is not to overlap
    (``store.schedules.turn``); it is then submitted alone.
    """

    task_id: str
    kind: str
    spec: str
    bucket: int
    prefix: str
    suffix: str
    idempotency_key: str | None = None
    expires: float | None = None
    lost: str | None = None
    delegated: str | None = None
    approval: Mapping[str, Any] | None = None
    needs: str | None = None
    after: Mapping[str, Any] | None = None
    name: str | None = None
    turn: Mapping[str, Any] | None = None

    def arguments(self) -> tuple[Argument, ...]:
        """Return the eight script arguments of this task."""
        given: tuple[tuple[str, Any], ...] = (("expires", self.expires), ("lost", self.lost))
        given += (("delegated", self.delegated), ("approval", self.approval), ("needs", self.needs))
        given += (("after", self.after), ("name", self.name))
        more = {name: value for name, value in given if value is not None}
        key = self.idempotency_key or ""
        tail = json.dumps(more) if more else ""
        return (self.task_id, self.kind, self.spec, self.bucket, self.prefix, self.suffix, key, tail)


@dataclass(frozen=True, slots=True)
class Submitted:
    """Where a task went; ``new`` is False when it had been submitted before (same id or idempotency key).

    ``held``: it awaits approval, and its pool is chosen again then. ``waiting``: so it does when those have
    ended that it comes after.
    """

    task_id: str
    pool_id: str
    new: bool
    held: bool = False
    waiting: bool = False


#: What helps when the named pool is drained or closes.
_ELSEWHERE = "Resume it ('mahavishnu pools resume POOL'), or name another pool."


def refused(reply: Sequence[Any]) -> None:
    """Raise what a reply to ``submit`` says why nothing was routed; nothing when it was."""
    if reply[0] == "ok":
        return
    if reply[0] == "stale":
        raise StaleRegistry
    if reply[0] == "gone":
        raise errors.PoolGone.of(reply[1])
    if reply[0] == "unknown":
        raise errors.PoolNotFound.of(reply[1])
    if reply[0] == "parent":
        raise no_such_parent(reply[1])
    if reply[0] == "overlap":
        raise Overlapping(reply[1])
    if reply[0] == "closing":
        raise errors.InvalidField.of("pool", f"{reply[1]!r} is {reply[2]} and takes no tasks", _ELSEWHERE)
    raise errors.NoPoolAvailable.of({})


def no_such_parent(task_id: str) -> errors.InvalidField:
    """Return the error for a task that comes after one nobody knows."""
    problem = f"no task has the id {short(task_id)}, or its record has expired"
    message = f"after: {problem}. Name a task that exists, or leave it out."
    return errors.InvalidField(message, field="after", parent=task_id)


def submit(
    envelopes: Sequence[Envelope],
    choice: Choice,
    *,
    client: str | None = None,
    batch: str | None = None,
    counted: str | None = None,
) -> Call[list[Submitted]]:
    """Route, record and push tasks in one step, all or none.

    ``client`` is told of the outcomes, ``batch`` gathers them, ``counted`` is the strategy to count the decisions
    under.

    Raises:
        StaleRegistry: the candidates are out of date.
        PoolGone, PoolNotFound, InvalidField: the named pool cannot be used.
        NoPoolAvailable: no candidate is active (without reasons; the caller knows them).
        Overlapping: it is a run of a schedule, and the one before has not ended.
    """
    rare = {"linked": _linked(envelopes), "turn": envelopes[0].turn if envelopes else None}
    flat: list[Argument] = [choice.options(client=client, batch=batch, counted=counted, **rare)]
    for envelope in envelopes:
        flat.extend(envelope.arguments())

    def parse(reply: list[Any]) -> list[Submitted]:
        refused(reply)
        return [Submitted(task_id, pool_id, new != "0", new == "2", new == "3") for task_id, pool_id, new in reply[1:]]

    return Call("submit", tuple(flat), parse)


def _linked(envelopes: Sequence[Envelope]) -> bool | None:
    return any(envelope.after is not None for envelope in envelopes) or None


def route(choice: Choice) -> Call[str]:
    """Choose a pool for a message that is pushed in a second step; raises like ``submit``."""

    def parse(reply: list[Any]) -> str:
        refused(reply)
        return str(reply[1])

    return Call("route", (choice.options(counted=choice.label),), parse)


def republish(envelope: Envelope, *, pool_id: str, due: float | None, lease: str = "") -> Call[bool]:
    """Run a Celery task that asked for a retry again at ``due`` (epoch seconds, None: now); False: no such pool.

    ``lease`` is that of the worker group that asks (empty: unknown); one that no longer has the task changes nothing.
    """
    message = f"{envelope.prefix}{names.queue_of(pool_id)}{envelope.suffix}"
    when = "" if due is None else f"{due:.6f}"
    return Call("republish", (envelope.task_id, pool_id, envelope.bucket, message, when, lease), bool)


def cancel(task_id: str, *, reason: str, result_ttl: float) -> Call[str]:
    """Ask for a task's end: ``cancelled`` (it never ran), ``asked`` (it is running), or the status of its outcome.

    Raises:
        TaskNotFound: there is no such task.
    """

    def parse(reply: list[str]) -> str:
        if reply[0] == "unknown":
            raise errors.TaskNotFound.of(task_id)
        return reply[0]

    return Call("cancel", (int(result_ttl * 1000), reason, task_id), parse)


def cancel_many(task_ids: Sequence[str], *, reason: str, result_ttl: float) -> Call[list[str]]:
    """Ask for the end of tasks, some hundreds a call; the answers are those of ``cancel``, or ``unknown``."""
    return Call("cancel", (int(result_ttl * 1000), reason, *task_ids), list)


def cancel_waiting(pool_id: str, *, most: int, reason: str, result_ttl: float) -> Call[tuple[int, int]]:
    """Cancel the ``most`` oldest tasks that wait in a pool.

    Returns how many messages left the pool, and how many tasks were cancelled: some had their outcome before.
    """
    arguments = (pool_id, most, int(result_ttl * 1000), reason)
    return Call("pool_empty", arguments, lambda reply: (int(reply[0]), int(reply[1])))


def read_tasks(task_ids: Sequence[str]) -> Call[list[TaskResult | None]]:
    """Read what is known of tasks, in the order asked; None for ids that are unknown or expired."""
    return Call("task_read", tuple(task_ids), lambda reply: [_result(*entry) for entry in reply])


def told_of(news: str, wanted: Container[str]) -> dict[str, TaskResult | None]:
    """Return the tasks that a client's channel tells of, with what ``read_tasks`` returns where it tells that.

    None stands for what it does not tell, and for what is not ``wanted``.

    Raises:
        ValueError: this is no such news.
    """
    ids, _, entries = news.partition("\n\n")
    told: dict[str, TaskResult | None] = dict.fromkeys(ids.split("\n"))
    try:
        found = {entry[0]: entry for entry in json.loads(entries)} if entries else {}
        return told | {task_id: _result(*found[task_id]) for task_id in found if task_id in wanted}
    except (TypeError, LookupError) as exc:
        raise ValueError(f"no news of tasks: {news[:80]!r}") from exc


def read_specs(task_ids: Sequence[str]) -> Call[list[str | None]]:
    """Read the submitted specifications (JSON) of tasks; None where there is none."""
    return Call("task_read", tuple(task_ids), lambda reply: [pairs(entry[1]).get("spec") for entry in reply])


def read_recent(pool_id: str, *, limit: int = 1000) -> Call[list[str]]:
    """Read the ids of a pool's last finished tasks, newest first, at most 1000."""
    return Call("recent_read", (pool_id, limit), list)


def _time(text: str | None) -> datetime | None:
    return datetime.fromtimestamp(float(text), UTC) if text else None


def _outcome(record: dict[str, str], meta: str) -> dict[str, Any]:
    if record.get("outcome"):
        return dict(json.loads(record["outcome"]))
    return dict(json.loads(meta)["result"]) if meta else {}


#: Fields of an outcome that a task's result takes over.
_OUTCOME_FIELDS = ("output", "value", "error", "exit_code", "metadata")


def _waits_for(record: dict[str, str], nodes: Sequence[Sequence[str]]) -> str | None:
    if "needs" not in record or "parked_at" not in record or record["status"] not in ("queued", "retrying"):
        return None
    living = [node_of(about, used=used) for about, used in nodes]
    return waits_for(Needs.of_text(record["needs"]), living)


def _result(task_id: str, flat: list[str], meta: str, nodes: Sequence[Sequence[str]] = ()) -> TaskResult | None:
    record = pairs(flat)
    if "status" not in record:
        return None
    outcome = _outcome(record, meta)
    started, finished = record.get("started"), record.get("finished")
    return TaskResult(
        task_id=task_id,
        pool_id=record.get("pool"),
        worker_id=outcome.get("worker_id") or record.get("worker"),
        task_type=record.get("type"),
        status=TaskStatus(record["status"]),
        duration=max(0.0, float(finished) - float(started)) if started and finished else None,
        attempts=int(record.get("attempts", 0)),
        created_at=_time(record.get("submitted") or record.get("created")),
        started_at=_time(started),
        finished_at=_time(finished),
        retry_at=_time(record.get("retry_at")),
        batch_id=record.get("batch"),
        approval=Approval.of_record(record),
        name=record.get("name"),
        dependencies=Dependencies.of_record(record),
        needs=Needs.of_text(record["needs"]).texts if "needs" in record else (),
        got=Got.model_validate_json(record["got"]) if "got" in record else None,
        waits_for=_waits_for(record, nodes),
        routing=None if "routing" not in record else Routing.of_text(record["routing"]),
        **{name: outcome[name] for name in _OUTCOME_FIELDS if outcome.get(name) is not None},
    )
