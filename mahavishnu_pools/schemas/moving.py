"""Values about waiting tasks that change their pool, and about pools that were drained or closed."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from mahavishnu_pools.schemas.base import MappingValue
from mahavishnu_pools.schemas.pool import PoolInfo


class TaskMove(MappingValue):
    """Tasks that go (or went) from one pool to another.

    ``priority`` is None for those that wait for their time (``waiting="delayed"``) or to run alone (``"suspects"``).
    """

    source: str
    target: str
    source_name: str
    target_name: str
    waiting: str = "queued"
    priority: int | None = None
    tasks: int


class PoolBalance(MappingValue):
    """How a pool stood before and after a rebalance; a load is (running + queued) ÷ workers."""

    pool_id: str
    name: str
    queued_before: int
    queued_after: int
    load_before: float
    load_after: float


class Rebalanced(MappingValue):
    """What a rebalance moved, or would move (``dry_run``). ``left_out`` says why a pool had no part in it, by name."""

    strategy: str
    dry_run: bool = False
    moved: int
    moves: tuple[TaskMove, ...] = ()
    pools: tuple[PoolBalance, ...] = ()
    left_out: dict[str, str] = Field(default_factory=dict)


class DrainedPool(PoolInfo):
    """A pool that was drained. ``ended`` running tasks ended by themselves, ``handed_back`` wait to run again."""

    ended: int = 0
    handed_back: int = 0


class ClosedPool(MappingValue):
    """A pool that was closed, and what became of its tasks: how many were cancelled, and which went to other pools."""

    pool_id: str
    name: str
    cancelled: int = 0
    moves: tuple[TaskMove, ...] = ()


def total(moves: Sequence[TaskMove]) -> int:
    """Return the number of tasks in some moves."""
    return sum(one.tasks for one in moves)
