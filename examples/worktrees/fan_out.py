"""Run one prompt in every repository given, each in a git worktree and branch of its own, and show what changed.

Nothing that is checked out is touched: what a task did is committed on a branch, which you look at and merge.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from mahavishnu_pools import PoolConfig, PoolManager, TaskResult, errors


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", directory, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def add_worktrees(repositories: list[Path], place: Path, branch: str) -> dict[Path, Path]:
    """Return the repository of each worktree; when one cannot be made, none is left."""
    found: dict[Path, Path] = {}
    for repository in repositories:
        worktree = place / f"{len(found)}-{repository.name}"
        try:
            git(repository, "worktree", "add", "-b", branch, str(worktree))
        except subprocess.CalledProcessError:
            remove(found, branch)
            raise
        found[worktree] = repository
    return found


def remove(worktrees: dict[Path, Path], branch: str) -> None:
    """Remove worktrees in which nothing was done, and their branches."""
    for worktree, repository in worktrees.items():
        git(repository, "worktree", "remove", "--force", str(worktree))
        git(repository, "branch", "-D", branch)


def keep(result: TaskResult, worktree: Path, repository: Path, branch: str) -> str:
    """Commit what a task did, remove the worktree, and return a sentence."""
    git(worktree, "add", "--all")
    changed = git(worktree, "diff", "--cached", "--shortstat")
    if changed:
        git(worktree, "commit", "--message", f"{branch}: {result.status}")
    if changed:
        git(repository, "worktree", "remove", "--force", str(worktree))
    else:
        remove({worktree: repository}, branch)
    # Of a task that failed the last line says most.
    why = "" if result.ok else f" ({(result.error or result.output).strip().splitlines()[-1]})"
    return f"{repository}: {result.status}{why}: {f'{changed}, on branch {branch}' if changed else 'no change'}"


async def main(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="fan-out-") as place:
        worktrees = add_worktrees(options.repositories, Path(place), options.branch)
        config = PoolConfig(
            name=f"fan-out-{options.branch}",
            worker_type=options.worker_type,
            min_workers=min(options.workers, len(worktrees)),
            max_workers=max(10, options.workers),
            allowed_roots=(place,),
        )
        left = dict(worktrees)
        failed = 0
        try:
            async with PoolManager() as manager:  # closes the pool at the end
                pool = await manager.spawn_pool(config=config)
                tasks = ({"prompt": options.prompt, "cwd": str(worktree), "timeout": 3600} for worktree in worktrees)
                sent = await manager.submit_many(tasks, pool=pool)
                of_task = dict(zip([one.task_id for one in sent], worktrees, strict=True))
                async for result in manager.results(of_task):  # as they end
                    worktree = of_task[result.task_id]
                    print(keep(result, worktree, left.pop(worktree), options.branch), flush=True)
                    failed += not result.ok
        finally:
            remove(left, options.branch)
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt")
    parser.add_argument("repositories", nargs="+", type=lambda text: Path(text).resolve())
    parser.add_argument("--branch", default="fan-out", help="branch of the changes; must not exist [fan-out]")
    parser.add_argument("--worker-type", help="how the prompt is run [the first AI program found]")
    parser.add_argument("--workers", type=int, default=3, help="how many at once [3]")
    try:
        sys.exit(asyncio.run(main(parser.parse_args())))
    except errors.MahavishnuError as exc:
        sys.exit(f"Error: {exc}")
    except subprocess.CalledProcessError as exc:
        sys.exit(f"Error: git: {exc.stderr.strip()}")
