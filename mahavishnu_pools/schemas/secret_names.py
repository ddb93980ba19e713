"""Tells values that should be secret by the names of their variables. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_LOOKS_SECRET = re.compile(r"(?i)(^|_)(key|token|secret|passw(or)?d|credentials?)(_|$)|apikey")

#: Shorter values are switches and numbers, not secrets.
SHORTEST = 8


def looks_secret(name: str, value: str) -> bool:
    """Tell whether a variable looks like a secret; a path to a file with one does not."""
    return _is_of_secret(name) and len(value) >= SHORTEST and "/" not in value[:1]


@lru_cache(maxsize=1024)
def _is_of_secret(name: str) -> bool:
    # Every task is asked for the same variables: those of its worker.
    return bool(_LOOKS_SECRET.search(name))


def secret_in(env: Any, payload: Any) -> str | None:
    """Return the place of the first secret among a task's variables and those of its payload, as ``env.NAME``."""
    inner = payload.get("env") if isinstance(payload, Mapping) else None
    for place, variables in (("env", env), ("payload.env", inner)):
        for name, value in variables.items() if isinstance(variables, Mapping) else ():
            if isinstance(name, str) and isinstance(value, str) and looks_secret(name, value):
                return f"{place}.{name}"
    return None
