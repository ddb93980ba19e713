"""Values about batches: tasks that were sent together, and tasks that are sent again."""

from __future__ import annotations

from mahavishnu_pools.schemas.base import MappingValue


class TaskBatch(MappingValue):
    """The counts of a batch, its tasks in input order, and the task that reduces them (None: none does)."""

    batch_id: str
    total: int
    successful: int
    failed: int
    reducer_id: str | None = None
    task_ids: tuple[str, ...]

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
