"""The examples of POOL_MIGRATION that use pools: its "after" halves, pitfalls, tests and best practices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mahavishnu_pools import TaskResult
from mahavishnu_pools.mcp.protocols.message_bus import MessageBus
from mahavishnu_pools.pools import PoolConfig, PoolManager, PoolSelector
from mahavishnu_pools.terminal.manager import TerminalManager
from tests.waiting import eventually_async

TASK = {"prompt": "Write code"}
TASKS = [{"prompt": f"Task {number}"} for number in range(10)]


@pytest_asyncio.fixture
async def pool_id(pool_mgr: PoolManager) -> AsyncIterator[str]:
    config = PoolConfig(name="local", pool_type="mahavishnu", min_workers=3, max_workers=10)
    yield await pool_mgr.spawn_pool("mahavishnu", config)


async def test_quick_start_after() -> None:
    config = None

    # Create terminal manager and pool manager
    terminal_mgr = TerminalManager.create(config, mcp_client=None)
    pool_mgr = PoolManager(
        terminal_manager=terminal_mgr,
        session_buddy_client=None,
        message_bus=MessageBus(),
    )

    # Spawn pool (auto-spawns workers)
    config = PoolConfig(
        name="local",
        pool_type="mahavishnu",
        min_workers=3,
        max_workers=10,
    )
    pool_id = await pool_mgr.spawn_pool("mahavishnu", config)

    # Execute task (auto-selects worker)
    result = await pool_mgr.execute_on_pool(
        pool_id,
        {"prompt": "Write code"},
    )

    # Or use auto-routing
    routed = await pool_mgr.route_task(
        {"prompt": "Write code"},
        pool_selector=PoolSelector.LEAST_LOADED,
    )
    workers = (await pool_mgr.pool_info(pool_id)).workers

    # Cleanup
    await pool_mgr.close_all()
    left = await pool_mgr.list_pools()
    await pool_mgr.close()

    assert workers == 3
    for one in (result, routed):
        assert (one["status"], one["output"], one["pool_id"]) == ("completed", "Done: Write code", pool_id)
    assert left == []


async def test_key_differences_scaling_after(pool_mgr: PoolManager, pool_id: str) -> None:
    # Simple scaling
    pool = pool_mgr._pools[pool_id]
    await pool.scale(target_workers=10)

    assert (await pool.get_metrics()).total_workers == 10


async def test_scenario_1_after(terminal_mgr: TerminalManager) -> None:
    class TaskRunner:
        def __init__(self) -> None:
            self.pool_mgr = PoolManager(
                terminal_manager=terminal_mgr,
                message_bus=MessageBus(),
            )
            self.pool_id: str | None = None

        async def start(self) -> None:
            config = PoolConfig(
                name="task-runner",
                pool_type="mahavishnu",
                min_workers=3,
                max_workers=10,
            )
            self.pool_id = await self.pool_mgr.spawn_pool("mahavishnu", config)

        async def execute(self, prompt: str) -> TaskResult:
            assert self.pool_id is not None
            return await self.pool_mgr.execute_on_pool(
                self.pool_id,
                {"prompt": prompt},
            )

        async def stop(self) -> None:
            await self.pool_mgr.close_all()

    runner = TaskRunner()
    await runner.start()
    result = await runner.execute("Write code")
    await runner.stop()
    left = await runner.pool_mgr.list_pools()
    await runner.pool_mgr.close()

    assert (result["status"], result["pool_id"]) == ("completed", runner.pool_id)
    assert left == []


async def test_scenario_2_after(terminal_mgr: TerminalManager) -> None:
    class MultiTaskExecutor:
        def __init__(self) -> None:
            self.pool_mgr = PoolManager(
                terminal_manager=terminal_mgr,
                message_bus=MessageBus(),
            )

        async def start(self) -> None:
            # Create two pools with different capacities
            config1 = PoolConfig(
                name="primary",
                pool_type="mahavishnu",
                min_workers=2,
                max_workers=5,
            )
            await self.pool_mgr.spawn_pool("mahavishnu", config1)

            config2 = PoolConfig(
                name="secondary",
                pool_type="mahavishnu",
                min_workers=5,
                max_workers=10,
            )
            await self.pool_mgr.spawn_pool("mahavishnu", config2)

        async def execute(self, prompt: str, use_primary: bool = True) -> TaskResult:
            # Use affinity routing for specific pool
            affinity = "primary" if use_primary else "secondary"
            return await self.pool_mgr.route_task(
                {"prompt": prompt},
                pool_selector=PoolSelector.AFFINITY,
                pool_affinity=affinity,
            )

    executor = MultiTaskExecutor()
    await executor.start()
    names = {info.pool_id: info.name for info in await executor.pool_mgr.list_pools()}
    results = [await executor.execute("Task", use_primary=primary) for primary in (True, False, True)]
    await executor.pool_mgr.close_all()
    await executor.pool_mgr.close()

    assert [names[result["pool_id"]] for result in results] == ["primary", "secondary", "primary"]


async def test_scenario_3_after_local_part(terminal_mgr: TerminalManager) -> None:
    tm = terminal_mgr
    pool_mgr = PoolManager(
        terminal_manager=tm,
        message_bus=MessageBus(),
    )

    # Local pool for low-latency tasks
    config_local = PoolConfig(
        name="local",
        pool_type="mahavishnu",
        min_workers=2,
        max_workers=5,
    )
    await pool_mgr.spawn_pool("mahavishnu", config_local)

    # Route to least-loaded (auto-chooses pool)
    result = await pool_mgr.route_task(
        {"prompt": "Heavy task"},
        pool_selector=PoolSelector.LEAST_LOADED,
    )
    await pool_mgr.close_all()
    await pool_mgr.close()

    assert result["status"] == "completed"


async def test_pattern_1_worker_selection_after(pool_mgr: PoolManager, pool_id: str) -> None:
    task = TASK

    # Automatic least-loaded routing
    result = await pool_mgr.route_task(
        task,
        pool_selector=PoolSelector.LEAST_LOADED,
    )

    assert (result["status"], result["pool_id"]) == ("completed", pool_id)


async def test_pattern_2_batch_execution_after(pool_mgr: PoolManager, pool_id: str) -> None:
    tasks = TASKS

    # Automatic batch execution
    pool = pool_mgr._pools[pool_id]
    results = await pool.execute_batch(tasks)

    assert [result["output"] for result in results] == [f"Done: Task {number}" for number in range(10)]


async def test_pattern_3_health_monitoring_after(
    pool_mgr: PoolManager, pool_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # Pool-level health monitoring
    health = await pool_mgr.health_check()
    print(f"Status: {health['status']}")
    print(f"Active pools: {health['pools_active']}")
    for pool in health["pools"]:
        print(f"  {pool['pool_id']}: {pool['status']}")

    assert capsys.readouterr().out == f"Status: healthy\nActive pools: 1\n  {pool_id}: running\n"


async def test_pitfall_1_assuming_worker_ids(pool_mgr: PoolManager) -> None:
    config, task = PoolConfig(name="local", pool_type="mahavishnu"), TASK

    # Pools use pool IDs
    pool_id = await pool_mgr.spawn_pool("mahavishnu", config)
    result = await pool_mgr.execute_on_pool(pool_id, task)
    # Worker selection is automatic

    assert result["status"] == "completed"
    assert result["worker_id"]


async def test_pitfall_2_manual_scaling(pool_mgr: PoolManager, pool_id: str) -> None:
    # Use pool scaling
    pool = pool_mgr._pools[pool_id]
    await pool.scale(target_workers=5)

    assert (await pool_mgr.pool_info("local")).workers == 5


async def test_pitfall_3_ignoring_pool_health(pool_mgr: PoolManager, pool_id: str) -> None:
    task = TASK

    # Check pool health first
    health = await pool_mgr.health_check()
    if health["status"] != "healthy":
        # Handle degraded pools
        pass

    result = await pool_mgr.execute_on_pool(pool_id, task)

    assert (health["status"], result["status"]) == ("healthy", "completed")


async def test_testing_migration_unit_tests_after(terminal_mgr: TerminalManager) -> None:
    tm = terminal_mgr
    pool_mgr = PoolManager(
        terminal_manager=tm,
        message_bus=MessageBus(),
    )

    config = PoolConfig(
        name="test",
        pool_type="mahavishnu",
        min_workers=1,
    )
    pool_id = await pool_mgr.spawn_pool("mahavishnu", config)

    result = await pool_mgr.execute_on_pool(
        pool_id,
        {"prompt": "Test"},
    )

    assert result["status"] == "completed"
    await pool_mgr.close()


async def test_testing_migration_integration_tests_after(terminal_mgr: TerminalManager) -> None:
    tm = terminal_mgr
    pool_mgr = PoolManager(
        terminal_manager=tm,
        message_bus=MessageBus(),
    )

    # Spawn multiple pools
    for i in range(3):
        config = PoolConfig(
            name=f"pool{i}",
            pool_type="mahavishnu",
            min_workers=2,
        )
        await pool_mgr.spawn_pool("mahavishnu", config)

    # Route tasks across pools; the document prints PoolSerializer, a misprint
    results = []
    for _ in range(9):
        result = await pool_mgr.route_task(
            {"prompt": "Test"},
            pool_selector=PoolSelector.ROUND_ROBIN,
        )
        results.append(result)

    assert len(results) == 9
    visited = [result["pool_id"] for result in results]
    assert {visited.count(pool_id) for pool_id in visited} == {3}
    await pool_mgr.close()


async def test_best_practices_1_use_auto_routing(pool_mgr: PoolManager, pool_id: str) -> None:
    task = TASK

    # Good: Use auto-routing
    result = await pool_mgr.route_task(task, PoolSelector.LEAST_LOADED)

    assert result["status"] == "completed"


async def test_best_practices_2_monitor_pool_health(pool_mgr: PoolManager, pool_id: str, tmp_path: Path) -> None:
    gate = tmp_path / "go"
    busy = [await pool_mgr.submit({"prompt": f"wait for {gate}"}, pool=pool_id) for _ in range(3)]
    health = await pool_mgr.health_check()
    assert health["status"] == "healthy"

    # Good: Use metrics for scaling
    pool = pool_mgr._pools[pool_id]
    await eventually_async(pool.get_metrics, until=lambda seen: seen.active_workers == 3)
    metrics = await pool.get_metrics()
    if metrics.active_workers > metrics.total_workers * 0.8:
        await pool.scale(metrics.total_workers + 1)

    assert (await pool.get_metrics()).total_workers == 4
    await asyncio.to_thread(gate.touch)
    assert {(await pool_mgr.result(one.task_id))["status"] for one in busy} == {"completed"}
