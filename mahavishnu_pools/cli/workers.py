"""The group ``workers``: the older verbs, for one prompt on several workers."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools.cli import pool_documents, task_documents
from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.formats.interface import Document
from mahavishnu_pools.cli.options import Seconds, format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.task_input import TaskInput
from mahavishnu_pools.cli.which_stack import with_data_dir

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.pool import PoolInfo
    from mahavishnu_pools.schemas.task import TaskResult

#: The pool of workers of a type is called this and the type.
PREFIX = "workers-"


@click.group()
def workers() -> None:
    """Use workers without thinking of pools (older commands; `pools` does the same and more)."""


@workers.command()
@click.option("--type", "-t", "worker_type", metavar="TYPE", help="How prompts are run. [default: the first AI found]")
@click.option("--count", "-n", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many.")
@format_option
@click.pass_obj
def spawn(session: Session, /, *, worker_type: str | None, count: int, output: Output) -> None:
    """Have workers of a type: a pool named after it, made or scaled to this number."""
    name = PREFIX + (worker_type or "default")

    async def make(manager: PoolManager) -> PoolInfo:
        known = {pool.name: pool for pool in await manager.list_pools()}
        if name not in known:
            fields: dict[str, Any] = {"name": name, "worker_type": worker_type, "min_workers": 1, "auto_scale": False}
            await manager.spawn_pool("mahavishnu", max_workers=count, **fields)
            known = {pool.name: pool for pool in await manager.list_pools()}
        most = max(count, known[name].max_workers)
        return await manager.scale_pool(name, count, max_workers=most)

    pool = session.run(make)
    output.show(pool_documents.pool_details(pool, done=f"{count} workers are in pool {pool.name}"))


with_data_dir(spawn)


@workers.command()
@click.option("--prompt", required=True, metavar="TEXT|-|@FILE", help="What to do, in words.")
@click.option("--type", "-t", "worker_type", metavar="TYPE", help="How prompts are run. [default: the first AI found]")
@click.option("--count", "-n", type=click.IntRange(1, 1000), default=1, show_default=True, help="On how many workers.")
@click.option("--timeout", "-T", type=Seconds(), metavar="SECONDS", help="It may run this long. [default: 300]")
@format_option
def execute(*, prompt: str, worker_type: str | None, count: int, timeout: float | None, output: Output) -> ExitCode:
    """Run a prompt on so many workers of this process at once; neither a stack nor a pool is needed."""
    options: dict[str, Any] = dict.fromkeys(TaskInput.__dataclass_fields__)
    work = TaskInput(**{**options, "prompt": prompt, "timeout": timeout, "env": (), "no_wait": False})
    task = work.task(directory=lambda: None)
    results = asyncio.run(_run(task, worker_type, count))
    output.show(executed(results))
    return ExitCode.DONE if all(result.ok for result in results) else ExitCode.TASK_FAILED


def executed(results: list[TaskResult]) -> Document:
    """Return the document of ``workers execute``: a result for each worker."""
    documents = [task_documents.executed(result) for result in results]
    blocks = tuple(block for document in documents for block in document.blocks)
    return Document({"results": [document.data for document in documents]}, blocks)


async def _run(task: dict[str, Any], worker_type: str | None, count: int) -> list[TaskResult]:
    from mahavishnu_pools.workers import WorkerManager

    async with WorkerManager(max_concurrent=count) as manager:
        work = asyncio.ensure_future(_on_workers(manager, task, worker_type, count))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, work.cancel)
        return await work


async def _on_workers(manager: Any, task: dict[str, Any], worker_type: str | None, count: int) -> list[TaskResult]:
    ids = await manager.spawn_workers(worker_type, count)
    return list(await asyncio.gather(*(manager.execute_task(worker_id, task) for worker_id in ids)))
