"""What all frozen values have in common."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


class Value(BaseModel):
    """A frozen pydantic value that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_enum_values=False)


class MappingValue(Value):
    """A frozen value that can also be read like a dict: ``result["status"]``, ``"error" in result``."""

    def __getitem__(self, name: str) -> Any:
        if name not in type(self).model_fields:
            raise KeyError(name)
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in type(self).model_fields

    def keys(self) -> Iterator[str]:
        """Return the names of the fields."""
        return iter(type(self).model_fields)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field's value, or the default when there is no such field."""
        return self[name] if name in self else default


def with_near_names(exc: ValidationError, known: Sequence[str], *, what: str) -> ValidationError:
    """Return an error that tells of unknown fields alone, each with the nearest known one; others stay as they are.

    A misspelt field is missing under its right name, too, so what else was refused would mislead.
    """
    lines = []
    for one in exc.errors(include_url=False):
        if one["type"] == "extra_forbidden" and len(one["loc"]) == 1:
            near = difflib.get_close_matches(str(one["loc"][0]), known, n=1)
            hint = f"perhaps {near[0]!r} is meant" if near else f"they are: {', '.join(known)}"
            text = {"text": f"This is no field of {what}; {hint}"}
            problem = PydanticCustomError("extra_forbidden", "{text}", text)
            lines.append(InitErrorDetails(type=problem, loc=one["loc"], input=one["input"]))
    return ValidationError.from_exception_data(exc.title, lines) if lines else exc
