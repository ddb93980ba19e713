"""Finished tasks as the statistics see them, read from memory records. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

#: Outcomes that count as failures; who cancels a task knows why.
FAILURES = frozenset({"failed", "timeout", "dead"})

#: Metadata that may name the repository a task worked on.
REPOSITORY_FIELDS = ("repository", "repo", "cwd", "workdir")

#: Servers that drop metadata are sent it in the text: ``pool_id:local task_id:…``.
_IN_TEXT = re.compile(r"\b(pool_id|pool_type|status|task_id|duration_seconds|repository|repo|cwd|workdir)[:=]\s?(\S+)")

#: Characters of a text that are searched for such marks.
_SEARCHED = 4000


@dataclass(frozen=True, slots=True)
class Execution:
    """One finished task. ``seconds`` is None when no duration is known, ``repository`` "" when none is."""

    moment: datetime
    pool_id: str
    pool_type: str
    status: str
    seconds: float | None
    error: str
    repository: str
    system_id: str = ""

    @property
    def failed(self) -> bool:
        """Tell whether the task failed."""
        return self.status in FAILURES


def execution_of(content: str, metadata: Mapping[str, JsonValue], moment: datetime) -> Execution:
    """Return what a record says; what its metadata lack is looked for in its text."""
    said: dict[str, JsonValue] = dict(_IN_TEXT.findall(content[:_SEARCHED]))
    known = {**said, **{name: value for name, value in metadata.items() if value is not None}}
    return Execution(
        moment=moment,
        pool_id=str(known.get("pool_id", "")),
        pool_type=str(known.get("pool_type", "")),
        status=str(known.get("status", "")),
        seconds=_seconds(known.get("duration_seconds")),
        error=str(known.get("error") or ""),
        repository=next((str(known[name]).rstrip("/") for name in REPOSITORY_FIELDS if known.get(name)), ""),
        system_id=str(known.get("source") or known.get("system_id") or ""),
    )


def _seconds(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
