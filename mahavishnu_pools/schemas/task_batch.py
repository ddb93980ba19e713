"""Values about batches: tasks that were sent together, and tasks that are sent again."""

from __future__ import annotations

from mahavishnu_pools.schemas.base import MappingValue
from mahavishnu_pools.schemas.contest import Contest


class TaskBatch(MappingValue):
    """The counts of a batch, its tasks in input order, and the task that reduces or judges them (None: none does).

    ``contest`` tells of one that is a race, a quorum or a best of n how it is decided, and how it was.
    """

    batch_id: str
    total: int
    successful: int
    failed: int
    reducer_id: str | None = None
    task_ids: tuple[str, ...]
    contest: Contest | None = None

    @property
    def done(self) -> bool:
        """Tell whether every task has its outcome."""
        return self.successful + self.failed >= self.total


class Retried(MappingValue):
    """Tasks that were sent again, as one new batch (None: nothing was).

    ``retried`` has the new id for each old one, ``skipped`` why another one was not sent again.
    """

    batch_id: str | None
    retried: dict[str, str]
    skipped: dict[str, str]
