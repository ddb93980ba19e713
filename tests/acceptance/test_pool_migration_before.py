"""The examples of POOL_MIGRATION that use WorkerManager: its "before" halves and the rollback plan."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mahavishnu_pools import PoolManager, TaskResult, errors
from mahavishnu_pools.mcp.protocols.message_bus import MessageBus
from mahavishnu_pools.terminal.manager import TerminalManager
from mahavishnu_pools.workers import WorkerManager

config = None

TASKS = [{"prompt": f"Task {number}"} for number in range(6)]


@pytest_asyncio.fixture
async def worker_mgr(terminal_mgr: TerminalManager) -> AsyncIterator[WorkerManager]:
    manager = WorkerManager(terminal_manager=terminal_mgr, max_concurrent=10)
    yield manager
    await manager.close_all()


async def test_quick_start_before() -> None:
    # Create terminal manager and worker manager
    terminal_mgr = TerminalManager.create(config, mcp_client=None)
    worker_mgr = WorkerManager(
        terminal_manager=terminal_mgr,
        max_concurrent=10,
    )

    # Spawn workers
    worker_ids = await worker_mgr.spawn_workers(
        worker_type="terminal-qwen",
        count=3,
    )

    # Execute task
    result = await worker_mgr.execute_task(
        worker_ids[0],
        {"prompt": "Write code"},
    )

    # Cleanup
    await worker_mgr.close_all()

    assert len(set(worker_ids)) == 3
    assert (result["status"], result["output"]) == ("completed", "Done: Write code")
    assert result["worker_id"] == worker_ids[0]


async def test_key_differences_scaling_before(worker_mgr: WorkerManager) -> None:
    workers_to_remove = await worker_mgr.spawn_workers(worker_type="terminal-qwen", count=3)

    # Manual spawning/closing
    new_workers = await worker_mgr.spawn_workers("terminal-qwen", 5)
    for wid in workers_to_remove:
        await worker_mgr.close_worker(wid)

    assert [*worker_mgr._workers] == new_workers
    with pytest.raises(errors.NotFound, match=workers_to_remove[0]):
        await worker_mgr.execute_task(workers_to_remove[0], {"prompt": "Write code"})


async def test_scenario_1_before(terminal_mgr: TerminalManager) -> None:
    class TaskRunner:
        def __init__(self) -> None:
            self.worker_mgr = WorkerManager(
                terminal_manager=terminal_mgr,
                max_concurrent=10,
            )
            self.workers: list[str] = []

        async def start(self) -> None:
            self.workers = await self.worker_mgr.spawn_workers("terminal-qwen", count=3)

        async def execute(self, prompt: str) -> TaskResult:
            return await self.worker_mgr.execute_task(
                self.workers[0],
                {"prompt": prompt},
            )

        async def stop(self) -> None:
            await self.worker_mgr.close_all()

    runner = TaskRunner()
    await runner.start()
    result = await runner.execute("Write code")
    await runner.stop()

    assert result["status"] == "completed"


async def test_scenario_2_before(terminal_mgr: TerminalManager) -> None:
    tm1, tm2 = terminal_mgr, TerminalManager.create()

    class MultiTaskExecutor:
        def __init__(self) -> None:
            self.primary_workers = WorkerManager(
                terminal_manager=tm1,
                max_concurrent=5,
            )
            self.secondary_workers = WorkerManager(
                terminal_manager=tm2,
                max_concurrent=10,
            )
            self.primary_ids: list[str] = []
            self.secondary_ids: list[str] = []

        async def execute(self, prompt: str, use_primary: bool = True) -> TaskResult:
            if use_primary:
                return await self.primary_workers.execute_task(
                    self.primary_ids[0],
                    {"prompt": prompt},
                )
            return await self.secondary_workers.execute_task(
                self.secondary_ids[0],
                {"prompt": prompt},
            )

    executor = MultiTaskExecutor()
    executor.primary_ids = await executor.primary_workers.spawn_workers("terminal-qwen", count=2)
    executor.secondary_ids = await executor.secondary_workers.spawn_workers("terminal-qwen", count=5)
    results = [await executor.execute("Task", use_primary=primary) for primary in (True, False)]
    for manager in (executor.primary_workers, executor.secondary_workers):
        await manager.close_all()

    assert [result["worker_id"] for result in results] == [executor.primary_ids[0], executor.secondary_ids[0]]


async def test_pattern_1_worker_selection_before(worker_mgr: WorkerManager) -> None:
    task = {"prompt": "Write code"}
    await worker_mgr.spawn_workers("terminal-qwen", 2)
    workers = list(worker_mgr._workers.values())

    # Manual worker selection
    least_loaded_worker = min(workers, key=lambda w: w.task_count)
    result = await worker_mgr.execute_task(least_loaded_worker.id, task)

    assert result["status"] == "completed"


async def test_pattern_2_batch_execution_before(worker_mgr: WorkerManager) -> None:
    tasks, results = TASKS, []
    workers = await worker_mgr.spawn_workers("terminal-qwen", 3)

    # Manual batch distribution
    tasks_per_worker = len(tasks) // len(workers)
    for i, worker_id in enumerate(workers):
        start_idx = i * tasks_per_worker
        end_idx = start_idx + tasks_per_worker
        worker_tasks = tasks[start_idx:end_idx]
        results.extend([await worker_mgr.execute_task(worker_id, task) for task in worker_tasks])

    assert [result["output"] for result in results] == [f"Done: Task {number}" for number in range(6)]


async def test_pattern_3_health_monitoring_before(
    worker_mgr: WorkerManager, capsys: pytest.CaptureFixture[str]
) -> None:
    worker_ids = await worker_mgr.spawn_workers("terminal-qwen", 2)

    # Manual health checks
    for worker_id in worker_ids:
        worker = worker_mgr._workers.get(worker_id)
        status = await worker.status()
        print(f"{worker_id}: {status}")

    assert capsys.readouterr().out == "".join(f"{worker_id}: idle\n" for worker_id in worker_ids)


async def test_testing_migration_unit_tests_before(terminal_mgr: TerminalManager) -> None:
    tm = terminal_mgr
    worker_mgr = WorkerManager(terminal_mgr=tm)
    worker_ids = await worker_mgr.spawn_workers("terminal-qwen", 1)

    result = await worker_mgr.execute_task(
        worker_ids[0],
        {"prompt": "Test"},
    )

    assert result["status"] == "completed"
    await worker_mgr.close_all()


async def test_testing_migration_integration_tests_before(terminal_mgr: TerminalManager) -> None:
    tm, tasks = terminal_mgr, TASKS
    worker_mgr = WorkerManager(terminal_mgr=tm, max_concurrent=10)
    worker_ids = await worker_mgr.spawn_workers("terminal-qwen", 5)

    results = await worker_mgr.execute_batch(
        worker_ids[:3],
        tasks,
    )
    await worker_mgr.close_all()

    assert [result["output"] for result in results] == [f"Done: Task {number}" for number in range(6)]
    assert {result["worker_id"] for result in results} <= set(worker_ids[:3])


async def test_rollback_plan(terminal_mgr: TerminalManager, monkeypatch: pytest.MonkeyPatch) -> None:
    tm = terminal_mgr
    monkeypatch.setenv("MAHAVISHNU_POOLS_ENABLED", "false")  # Disable pools
    monkeypatch.setenv("MAHAVISHNU_WORKERS_ENABLED", "true")  # Keep workers enabled

    worker_mgr = WorkerManager(terminal_manager=tm)
    worker_ids = await worker_mgr.spawn_workers("terminal-qwen", 1)
    result = await worker_mgr.execute_task(worker_ids[0], {"prompt": "Test"})
    await worker_mgr.close_all()
    pool_mgr = PoolManager(terminal_manager=tm, message_bus=MessageBus())

    assert result["status"] == "completed"
    with pytest.raises(errors.PoolsDisabled, match="pools_enabled"):
        await pool_mgr.spawn_pool("mahavishnu", name="local")
    monkeypatch.delenv("MAHAVISHNU_POOLS_ENABLED")
