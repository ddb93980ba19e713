"""A program of the migration guide as a process of its own: no server, no configuration, nothing closed by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.waiting import eventually

PROGRAM = """
import asyncio
from mahavishnu_pools.mcp.protocols.message_bus import MessageBus
from mahavishnu_pools.pools import PoolManager, PoolConfig, PoolSelector
from mahavishnu_pools.terminal.manager import TerminalManager

async def main():
    terminal_mgr = TerminalManager.create(None, mcp_client=None)
    pool_mgr = PoolManager(
        terminal_manager=terminal_mgr,
        session_buddy_client=None,
        message_bus=MessageBus(),
    )
    config = PoolConfig(name="local", pool_type="mahavishnu", min_workers=3, max_workers=10)
    pool_id = await pool_mgr.spawn_pool("mahavishnu", config)
    result = await pool_mgr.execute_on_pool(pool_id, {"prompt": "Write code"})
    print(result["status"], result["output"])
    result = await pool_mgr.route_task({"prompt": "Write more"}, pool_selector=PoolSelector.LEAST_LOADED)
    print(result["status"], result["output"])
    await pool_mgr.close_all()

asyncio.run(main())
"""


def test_the_quick_start_runs_on_a_private_stack_that_ends_with_the_program(stand_in_path: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MAHAVISHNU_REDIS_URL"}
    environment |= {"PATH": stand_in_path, "TMPDIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["completed Done: Write code", "completed Done: Write more"]
    eventually(lambda: not list(tmp_path.iterdir()), within=30)
