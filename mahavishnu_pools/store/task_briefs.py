"""Calls that list tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.schemas.task_brief import TaskBrief
from mahavishnu_pools.store.calls import Call

#: Tasks read in one call, so that the server is never blocked for long.
CHUNK = 500

#: Characters of a task's summary.
SUMMARY_LENGTH = 120


def read_briefs(task_ids: Sequence[str]) -> Call[list[TaskBrief]]:
    """Read what a list shows of tasks, in the order asked, at most ``CHUNK``; unknown and expired ones are left out."""
    return Call("task_brief", tuple(task_ids), lambda reply: [_brief(*entry) for entry in reply])


def read_next(pool_id: str, *, most: int) -> Call[list[str]]:
    """Read which tasks that wait in a pool start next, by priority and then the oldest first."""
    return Call("queue_next", (pool_id, most), list)


def summary_of(spec: str, *, complete: bool) -> str | None:
    """Return the prompt or the payload of a specification, or its beginning where only that is known."""
    text = spec
    if complete and spec:
        data = json.loads(spec)
        text = data.get("prompt") or json.dumps(data.get("payload", {}), ensure_ascii=False)
    text = " ".join(text.split())
    cut = text if complete and len(text) <= SUMMARY_LENGTH else text[: SUMMARY_LENGTH - 1] + "…"
    return cut if spec else None


def _brief(task_id: str, status: str, pool: str, worker: str, kind: str, *rest: Any) -> TaskBrief:
    created, started, finished, attempts, batch, head, complete, name, waits = rest
    return TaskBrief(
        task_id=task_id,
        pool_id=pool or None,
        worker_id=worker or None,
        task_type=kind or None,
        status=TaskStatus(status),
        summary=summary_of(head, complete=complete == "1"),
        attempts=int(attempts or 0),
        created_at=_moment(created),
        started_at=_moment(started),
        finished_at=_moment(finished),
        duration=max(0.0, float(finished) - float(started)) if started and finished else None,
        batch_id=batch or None,
        name=name or None,
        waits=int(waits) if waits else None,
    )


def _moment(text: str) -> datetime | None:
    return datetime.fromtimestamp(float(text), UTC) if text else None
