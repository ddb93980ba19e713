"""Run one prompt in every repository given, each in a git worktree and branch of its own, and show what changed.

Nothing that is checked out is touched: what a task did is committed on a branch, which you look at and apply.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from mahavishnu_pools import PoolConfig, PoolManager, TaskResult, errors


def told(result: TaskResult, repository: Path) -> str:
    """Return a sentence about what a task did."""
    # Of a task that failed the last line says most.
    why = "" if result.ok else f" ({(result.error or result.output or '').strip().splitlines()[-1]})"
    made = result.metadata.get("worktree", {})
    changed = "no change"
    if made.get("branch"):
        changed = f"{made['files']} files, +{made['insertions']} −{made['deletions']}, on branch {made['branch']}"
    return f"{repository}: {result.status}{why}: {changed} ({result.task_id})"


async def main(options: argparse.Namespace) -> int:
    repositories = list(dict.fromkeys(options.repositories))
    config = PoolConfig(
        name=f"fan-out-{os.getpid()}",
        worker_type=options.worker_type,
        min_workers=min(options.workers, len(repositories)),
        max_workers=max(10, options.workers),
        isolation="worktree",
        allowed_roots=tuple(map(str, repositories)),
    )
    failed = 0
    async with PoolManager() as manager:  # closes the pool at the end
        pool = await manager.spawn_pool(config=config)
        tasks = ({"prompt": options.prompt, "cwd": str(one), "timeout": 3600} for one in repositories)
        sent = await manager.submit_many(tasks, pool=pool)
        of_task = dict(zip([one.task_id for one in sent], repositories, strict=True))
        async for result in manager.results(of_task):  # as they end
            print(told(result, of_task[result.task_id]), flush=True)
            failed += not result.ok
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt")
    parser.add_argument("repositories", nargs="+", type=lambda text: Path(text).resolve())
    parser.add_argument("--worker-type", help="how the prompt is run [the first AI program found]")
    parser.add_argument("--workers", type=int, default=3, help="how many at once [3]")
    try:
        sys.exit(asyncio.run(main(parser.parse_args())))
    except errors.MahavishnuError as exc:
        sys.exit(f"Error: {exc}")
