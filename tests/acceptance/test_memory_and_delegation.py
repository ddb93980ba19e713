"""The Python examples of the documents that need the servers beside the pools: delegation and memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mahavishnu_pools.mcp.protocols.message_bus import MessageBus
from mahavishnu_pools.pools import MemoryAggregator, PoolConfig, PoolManager, PoolSelector
from mahavishnu_pools.pools.memory_aggregator import MemoryAggregator as OfTheOlderModule
from mahavishnu_pools.terminal.manager import TerminalManager

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def servers(stand_in_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the URLs of a running Session-Buddy and Akosha."""
    processes, urls = [], {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", stand_in_path)
        for name in ("session-buddy", "akosha"):
            argv = [sys.executable, "-P", "-m", "mahavishnu_pools.cli.main", name, "--port", "0", "--data-dir"]
            data = tmp_path_factory.mktemp(name)
            process = subprocess.Popen([*argv, str(data)], stdout=subprocess.PIPE, text=True, cwd=data)
            assert process.stdout is not None
            processes.append(process)
            urls[name] = process.stdout.readline().split()[-1]
    yield urls
    for process in processes:
        process.terminate()
    for process in processes:
        process.communicate(timeout=120)


async def test_pool_types_session_buddy_pool(pool_mgr: PoolManager, servers: dict[str, str]) -> None:
    config = PoolConfig(
        name="delegated-pool",
        pool_type="session-buddy",
        endpoint=servers["session-buddy"],
    )

    pool_id = await pool_mgr.spawn_pool("session-buddy", config)
    result = await pool_mgr.execute_on_pool(pool_id, {"prompt": "Analyze code"})

    assert (result["status"], result["output"]) == ("completed", "Done: Analyze code")
    assert (await pool_mgr.pool_info(pool_id)).workers == 3


async def test_scenario_3_adding_session_buddy_delegation(tmp_path: Path, servers: dict[str, str]) -> None:
    tm = TerminalManager.create(None, mcp_client=None)

    # Mix local and delegated pools
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

    # Delegated pool for heavy tasks
    config_delegated = PoolConfig(
        name="delegated",
        pool_type="session-buddy",
        endpoint=servers["session-buddy"],
    )
    delegated = await pool_mgr.spawn_pool("session-buddy", config_delegated)
    await pool_mgr.pause_pool("local")

    # Route to least-loaded (auto-chooses pool)
    result = await pool_mgr.route_task(
        {"prompt": "Heavy task"},
        pool_selector=PoolSelector.LEAST_LOADED,
    )
    await pool_mgr.close()

    assert (result["status"], result["pool_id"]) == ("completed", delegated)


async def test_memory_aggregator_api(
    pool_mgr: PoolManager, servers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    pool_manager = pool_mgr
    await pool_mgr.spawn_pool("mahavishnu", PoolConfig(name="remembered"))
    done = await pool_mgr.route_task({"prompt": "API implementation of the parser"})

    # Initialize aggregator
    aggregator = MemoryAggregator(
        session_buddy_url=servers["session-buddy"],
        akosha_url=servers["akosha"],
        sync_interval=60.0,  # seconds
    )

    # Start periodic sync
    await aggregator.start_periodic_sync(pool_manager)

    # Manual sync
    stats = await aggregator.collect_and_sync(pool_manager)
    print(f"Synced {stats['memory_items_synced']} items")

    # Cross-pool search
    results = await aggregator.cross_pool_search(
        query="API implementation",
        pool_manager=pool_manager,
        limit=100,
    )
    await aggregator.stop()

    assert MemoryAggregator is OfTheOlderModule
    assert capsys.readouterr().out.startswith("Synced ")
    assert set(stats) >= {"pools_synced", "memory_items_synced", "memory_items_pending", "timestamp"}
    assert done.task_id in {hit["task_id"] for hit in results}
