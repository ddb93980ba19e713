"""The job itself: a private stack, three pools, one task per file, map-reduced."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.progress import bar
from mahavishnu_pools.demo.files import can_be_sent, python_files
from mahavishnu_pools.demo.report import Address, FileResult, Report, document, file_result
from mahavishnu_pools.embedded import health
from mahavishnu_pools.embedded.parts import CORE, PARTS
from mahavishnu_pools.embedded.private import PrivateStack
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.pool import PoolConfig, PoolInfo
from mahavishnu_pools.schemas.task import DistributionResult
from mahavishnu_pools.settings import Settings

#: The three pools.
POOLS = ("analysis-1", "analysis-2", "analysis-3")

#: One file may take this long, in seconds.
FILE_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Job:
    """What to do. ``directory`` is absolute; ``wait`` is awaited before the stack is stopped (None: do not stay up)."""

    directory: Path
    output: Output
    settings: Settings
    wait: Callable[[], Awaitable[None]] | None = None


async def run(job: Job) -> Report:
    """Analyse the directory, print the report and stop what was started.

    Raises:
        InvalidField: the directory cannot be used.
        StackPartFailed: the private stack does not come up.
    """
    files = python_files(job.directory)
    job.output.say("Starting a private stack …")
    async with PrivateStack(job.settings, parts=CORE if job.wait is None else PARTS) as stack:
        manager = PoolManager(settings=stack.on_stack(job.settings), redis_url=stack.redis_url)
        try:
            report = await _analysed(manager, files, stack=stack, job=job)
        finally:
            await manager.close()
        job.output.show(document(report))
        if job.wait is not None:
            job.output.say("\nThe stack stays up until Ctrl-C. Type the commands above in another terminal.")
            await job.wait()
        job.output.say("Stopping the private stack …")
    return report


async def _analysed(manager: PoolManager, files: Sequence[str], *, stack: PrivateStack, job: Job) -> Report:
    pools = await _three_pools(manager)
    sent = [name for name in files if can_be_sent(name)]
    begin = time.monotonic()
    result = await _distributed(manager, sent, directory=job.directory, output=job.output)
    seconds = time.monotonic() - begin
    pool_names = {pool.pool_id: pool.name for pool in pools}
    found = {
        name: file_result(name, item, pool_names=pool_names) for name, item in zip(sent, result.items, strict=True)
    }
    unsent = FileResult("", None, error="Its name is no valid Unicode, so no task can name it.")
    return Report(
        directory=str(job.directory),
        results=tuple(found.get(name) or _named(unsent, name) for name in files),
        pools=tuple(pool.name for pool in pools),
        workers=sum(pool.workers for pool in pools),
        seconds=seconds,
        addresses=_addresses(stack.data_dir),
        next_steps=next_steps(
            stack.data_dir if job.wait is not None else None, directory=job.directory, example=files[0]
        ),
        stays=job.wait is not None,
    )


async def _three_pools(manager: PoolManager) -> list[PoolInfo]:
    workers = max(2, -(-(os.cpu_count() or 1) // len(POOLS)))
    configs = [
        PoolConfig(name=name, min_workers=workers, max_workers=max(10, workers), worker_type="shell", auto_scale=False)
        for name in POOLS
    ]
    ids = await asyncio.gather(*(manager.spawn_pool("mahavishnu", config) for config in configs))
    return [await manager.pool_info(pool_id) for pool_id in ids]


async def _distributed(
    manager: PoolManager, files: Sequence[str], *, directory: Path, output: Output
) -> DistributionResult:
    output.say(f"Analysing {len(files)} Python files of {directory} on {len(POOLS)} pools …")
    task = {
        "task_type": "analyze",
        "payload": {"files": list(files)},
        "cwd": str(directory),
        "timeout": FILE_TIMEOUT,
    }
    with bar("Analysing") if output.for_people and sys.stderr.isatty() else nullcontext() as advance:
        return await manager.distribute(task, strategy="map_reduce", reducer="analysis", on_progress=advance)


def _named(result: FileResult, name: str) -> FileResult:
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return FileResult(shown, result.issues, error=result.error)


def _addresses(data_dir: Path) -> tuple[Address, ...]:
    state = health.examine(data_dir)
    parts = state.to_document()["parts"] if state is not None else []
    return tuple(Address(part["name"], part["url"]) for part in parts if part["url"])


def next_steps(data_dir: Path | None, *, directory: Path, example: str) -> tuple[str, ...]:
    """Return commands to try; ``data_dir`` is that of a stack that stays up (None: one must be started).

    Tasks run below where the stack is started, so a directory elsewhere is named to the pool and to the task.
    """
    program = _program()
    if data_dir is not None:
        here = f"MAHAVISHNU_DATA_DIR={shlex.quote(str(data_dir))} {program}"
        return (f"{here} pools list", f"{here} pools stats --by-type", f"{here} status")
    elsewhere = not directory.is_relative_to(Path.cwd())
    file = example if elsewhere else os.path.relpath(directory / example)
    payload = shlex.quote(json.dumps({"file": file}))
    root, cwd = (
        f" {option} {shlex.quote(str(directory))}" if elsewhere else "" for option in ("--allowed-root", "--cwd")
    )
    return (
        f"{program} up --detach",
        f"{program} pools spawn --name local --min 2 --worker-type shell{root}",
        f"{program} pools execute --pool local{cwd} --task-type analyze --payload {payload}",
        f"{program} pools list",
        f"{program} down",
    )


def _program() -> str:
    """Return how this installation's program is called from where the user stands."""
    own = Path(sys.executable).with_name("mahavishnu")
    on_path = shutil.which("mahavishnu")
    if on_path is not None and Path(on_path).resolve() == own.resolve():
        return "mahavishnu"
    relative = os.path.relpath(own)
    return shlex.quote(str(own) if relative.startswith("..") else relative)
