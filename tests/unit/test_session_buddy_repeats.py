"""A prompt that is sent again with its task id: joined while it runs, answered from memory afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.session_buddy import repeats
from mahavishnu_pools.session_buddy.manager import PoolManager
from mahavishnu_pools.session_buddy.repeats import Identity, Repeats, identity_of
from mahavishnu_pools.session_buddy.worker import ExecutionResult
from tests.waiting import eventually_async


class Work:
    """Counts its runs; each waits until it is let go and ends with the next of ``statuses``."""

    def __init__(self, *statuses: str, output: str = "out") -> None:
        self.runs = self.cancelled = 0
        self.go = asyncio.Event()
        self._statuses, self._output = statuses or ("completed",), output

    async def __call__(self) -> ExecutionResult:
        self.runs += 1
        status = self._statuses[min(self.runs, len(self._statuses)) - 1]
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return ExecutionResult(
            task_id=f"run{self.runs}", pool_id="p", worker_id=None, status=status, output=self._output
        )


async def started(work: Work) -> None:
    async def runs() -> int:
        return work.runs

    await eventually_async(runs)


async def test_who_asks_again_while_it_runs_joins_it() -> None:
    known, work = Repeats(), Work()
    calls = [asyncio.create_task(known.run(Identity("a", None), work)) for _ in range(3)]
    await started(work)
    work.go.set()

    found = await asyncio.gather(*calls)

    assert work.runs == 1
    assert [one.metadata.get("repeated", False) for one in found] == [False, True, True]
    assert {one.task_id for one in found} == {"run1"}


async def test_who_asks_again_afterwards_gets_the_same_result() -> None:
    known, work = Repeats(), Work("failed")
    work.go.set()
    first = await known.run(Identity("a", 1), work)

    again = await known.run(Identity("a", 1), work)

    assert (work.runs, again.task_id, again.status, again.metadata) == (1, first.task_id, "failed", {"repeated": True})


@pytest.mark.parametrize(("status", "runs"), [("failed", 2), ("timeout", 2), ("completed", 1)])
async def test_another_attempt_runs_again_what_did_not_complete(status: str, runs: int) -> None:
    known, work = Repeats(), Work(status)
    work.go.set()

    await known.run(Identity("a", 1), work)
    await known.run(Identity("a", 2), work)

    assert work.runs == runs


async def test_work_goes_on_while_one_waits_and_ends_when_nobody_does() -> None:
    known, work = Repeats(), Work()
    first, second = (asyncio.create_task(known.run(Identity("a", None), work)) for _ in range(2))
    await started(work)
    first.cancel()
    await asyncio.wait([first])
    assert (work.cancelled, first.cancelled()) == (0, True)

    second.cancel()
    third = asyncio.create_task(known.run(Identity("a", None), work))
    work.go.set()

    assert (await third).status == "completed"
    assert work.runs in (1, 2)
    assert work.runs == 1 + work.cancelled


async def test_what_was_cancelled_runs_again_for_who_asks_later() -> None:
    known, work = Repeats(), Work()
    only = asyncio.create_task(known.run(Identity("a", None), work))
    await started(work)
    only.cancel()
    await asyncio.wait([only])
    work.go.set()

    found = await known.run(Identity("a", None), work)

    assert (work.runs, work.cancelled, found.metadata) == (2, 1, {})


async def test_an_error_is_told_to_all_and_not_kept() -> None:
    known, runs = Repeats(), 0

    async def broken() -> ExecutionResult:
        nonlocal runs
        runs += 1
        raise errors.PoolGone.of("p")

    found = await asyncio.gather(*(known.run(Identity("a", None), broken) for _ in range(2)), return_exceptions=True)
    with pytest.raises(errors.PoolGone):
        await known.run(Identity("a", None), broken)

    assert [type(one) for one in found] == [errors.PoolGone] * 2
    assert runs == 2


async def test_results_are_forgotten_after_their_time_and_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    known, work = Repeats(clock=lambda: now), Work(output="x" * 10)
    work.go.set()
    monkeypatch.setattr(repeats, "MOST", 3)
    monkeypatch.setattr(repeats, "MOST_CHARACTERS", 25)

    async def runs(key: str) -> int:
        before = work.runs
        await known.run(Identity(key, None), work)
        return work.runs - before

    assert [await runs(key) for key in "aab"] == [1, 0, 1]
    assert [await runs(key) for key in "cba"] == [1, 0, 1]  # 30 characters are too many: a had to go
    now = repeats.SECONDS
    assert await runs("a") == 1


@pytest.mark.parametrize(
    "context", [{"task_id": 5}, {"task_id": ""}, {"task_id": "x" * 201}, {"task_id": "t", "attempt": "1"}]
)
def test_an_identity_that_cannot_be_used_is_refused(context: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidField, match=r"context\.(task_id|attempt)"):
        identity_of("p", "x", context)


def test_only_the_same_prompt_in_the_same_place_has_the_same_identity() -> None:
    first = identity_of("p", "x", {"task_id": "t", "cwd": "/a", "attempt": 1})
    others = [
        identity_of("q", "x", {"task_id": "t", "cwd": "/a", "attempt": 1}),
        identity_of("p", "y", {"task_id": "t", "cwd": "/a", "attempt": 1}),
        identity_of("p", "x", {"task_id": "t", "cwd": "/b", "attempt": 1}),
        identity_of("p", "x", {"task_id": "u", "cwd": "/a", "attempt": 1}),
    ]

    assert first == identity_of("p", "x", {"cwd": "/a", "attempt": 1, "task_id": "t"})
    assert first is not None
    assert first.key not in {one.key for one in others if one is not None}
    assert identity_of("p", "x", {"cwd": "/a"}) is identity_of("p", "x", None) is None


async def test_a_manager_runs_a_prompt_with_a_task_id_once() -> None:
    async with PoolManager() as manager:
        pool = await manager.create_pool("p", worker_type="echo")
        first, again = [await manager.execute_on_pool("p", "hello", {"task_id": "t"}) for _ in range(2)]
        other = await manager.execute_on_pool("p", "hello", {"task_id": "u"})

        assert pool.tasks_submitted == 2
    assert (first.output, again.output, again.task_id == first.task_id) == ("hello", "hello", True)
    assert other.task_id != first.task_id
