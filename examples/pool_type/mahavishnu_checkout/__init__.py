"""Pool type ``checkout``: each pool has a clone of a git repository, made at its spawning, removed at its closing.

``endpoint`` is the repository, the one ``allowed_roots`` the directory below which clones are made, on this machine.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mahavishnu_pools import (
    MahavishnuPool,
    Outside,
    PoolConfig,
    PoolType,
    Settings,
    TaskResult,
    TaskSpec,
    Trouble,
    errors,
)

Task = TaskSpec | Mapping[str, Any]


def clone_of(config: PoolConfig) -> Path:
    (root,) = config.allowed_roots or ()
    return Path(root) / config.name


def check(config: PoolConfig) -> None:
    """Refuse what cannot be used; ``InvalidField`` names the field."""
    if not config.endpoint:
        raise errors.InvalidField.of("endpoint", "is missing", "Name the repository to clone.")
    if len(config.allowed_roots or ()) != 1:
        raise errors.InvalidField.of("allowed_roots", "must be one directory", "Name the one to clone into.")


class CheckoutPool(MahavishnuPool):
    """A handle: its tasks run in the clone unless they say where else; ``pull`` brings the clone up to date."""

    async def pull(self) -> str:
        return await git("-C", str(clone_of(self.config)), "pull", "--ff-only")

    async def execute(self, task: Task) -> TaskResult:
        return await super().execute(self._here(task))

    async def execute_batch(self, tasks: Iterable[Task]) -> list[TaskResult]:
        return await super().execute_batch([self._here(task) for task in tasks])

    def _here(self, task: Task) -> Task:
        fields = task.model_dump(exclude_unset=True) if isinstance(task, TaskSpec) else task
        return {"cwd": str(clone_of(self.config)), **fields}


class Clone:
    """What a pool has outside of Redis: its clone. All of it may be repeated."""

    start_timeout = 0.0  # workers start as quickly as anywhere
    outlives_workers = True  # they work in it until they end

    async def check(self, config: PoolConfig) -> None:
        await git("ls-remote", "--heads", str(config.endpoint))

    async def make(self, pool_id: str, config: PoolConfig) -> None:
        if not clone_of(config).exists():
            await git("clone", "--quiet", str(config.endpoint), str(clone_of(config)))

    async def scale(self, pool_id: str, config: PoolConfig, *, workers: int) -> None:
        pass  # a clone serves any number

    async def remove(self, pool_id: str, config: PoolConfig) -> None:
        await asyncio.to_thread(shutil.rmtree, clone_of(config), ignore_errors=True)

    async def trouble(self, pool_id: str, config: PoolConfig) -> Trouble | None:
        missing = not clone_of(config).is_dir()
        return (
            Trouble(f"Its clone {clone_of(config)} is gone. Spawn the pool again.", lasting=True) if missing else None
        )


def outside(config: PoolConfig, settings: Settings) -> Outside:
    return Clone()


async def git(*arguments: str) -> str:
    """Run git.

    Raises:
        Unavailable: it failed; the message is what git said.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("git", *arguments, stdout=pipe, stderr=pipe)
    output, said = await process.communicate()
    if process.returncode != 0:
        raise errors.Unavailable(f"git {arguments[0]} failed: {said.decode().strip()}")
    return output.decode()


CHECKOUT = PoolType("checkout", check=check, handle=CheckoutPool, outside=outside)
