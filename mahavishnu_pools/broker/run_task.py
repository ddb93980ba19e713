"""What is particular about sending ``mahavishnu.run_task`` through Celery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Task
from pydantic import ValidationError

from mahavishnu_pools import errors
from mahavishnu_pools.broker.message import refuse_secrets
from mahavishnu_pools.refusals import invalid_field
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.task_types import validate_payload


class RunTask(Task):
    """The base of ``run_task``: a second call with the same idempotency key is the first one."""

    def apply_async(self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any) -> Any:
        """Send the task and return its ``AsyncResult``: that of the first one with its idempotency key.

        Raises:
            InvalidField: the task has a field or payload that cannot be used. Where the caller gives the id, as chains
                do whose specification may be another task's result, the worker says so.
            SecretInTheOpen: a variable looks like a secret.
            TaskExists: the caller wanted an id of its own (as chains, groups and chords do), and another has the key.
        """
        spec = args[0] if args else (kwargs or {}).get("spec")
        if isinstance(spec, Mapping):
            refuse_secrets(spec.get("env"), spec.get("payload"))
            if task_id is None:
                _check(spec)
        try:
            return super().apply_async(args, kwargs, task_id, **options)
        except errors.TaskExists as exc:
            if task_id is not None:
                raise
            return self.AsyncResult(exc.task_id)


def _check(spec: Mapping[str, Any]) -> None:
    try:
        found = TaskSpec.model_validate(dict(spec))
    except ValidationError as exc:
        raise invalid_field(exc, remedy="Correct it and try again.") from exc
    fields = {"approval": "it is approved", "after": "those have ended", "needs": "a node has it free"}
    for field, until in fields.items():
        if getattr(found, field):
            remedy = f"Submit it with PoolManager, the command line or MCP, where it waits until {until}."
            raise errors.InvalidField.of(field, "cannot be asked for by way of Celery", remedy)
    # What a type that is not built in means, and whether anybody knows it, is known where the pools are.
    validate_payload(found, ai=True)
