"""The Python examples of the Session-Buddy document, word for word but for the package and what stands in for an AI."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from mahavishnu_pools.session_buddy.runner import PromptRunner
from tests.fakes.run_context import install_program
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def an_ai_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program first on PATH that answers as Qwen does: it says where it runs and what it was asked."""
    answer = (
        """printf '{"type":"result","subtype":"success","is_error":false,"result":"%s: %s"}\\n' "$(pwd)" "$(cat)" """
    )
    programs = install_program(tmp_path / "bin", "qwen", answer)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("MAHAVISHNU_ALLOWED_ROOTS", str(tmp_path))
    (tmp_path / "repo").mkdir()
    return tmp_path / "repo"


async def test_creating_a_pool_and_executing_tasks(an_ai_program: Path) -> None:
    from mahavishnu_pools.session_buddy.pools import WorkerPool

    # Create pool
    pool = WorkerPool(pool_id="my_pool")
    await pool.initialize()

    # Verify 3 workers
    assert len(pool.workers) == 3

    # Single task
    result = await pool.execute(prompt="Write Python code", context={"repo": str(an_ai_program)}, timeout=30.0)

    # Batch tasks
    results = await pool.execute_batch(prompts=["Task 1", "Task 2", "Task 3"], timeout=30.0)

    assert (result["status"], result["output"]) == ("completed", f"{an_ai_program}: Write Python code")
    assert [one["output"].split(": ")[1] for one in results] == ["Task 1", "Task 2", "Task 3"]

    # Pool health
    health = await pool.health_check()
    expected = {"status": "healthy", "workers_healthy": 3, "workers_total": 3}
    assert {name: health[name] for name in expected} == expected

    # Pool status
    status = pool.get_status()
    assert (status["tasks_submitted"], status["tasks_completed"], status["success_rate"]) == (4, 4, 1.0)
    await pool.shutdown()


async def test_pool_management() -> None:
    from mahavishnu_pools.session_buddy.pools import PoolManager

    manager = PoolManager()
    await manager.start()

    # Create pool
    pool = await manager.create_pool(pool_id="pool_1")

    # Execute on specific pool
    result = await manager.execute_on_pool(pool_id="pool_1", prompt="Execute task")
    assert result["status"] == "completed"

    # Route to best pool (auto-selection)
    pool_id, result = await manager.route_task(
        prompt="Auto-routed task",
        selector="least_loaded",  # or "round_robin", "random"
    )
    assert (pool_id, result["status"]) == (pool.pool_id, "completed")

    # List pools
    pools = await manager.list_pools()
    assert [one["pool_id"] for one in pools] == ["pool_1"]

    # Manager health
    health = await manager.get_health_status()
    assert (health["pools_total"], health["pools_healthy"], len(health["pool_details"])) == (1, 1, 1)  # type: ignore[arg-type]

    # Delete pool
    await manager.delete_pool("pool_1")
    assert await manager.list_pools() == []
    await manager.stop()


async def test_integration_with_mahavishnu() -> None:
    from mahavishnu_pools.session_buddy.pools import get_pool_manager

    manager = await get_pool_manager()

    # Create Session-Buddy pool
    pool = await manager.create_pool(pool_id="delegated_pool")

    # Execute tasks via pool
    result = await manager.execute_on_pool(pool_id="delegated_pool", prompt="Sweep repositories for issues")

    assert (pool.pool_id, result["status"]) == ("delegated_pool", "completed")
    await manager.stop()


@pytest.fixture
async def shell() -> AsyncIterator[PromptRunner]:
    runner = PromptRunner()
    yield runner
    await runner.close()


async def test_a_timeout_ends_the_whole_tree_of_a_task(shell: PromptRunner) -> None:
    from mahavishnu_pools.session_buddy.pools import WorkerPool

    pool = WorkerPool("p", worker_type="shell", runner=shell)
    await pool.initialize()

    result = await pool.execute("sleep 600 & echo $!; wait", timeout=4)

    assert result.status == "timeout"
    assert not _runs(int(result.output))
    await pool.shutdown()


async def test_a_runner_that_is_killed_fails_its_tasks_and_is_started_again(shell: PromptRunner) -> None:
    from mahavishnu_pools.session_buddy.pools import WorkerPool

    pool = WorkerPool("p", worker_type="shell", runner=shell)
    await pool.initialize()
    running = asyncio.create_task(pool.execute("sleep 60"))
    own = psutil.Process()
    [sleeper] = await asyncio.to_thread(
        eventually, lambda: [one for one in own.children(recursive=True) if one.name() == "sleep"]
    )
    [process] = [one for one in sleeper.parents() if "prompt_runner" in " ".join(one.cmdline())]
    process.send_signal(signal.SIGKILL)

    lost = await running
    sleeper.kill()
    again = await pool.execute("echo on")

    assert (lost.status, lost.retryable) == ("failed", "connection")
    assert again.output == "on\n"
    await pool.shutdown()


def _runs(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
