"""Calls about tasks that need an approval: decided, expired, found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.approval import Decided, Decision, moment_of
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.store.calls import Call, pairs
from mahavishnu_pools.store.tasks import refused as not_routed

#: Tasks whose time to be approved of is over that one call ends.
EXPIRED_MOST = 100


@dataclass(frozen=True, slots=True)
class Gate:
    """What is known of a task at its gate: what was decided ('' when it needs none), what is to be done, and where.

    ``wish`` is None when it was submitted to ``pool`` and nowhere else.
    """

    decision: str
    spec: str
    pool: str
    wish: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Word:
    """Who decides, why ('' when nobody said), and the number of the request: a repeated one is carried out once."""

    by: str
    reason: str
    request: str


def read_gate(task_id: str) -> Call[Gate]:
    """Read whether a task awaits approval.

    Raises:
        TaskNotFound: there is no such task.
    """

    def parse(reply: list[str]) -> Gate:
        status, decision, spec, pool, more = reply
        if not status:
            raise errors.TaskNotFound.of(task_id)
        wish = json.loads(more)["approval"].get("wish") if more else None
        return Gate(decision, spec, pool, wish)

    return Call("approval_read", (task_id,), parse)


def approve(task_id: str, word: Word, choice: Choice, *, result_ttl: float) -> Call[Decision]:
    """Let a task run on the pool that is chosen now.

    Raises:
        TaskNotFound, InvalidField, AlreadyDecided: nothing is to be approved of.
        StaleRegistry, PoolGone, PoolNotFound, NoPoolAvailable: as in ``tasks.submit``; it still awaits approval.
    """

    def parse(reply: list[Any]) -> Decision:
        return _decision(reply, task_id, word, "approved")

    arguments = (choice.options(), task_id, word.by, word.reason, word.request, int(result_ttl * 1000))
    return Call("approve", arguments, parse)


def refuse(task_id: str, word: Word, *, result_ttl: float) -> Call[Decision]:
    """End a task that awaits approval.

    Raises:
        TaskNotFound, InvalidField, AlreadyDecided: nothing is to be refused.
    """

    def parse(reply: list[Any]) -> Decision:
        return _decision(reply, task_id, word, "refused")

    return Call("refuse", (task_id, word.by, word.reason, word.request, int(result_ttl * 1000)), parse)


def expire_approvals(*, result_ttl: float) -> Call[int]:
    """End some of the tasks that nobody approved of in time; returns how many."""
    return Call("approval_expire", (EXPIRED_MOST, int(result_ttl * 1000)), int)


def list_awaiting(*, most: int) -> Call[list[str]]:
    """Read the ids of tasks that await approval, those that expire first."""
    return Call("approval_list", (most,), lambda reply: list(reply[1::2]))


def look_at_awaiting(*, most: int) -> Call[tuple[int, dict[str, float]]]:
    """Read how many tasks await approval, and of those that expire first by id when they do."""
    return Call(
        "approval_list", (most,), lambda reply: (int(reply[0]), {k: float(v) for k, v in pairs(reply[1:]).items()})
    )


def _too_late(task_id: str, decision: str, by: str, reason: str) -> errors.AlreadyDecided:
    who, why = f" by {by}" if by else "", f" ({reason})" if reason else ""
    again = f"Send it again with: mahavishnu pools retry {task_id}"
    how = {
        "approved": f"was approved{who} before{why}. To stop it, cancel it: mahavishnu pools cancel {task_id}",
        "refused": f"was refused{who} before{why}. {again}",
        "expired": f"was not approved in time and is cancelled. {again}",
        "cancelled": f"was cancelled before{why}. {again}",
    }
    text = f"Task {task_id} {how.get(decision, f'is {decision}')}"
    return errors.AlreadyDecided(text, task_id=task_id, decision=decision, by=by or None, reason=reason or None)


def _decision(reply: list[Any], task_id: str, word: Word, wanted: Decided) -> Decision:
    if reply[0] == "ok":
        now = datetime.now(UTC)
        return Decision(
            task_id=task_id, decision=wanted, by=word.by, reason=word.reason or None, decided_at=now, pool_id=reply[1]
        )
    if reply[0] == "unknown":
        raise errors.TaskNotFound.of(task_id)
    if reply[0] == "none" and reply[1] == "waiting":
        problem = f"{task_id} waits for other tasks, and its approval is asked for when they have ended"
        raise errors.InvalidField.of("task_id", problem, f"See what it waits for: mahavishnu pools task {task_id}")
    if reply[0] == "none":
        raise errors.InvalidField.of("task_id", f"{task_id} needs no approval, it is {reply[1]}", "Name another one.")
    if reply[0] != "decided":
        not_routed(reply)
    _, decision, by, at, reason, pool = reply
    if decision != wanted:
        raise _too_late(task_id, decision, by, reason)
    return Decision(
        task_id=task_id,
        decision=wanted,
        by=by or None,
        reason=reason or None,
        decided_at=moment_of(at),
        pool_id=pool or None,
        again=True,
    )
