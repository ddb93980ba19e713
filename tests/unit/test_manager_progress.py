"""What a caller is told of a distribution while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.routing.distributing import Distribution
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.settings import Settings
from tests.fakes.cli_manager import task_result


class Backwards(PoolManager):
    """Sees outcomes in the wrong order: that of what reduces the parts first."""

    async def results(self, task_ids: Iterable[str], *, wait_timeout: float | None = None) -> AsyncIterator[TaskResult]:
        for task_id in reversed(list(task_ids)):
            yield task_result(task_id)


async def test_progress_counts_the_parts_and_never_more_than_there_are() -> None:
    started = Distribution("b", ("t1", "t2", "t3"), strategy="map_reduce", reducer_id="r")
    seen: list[tuple[int, int]] = []

    await Backwards(settings=Settings()).gather(started, on_progress=lambda done, total: seen.append((done, total)))

    assert seen == [(1, 3), (2, 3), (3, 3)]
