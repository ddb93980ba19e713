"""What is said of a batch while it is followed and no bar is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from mahavishnu_pools.cli.following import MOST_LINES, follow_batch
from mahavishnu_pools.cli.formats.choice import FormatName
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.task import DistributionResult
from mahavishnu_pools.schemas.task_batch import TaskBatch
from tests.fakes.cli_manager import task_result


class Manager:
    """Has one batch whose tasks end one by one; so many ``ended`` before."""

    def __init__(self, total: int, *, ended: int = 0, reducer_id: str | None = None) -> None:
        self._total, self._ended, self._reducer_id = total, ended, reducer_id

    async def batch(self, batch_id: str) -> TaskBatch:
        counts = {"total": self._total, "successful": self._ended, "failed": 0}
        return TaskBatch(batch_id=batch_id, reducer_id=self._reducer_id, task_ids=(), **counts)

    async def gather_batch(
        self, batch: TaskBatch, *, wait_timeout: float | None, on_progress: Callable[[int, int], None]
    ) -> DistributionResult:
        assert wait_timeout is None
        for done in range(self._total + 1):
            on_progress(done, self._total)
        items = tuple(task_result(f"task_{number}") for number in range(self._total))
        counts = {"total": self._total, "successful": self._total, "failed": 0}
        return DistributionResult(batch_id=batch.batch_id, strategy="random", items=items, **counts)

    async def list_pools(self) -> list[object]:
        return []


@pytest.mark.parametrize("total", [3, 20, 47, 1000])
def test_a_line_for_each_end_in_a_small_batch_and_not_many_more_in_a_large_one(
    total: int, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(follow_batch(cast("PoolManager", Manager(total)), "b", output=Output(FormatName.TABLE)))

    lines = capsys.readouterr().err.splitlines()
    assert min(total, MOST_LINES) <= len(lines) <= min(total, 2 * MOST_LINES)
    assert lines[-1] == f"{total} of {total} tasks have ended."


@pytest.mark.parametrize(
    ("ended", "reducer", "told"),
    [
        (3, None, []),
        (3, "task_r", ["3 of 3"]),
        (2, None, ["2 of 3", "3 of 3"]),
        (0, None, ["1 of 3", "2 of 3", "3 of 3"]),
    ],
)
def test_what_had_ended_before_is_told_at_once_and_an_ended_batch_only_shows_its_outcome(
    ended: int, reducer: str | None, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    manager = cast("PoolManager", Manager(3, ended=ended, reducer_id=reducer))

    asyncio.run(follow_batch(manager, "batch_1", output=Output(FormatName.TABLE)))

    printed = capsys.readouterr()
    assert printed.err.splitlines() == [f"{count} tasks have ended." for count in told]
    assert printed.out.startswith("✓ Batch batch_1 completed\n  Total: 3\n")
