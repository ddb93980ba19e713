"""The guide docs/migration.md: its blocks run as they stand, and what its table says, holds."""

from __future__ import annotations

import re
from typing import Any

from mahavishnu_pools import PoolConfig, PoolManager, PoolSelector
from mahavishnu_pools.terminal.manager import TerminalManager
from mahavishnu_pools.workers import WorkerManager
from tests.docs import blocks


async def test_its_blocks_run() -> None:
    before, after = (block for block in blocks.blocks("migration.md") if block.language == "python")

    was: dict[str, Any] = {}
    await blocks.run_python(before, was)
    now: dict[str, Any] = {}
    await blocks.run_python(after, now)

    for names in (was, now):
        assert (names["result"]["status"], names["result"]["output"]) == ("completed", "Done: Write code")
        assert [one["output"] for one in names["results"]] == ["Done: Task 1", "Done: Task 2"]


async def test_each_line_of_its_table_does_on_both_sides_what_it_says(
    pool_mgr: PoolManager, terminal_mgr: TerminalManager
) -> None:
    text = (blocks.ROOT / "docs" / "migration.md").read_text(encoding="utf-8").partition("## One by one")[2]
    rows = re.findall(r"^\| (.*) \| (.*) \|$", text.partition("\n## ")[0], re.MULTILINE)[1:]
    await pool_mgr.spawn_pool("mahavishnu", PoolConfig(name="primary", max_workers=2))
    names: dict[str, Any] = {
        "pool_mgr": pool_mgr,
        "worker_mgr": WorkerManager(terminal_manager=terminal_mgr, max_concurrent=10),
        "config": PoolConfig(name="local", min_workers=3, max_workers=10),
        "PoolSelector": PoolSelector,
        "task": {"prompt": "Write code"},
        "tasks": [{"prompt": "Task 1"}],
    }

    ran = 0
    for row in rows:
        for code in re.findall(r"`([^`]+)`", " | ".join(row)):
            await blocks.run_python(blocks.Block("migration.md", "python", prepared(code, names)), names)
            ran += 1
    await names["worker_mgr"].close_all()

    assert ran == 2 * len(rows) - 1  # "two managers" is no code


def prepared(code: str, names: dict[str, Any]) -> str:
    """Make the names that a line of the table takes from around it."""
    if "worker_ids" in names:
        names["worker_id"] = names["worker_ids"][0]
        names["workers"] = list(names["worker_mgr"]._workers.values())
    if "pool_id" in names:
        names["pool"] = names["pool_mgr"]._pools[names["pool_id"]]
    return code
