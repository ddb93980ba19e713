"""Workers, pools and the manager of the embedded Session-Buddy, with runners that do what each test needs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.session_buddy import worker as worker_module
from mahavishnu_pools.session_buddy.pools import PoolManager, WorkerPool, get_pool_manager
from mahavishnu_pools.session_buddy.runner import Job
from mahavishnu_pools.session_buddy.worker import Task, Worker
from tests.waiting import eventually_async


class ScriptedRunner:
    """Runs prompts as they say: ``fail``, ``hold`` (until ``go``), ``break``; all others complete."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.go = asyncio.Event()
        self.cancelled: list[str] = []
        self.closed = False

    async def run(self, job: Job) -> Outcome:
        self.jobs.append(job)
        if job.prompt == "fail":
            return Outcome(status="failed", error="it broke", exit_code=1)
        if job.prompt == "break":
            raise RuntimeError("no runner")
        if job.prompt == "hold":
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled.append(job.task_id)
                raise
        return Outcome(status="completed", output=job.prompt)

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
async def runner() -> ScriptedRunner:
    return ScriptedRunner()


@pytest.fixture
async def pool(runner: ScriptedRunner) -> AsyncIterator[WorkerPool]:
    made = WorkerPool(pool_id="p", runner=runner)
    await made.initialize()
    yield made
    await made.shutdown(0)


@pytest.fixture
async def manager(runner: ScriptedRunner) -> AsyncIterator[PoolManager]:
    async with PoolManager(runner=runner) as made:
        yield made


async def holding(pool: WorkerPool, runner: ScriptedRunner, count: int) -> list[asyncio.Task[object]]:
    """Give the pool tasks that hold, and wait until its workers have as many as they can take."""
    before = len(runner.jobs)
    tasks = [asyncio.ensure_future(pool.execute("hold")) for _ in range(count)]

    async def begun() -> int:
        return len(runner.jobs) - before

    await eventually_async(begun, until=lambda seen: seen == min(count, 3))
    return list(tasks)


async def test_a_pool_has_exactly_three_workers_that_run_at_once(pool: WorkerPool, runner: ScriptedRunner) -> None:
    tasks = await holding(pool, runner, 4)

    status = pool.get_status()
    assert (status["workers"], status["tasks_running"], status["queue_size"]) == (3, 3, 1)

    runner.go.set()
    assert [result["status"] for result in await asyncio.gather(*tasks)] == ["completed"] * 4  # type: ignore[index]


async def test_the_numbers_tell_what_became_of_the_tasks(pool: WorkerPool) -> None:
    results = await pool.execute_batch(["a", "fail", "b", "c", "break"])

    assert [result.status for result in results] == ["completed", "failed", "completed", "completed", "failed"]
    assert (results[0].output, results[1].error, results[1].exit_code) == ("a", "it broke", 1)
    assert results[4].error == "The runner broke: no runner"
    status = pool.get_status()
    assert (status["tasks_submitted"], status["tasks_completed"], status["tasks_failed"]) == (5, 3, 2)
    assert status["success_rate"] == 0.6


async def test_three_failures_in_a_row_make_a_worker_unhealthy_until_it_succeeds(runner: ScriptedRunner) -> None:
    queue: asyncio.Queue[Task] = asyncio.Queue()
    worker = Worker("w", queue, runner)
    await worker.start()

    async def run(prompt: str) -> bool:
        task = Task(prompt)
        await queue.put(task)
        await task.wait()
        return await worker.health_check()

    assert [await run(prompt) for prompt in ("fail", "fail", "ok", "fail", "fail")] == [True] * 5
    assert await run("fail") is False
    assert worker.trouble() == "3 failures in a row"
    assert await run("ok") is True
    await worker.stop()


async def test_a_worker_that_is_busy_for_five_minutes_is_stuck_and_an_idle_one_is_not(
    pool: WorkerPool, runner: ScriptedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    await holding(pool, runner, 1)
    later = time.monotonic() + 301
    monkeypatch.setattr(worker_module.time, "monotonic", lambda: later)

    health = await pool.health_check()

    assert (health["status"], health["workers_healthy"], health["workers_total"]) == ("degraded", 2, 3)
    assert [str(one)[:12] for one in health["troubles"].values()] == ["busy for 301"]  # type: ignore[union-attr]


async def test_a_worker_that_does_not_run_makes_its_pool_degraded(pool: WorkerPool) -> None:
    await pool.workers[1].stop()

    health = await pool.health_check()

    assert (health["status"], health["troubles"]) == ("degraded", {"p-worker-1": "not running"})
    assert (await pool.execute("on")).status == "completed"


async def test_waiting_counts_against_the_timeout(pool: WorkerPool, runner: ScriptedRunner) -> None:
    await holding(pool, runner, 3)

    late = await pool.execute("late", timeout=0.05)

    assert (late.status, late.worker_id) == ("timeout", None)
    assert "before a worker was free" in str(late.error)
    runner.go.set()
    assert (await pool.execute("next")).status == "completed"
    assert "late" not in [job.prompt for job in runner.jobs]


async def test_a_full_queue_makes_callers_wait_and_then_time_out(runner: ScriptedRunner) -> None:
    pool = WorkerPool("small", runner=runner, queue_size=1)
    await pool.initialize()
    await holding(pool, runner, 4)

    assert "no room" in str((await pool.execute("x", timeout=0.05)).error)

    waiting = asyncio.ensure_future(pool.execute("y"))
    runner.go.set()
    assert (await waiting).status == "completed"
    await pool.shutdown()


async def test_a_cancelled_call_ends_its_task_alone(pool: WorkerPool, runner: ScriptedRunner) -> None:
    tasks = await holding(pool, runner, 4)
    for number in (0, 3):
        tasks[number].cancel()
    await asyncio.wait([tasks[0], tasks[3]])

    async def ended() -> list[str]:
        return runner.cancelled

    assert await eventually_async(ended) == [runner.jobs[0].task_id]
    runner.go.set()
    await asyncio.gather(tasks[1], tasks[2])
    assert len(runner.jobs) == 3


async def test_shutdown_lets_tasks_end_in_time(pool: WorkerPool, runner: ScriptedRunner) -> None:
    tasks = await holding(pool, runner, 5)
    closing = asyncio.create_task(pool.shutdown(10))

    runner.go.set()
    results = await asyncio.gather(*tasks)
    await closing

    assert {result["status"] for result in results} == {"completed"}  # type: ignore[index]
    with pytest.raises(errors.PoolGone):
        await pool.execute("late")


async def test_shutdown_cancels_what_does_not_end_in_time(runner: ScriptedRunner) -> None:
    pool = WorkerPool("small", runner=runner, queue_size=1)
    await pool.initialize()
    tasks = await holding(pool, runner, 8)

    async with asyncio.timeout(30):
        await pool.shutdown(0.05)
        results = await asyncio.gather(*tasks)

    assert {result["status"] for result in results} == {"cancelled"}  # type: ignore[index]
    assert len(runner.cancelled) == 3


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e9])
async def test_a_timeout_that_makes_no_sense_is_refused(pool: WorkerPool, seconds: float) -> None:
    with pytest.raises(errors.InvalidField, match="timeout"):
        await pool.execute("x", timeout=seconds)
    assert pool.get_status()["tasks_submitted"] == 0


async def test_the_context_says_where_and_how_a_prompt_runs(pool: WorkerPool, runner: ScriptedRunner) -> None:
    pool.worker_type = "shell"
    await pool.execute("x", context={"repo": "/repo", "other": 1})
    await pool.execute("x", context={"cwd": "/cwd", "worker_type": "echo", "env": {"A": "b"}})

    assert runner.jobs[0].spec == {"cwd": "/repo", "worker_type": "shell"}
    assert runner.jobs[1].spec == {"cwd": "/cwd", "worker_type": "echo", "env": {"A": "b"}}
    with pytest.raises(errors.InvalidField, match=r"context\.env"):
        await pool.execute("x", context={"env": {"A": 1}})


async def test_the_manager_chooses_pools_by_load_turn_and_health(manager: PoolManager, runner: ScriptedRunner) -> None:
    first, second = await manager.create_pool("a"), await manager.create_pool("b")
    await holding(first, runner, 2)

    assert [(await manager.route_task("x"))[0] for _ in range(3)] == ["b"] * 3
    turns = [(await manager.route_task("x", selector="round_robin"))[0] for _ in range(4)]
    assert sorted(turns) == ["a", "a", "b", "b"]
    assert (await manager.route_task("x", selector="random"))[0] in {"a", "b"}

    await second.workers[0].stop()
    assert (await manager.route_task("x"))[0] == "a"
    with pytest.raises(errors.UnknownChoice, match="selector"):
        await manager.route_task("x", selector="best")
    runner.go.set()


async def test_pools_are_created_listed_and_deleted(manager: PoolManager) -> None:
    with pytest.raises(errors.NoPoolAvailable):
        await manager.route_task("x")
    made = await manager.create_pool()
    await manager.create_pool("a")

    assert {one["pool_id"] for one in await manager.list_pools()} == {"a", made.pool_id}
    with pytest.raises(errors.PoolConflict, match="already exists"):
        await manager.create_pool("a")
    assert [await manager.delete_pool("a"), await manager.delete_pool("a")] == [True, False]
    with pytest.raises(errors.PoolNotFound, match=r"Pool 'a' not found\. Pools that exist: "):
        await manager.execute_on_pool("a", "x")


async def test_a_directory_keeps_the_pools_over_a_restart(tmp_path: Path, runner: ScriptedRunner) -> None:
    async with PoolManager(directory=tmp_path, runner=runner) as manager:
        await manager.create_pool("a", worker_type="shell")
        await manager.create_pool("b")
        await manager.delete_pool("b")

    async with PoolManager(directory=tmp_path, runner=runner) as manager:
        assert [(one["pool_id"], one["worker_type"]) for one in await manager.list_pools()] == [("a", "shell")]
    assert not runner.closed

    (tmp_path / "pools.json").write_text("[1]")
    with pytest.raises(errors.InvalidConfig, match=r"pools\.json cannot be read"):
        await PoolManager(directory=tmp_path, runner=runner).start()


async def test_the_loop_s_manager_is_one_and_started() -> None:
    manager = await get_pool_manager()

    assert manager is await get_pool_manager()
    assert manager.running
    await manager.stop()
