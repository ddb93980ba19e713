"""Values about waiting tasks that change their pool, and about pools that are drained or closed."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from mahavishnu_pools.schemas.base import MappingValue


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


class Drained(MappingValue):
    """What became of a pool that was drained.

    ``ended`` running tasks ended by themselves, ``handed_back`` wait again (the attempt does not count), ``running``
    cannot be ended from outside and go on, ``queued`` is what waits in the pool now.
    """

    pool_id: str
    name: str
    ended: int = 0
    handed_back: int = 0
    running: int = 0
    queued: int = 0


class ClosedPool(MappingValue):
    """What became of the tasks of a pool that was closed: ``cancelled`` ones had been waiting or running."""

    pool_id: str
    name: str
    cancelled: int = 0
    moves: tuple[TaskMove, ...] = ()

    @property
    def moved(self) -> int:
        """Return how many tasks went to other pools."""
        return total(self.moves)


def total(moves: Sequence[TaskMove]) -> int:
    """Return the number of tasks in some moves."""
    return sum(one.tasks for one in moves)
