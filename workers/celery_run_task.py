"""``mahavishnu.run_task`` as a Celery task.

Alone it never runs here (the claim loop runs it faster); inside chains, groups and chords, and on queues that are no
pool's, Celery runs this body.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery, Task
from celery.exceptions import Ignore

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.run_task import RunTask
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.store.leases import Claim, Held, hand_back

from .claims import Running
from .outcome import again, may_retry, recorded

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.task import TaskSpec

    from .pool_group import PoolGroup

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
            parsed, outcome = group.runner.attempt(running, spec, worker_id)
            group.logs.finish(task.request.id)
            if outcome.status == "cancelled" and running.hand_back and running.reason is None:
                # It waits again: Celery is not to store a result, nor to start what follows.
                ttl = group.options.context.result_ttl
                group.celery.end_with(task.request.id, hand_back(running.held, result_ttl=ttl))
                raise Ignore
            _retry_or_remember(group, running, parsed, outcome)
            if outcome.status == "cancelled":
                reason = outcome.error or "It was cancelled."
                task.backend.mark_as_revoked(task.request.id, reason, request=task.request)
                raise Ignore
            return running, outcome
    return _run_outside(task, spec)


def _retry_or_remember(group: PoolGroup, running: Running, spec: TaskSpec, outcome: Outcome) -> None:
    """Have the task run again when it may, as alone; else have its own outcome written, not Celery's idea of it."""
    retries, held, ttl = running.claim.retries, running.held, group.options.context.result_ttl
    if may_retry(outcome, spec, retries):
        group.celery.end_with(held.task_id, again(held, outcome, retries=retries, result_ttl=ttl))
        raise Ignore
    group.celery.end_with(held.task_id, recorded(held, outcome, result_ttl=ttl))


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
