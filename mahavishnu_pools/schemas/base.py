"""What all frozen values have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict


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
