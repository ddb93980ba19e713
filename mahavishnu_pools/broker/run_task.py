"""What is particular about sending ``mahavishnu.run_task`` through Celery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Task

from mahavishnu_pools import errors
from mahavishnu_pools.broker.message import refuse_secrets


class RunTask(Task):
    """The base of ``run_task``: a second call with the same idempotency key is the first one."""

    def apply_async(self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any) -> Any:
        """Send the task and return its ``AsyncResult``: that of the first one with its idempotency key.

        Raises:
            SecretInTheOpen: a variable looks like a secret.
            TaskExists: the caller wanted an id of its own (as chains, groups and chords do), and another has the key.
        """
        spec = args[0] if args else (kwargs or {}).get("spec")
        if isinstance(spec, Mapping):
            refuse_secrets(spec.get("env"), spec.get("payload"))
        try:
            return super().apply_async(args, kwargs, task_id, **options)
        except errors.TaskExists as exc:
            if task_id is not None:
                raise
            return self.AsyncResult(exc.task_id)
