"""Values about approvals: what was decided about a task that needs one, by whom and when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from mahavishnu_pools.schemas.base import MappingValue

#: What may become of the question whether a task may run.
Decided = Literal["awaiting", "approved", "refused", "expired", "cancelled"]


class Approval(MappingValue):
    """Whether a task may run.

    ``expires_at`` is when it is cancelled unless somebody has decided. Times are aware UTC.
    """

    decision: Decided
    by: str | None = None
    reason: str | None = None
    decided_at: datetime | None = None
    expires_at: datetime | None = None

    @classmethod
    def of_record(cls, record: Mapping[str, str]) -> Approval | None:
        """Return what a task's record says; None when it needs no approval."""
        if "approval" not in record:
            return None
        return cls.model_validate(
            {
                "decision": record["approval"],
                "by": record.get("approval_by") or None,
                "reason": record.get("approval_reason") or None,
                "decided_at": moment_of(record.get("approval_at")),
                "expires_at": moment_of(record.get("approval_ends")),
            }
        )


class Decision(MappingValue):
    """The answer to who approved of a task or refused it. ``again``: the same had been decided before, as told here."""

    task_id: str
    decision: Decided
    by: str | None = None
    reason: str | None = None
    decided_at: datetime | None = None
    pool_id: str | None = None
    again: bool = False


def moment_of(text: str | None) -> datetime | None:
    """Return the time of a record (epoch seconds as text), None where there is none."""
    return datetime.fromtimestamp(float(text), UTC) if text else None
