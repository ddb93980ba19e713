"""What callers may give as a task: a TaskSpec, or a dict with its fields. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mahavishnu_pools import errors
from mahavishnu_pools.refusals import invalid_field
from mahavishnu_pools.schemas.task import TaskSpec

M = TypeVar("M", bound=BaseModel)


def task_spec(task: TaskSpec | Mapping[str, Any]) -> TaskSpec:
    """Return the specification.

    Raises:
        InvalidField: a key is unknown or a value cannot be used; the message names it.
    """
    if isinstance(task, TaskSpec):
        return task
    if not isinstance(task, Mapping):
        raise errors.InvalidField.of(
            "task", f"is a {type(task).__name__}", "Give a TaskSpec or a dict such as {'prompt': …}."
        )
    return build(TaskSpec, task)


def build(model: type[M], fields: Mapping[str, Any], *, also: Iterable[str] = ()) -> M:
    """Return a value made of the fields; ``also`` are names that a caller may have meant besides the model's.

    Raises:
        InvalidField: a key is unknown or a value cannot be used; the message names it.
    """
    known = model.model_fields
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(str(name), [*known, *also], n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"The fields are: {', '.join(known)}."
            raise errors.InvalidField.of(str(name), "is unknown", hint)
    try:
        return model.model_validate(dict(fields))
    except ValidationError as exc:
        raise invalid_field(exc, remedy="Correct it and try again.") from exc
