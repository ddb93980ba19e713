"""``mahavishnu.run_task`` as a Celery task.

Alone it never runs here (the claim loop runs it faster); inside chains, groups and chords, and on queues that are no
pool's, Celery runs this body.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.run_task import RunTask
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.store.leases import Claim, Held, hand_back

from .claims import Running

#: Name of the app's attribute with the pool groups of this worker process.
GROUPS = "_mahavishnu_groups"

_ERRORS = {"failed": errors.TaskFailed, "timeout": errors.TaskTimeout, "cancelled": errors.TaskCancelled}


def register(app: Celery) -> Task:
    """Register the task with an app."""

    def run_task(self: Task, spec: dict[str, Any]) -> dict[str, Any]:
        running, outcome = _run(self, spec)
        if outcome.status != "completed":
            raise _ERRORS[outcome.status](outcome.error or outcome.status)
        return {
            "task_id": running.held.task_id,
            **outcome.model_dump(mode="json", exclude_none=True, exclude={"retryable"}),
        }

    app.tasks.pop(names.RUN_TASK, None)
    return app.task(name=names.RUN_TASK, base=RunTask, bind=True, shared=False)(run_task)


def _run(task: Task, spec: dict[str, Any]) -> tuple[Running, Outcome]:
    for group in getattr(task.app, GROUPS, {}).values():
        running = group.table.get(task.request.id)
        if running is not None:
            worker_id = f"{threading.current_thread().name}@{group.options.context.node}"
            _, outcome = group.runner.attempt(running, spec, worker_id)
            group.logs.finish(task.request.id)
            if outcome.status == "cancelled" and running.hand_back and running.reason is None:
                # It waits again: Celery is not to store a result, nor to start what follows.
                ttl = group.options.context.result_ttl
                group.loop.end(running.held, hand_back(running.held, result_ttl=ttl))
                raise Ignore
            return running, outcome
    return _run_outside(task, spec)


def _run_outside(task: Task, spec: dict[str, Any]) -> tuple[Running, Outcome]:
    """Run on a worker that serves no pool: Celery's own guarantees hold, not ours."""
    from mahavishnu_pools.schemas.task import TaskSpec

    from .executors.interface import RunContext
    from .executors.registry import execute

    task_id = task.request.id
    running = Running(Held("", "", task_id, ""), Claim("", 1, task_id, ""))
    context = RunContext(
        task_id=task_id,
        pool_id="",
        worker_id=str(task.request.hostname),
        attempt=1 + int(task.request.retries or 0),
        spec=TaskSpec.model_validate(spec),
        worker_type=None,
        env=dict(os.environ),
        default_cwd=None,
        allowed_roots=(Path.cwd(),),
        log=_NoLog(),
        cancellation=running.cancellation,
    )
    return running, execute(context)


class _NoLog:
    """A log for runs that have no task record."""

    def write(self, stream: str, data: bytes) -> None:
        """Drop the output; the result holds it."""
