"""Commands that run a task, or several prompts: ``execute`` and ``route``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools import errors, names
from mahavishnu_pools.cli import receipts, task_documents
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.exit_codes import ExitCode, code_of_result
from mahavishnu_pools.cli.following import follow_batch
from mahavishnu_pools.cli.options import Selector, filter_options, live_format_option, tasks_options
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.pool_labels import names_of, with_pool_names
from mahavishnu_pools.cli.progress import bar
from mahavishnu_pools.cli.sending import sent_whole
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.task_input import TaskInput, take_filters

if TYPE_CHECKING:
    from mahavishnu_pools.cli.formats.interface import Document
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.routing import Routing
    from mahavishnu_pools.schemas.task import TaskResult
    from mahavishnu_pools.store.tasks import Submitted

_FOLLOW = click.option("--follow", is_flag=True, help="Show its output on standard error while it runs.")


@dataclass(frozen=True, slots=True)
class Request:
    """Tasks and where they go. ``detached``: Ctrl-C leaves them running. ``follow``: output is shown as it comes."""

    works: Sequence[TaskInput]
    where: dict[str, Any]
    detached: bool
    follow: bool

    @property
    def no_wait(self) -> bool:
        """Tell whether only the ids are wanted."""
        return self.works[0].no_wait

    @property
    def wait_timeout(self) -> float | None:
        """Return the seconds to wait, None: for ever."""
        return self.works[0].wait_timeout


@click.command()
@click.argument("pool_id", metavar="[POOL]", required=False, shell_complete=pool_names)
@click.option("--pool", "-p", metavar="POOL", shell_complete=pool_names, help="Run it on this pool (id or name).")
@click.option("--auto-route", is_flag=True, help="Let the best pool run it (the default without a pool).")
@_FOLLOW
@click.option("--no-cancel", is_flag=True, help="Ctrl-C leaves the task running.")
@tasks_options
@filter_options
@live_format_option
@click.pass_obj
def execute(session: Session, /, *, output: Output, no_cancel: bool, **given: Any) -> ExitCode:
    """Run a task on a POOL (id or name), or on the best one, and wait for its result.

    Each prompt is a task of its own; all are one batch.
    """
    pool = _one_pool(given.pop("pool_id"), given.pop("pool"), auto_route=given.pop("auto_route"))
    filters = take_filters(given)
    if pool is not None and filters is not None:
        raise click.UsageError(
            "Filters such as --pool-filter and --tag choose a pool; leave them out when you name one."
        )
    follow = given.pop("follow")
    request = Request(_works(given), {"pool": pool, "filters": filters}, no_cancel, follow)
    return _run(session, request, output=output)


@click.command()
@click.option(
    "--selector",
    type=Selector(),
    help="How the pool is chosen. [default: least_loaded]",
)
@click.option("--affinity", metavar="KEY", help="Tasks of one key go to one pool.")
@click.option("--explain", is_flag=True, help="Tell the candidates, their loads, and why the others were left out.")
@click.option("--dry-run", is_flag=True, help="Only tell that; nothing is run.")
@_FOLLOW
@click.option("--no-cancel", is_flag=True, help="Ctrl-C leaves the task running.")
@tasks_options
@filter_options
@live_format_option
@click.pass_obj
def route(session: Session, /, *, output: Output, no_cancel: bool, dry_run: bool, **given: Any) -> ExitCode:
    """Run a task on the pool the selector chooses, and wait for its result.

    Each prompt is a task of its own; all are one batch.
    """
    where = {
        "pool_selector": given.pop("selector"),
        "pool_affinity": given.pop("affinity"),
        "filters": take_filters(given),
    }
    explain, follow = given.pop("explain"), given.pop("follow")
    if dry_run:
        return _tell_route(session, _works(given), where, output=output)
    where["explain"] = explain
    return _run(session, Request(_works(given), where, no_cancel, follow), output=output)


def _tell_route(session: Session, works: list[TaskInput], where: dict[str, Any], *, output: Output) -> ExitCode:
    if len(works) > 1:
        raise errors.InvalidField.of("--dry-run", "is for one task, and there are several prompts", "Give one prompt.")
    task = works[0].task(directory=session.directory)

    async def tell(manager: PoolManager) -> Routing:
        return await manager.explain_route(task, **where)

    output.show(task_documents.routed(session.run(tell)))
    return ExitCode.DONE


def _works(given: dict[str, Any]) -> list[TaskInput]:
    prompts = given.pop("prompts") or (None,)
    if len(prompts) > 1 and given["idempotency_key"] is not None:
        remedy = "Give one prompt, or use 'mahavishnu pools submit --file', where each task has its own key."
        raise errors.InvalidField.of("--idempotency-key", "names one task, and there are several prompts", remedy)
    return [TaskInput(prompt=prompt, **given) for prompt in prompts]


def _one_pool(argument: str | None, option: str | None, *, auto_route: bool) -> str | None:
    if argument is not None and option is not None and argument != option:
        raise click.UsageError(f"Two pools are named: {argument!r} and --pool {option!r}. Give one of them.")
    pool = argument if argument is not None else option
    if pool is not None and auto_route:
        raise click.UsageError(f"--auto-route chooses a pool, and {pool!r} names one. Give either.")
    return pool


def _run(session: Session, request: Request, *, output: Output) -> ExitCode:
    if request.follow and request.no_wait:
        raise click.UsageError("--follow waits for the task, --no-wait does not. Give either.")
    tasks = [work.task(directory=session.directory) for work in request.works]
    batch_id = names.new_batch_id()

    async def one(manager: PoolManager) -> ExitCode:
        submitted = await sent_whole(
            manager.submit(tasks[0], batch_id=batch_id, **request.where),
            interrupted=lambda sent: _interrupted(manager, sent, request=request, output=output),
        )
        if request.no_wait:
            output.show(await _receipt(manager, submitted, batch_id=batch_id, output=output))
            return ExitCode.DONE
        result = await _outcome(manager, submitted, request=request, output=output)
        output.show(task_documents.executed(result, new=submitted.new))
        return code_of_result(result)

    async def several(manager: PoolManager) -> ExitCode:
        sent = await sent_whole(
            manager.submit_many(tasks, batch_id=batch_id, **request.where),
            interrupted=lambda _: _batch_interrupted(manager, batch_id, request=request, output=output),
        )
        if request.no_wait:
            output.show(receipts.batch_accepted(batch_id, sent))
            return ExitCode.DONE
        output.say(f"Waiting for the {len(sent)} tasks of batch {batch_id} …")
        try:
            return await follow_batch(manager, batch_id, output=output, wait_timeout=request.wait_timeout)
        except asyncio.CancelledError:
            await _batch_interrupted(manager, batch_id, request=request, output=output)
            raise

    return session.run(one if len(tasks) == 1 else several)


async def _receipt(manager: PoolManager, submitted: Submitted, *, batch_id: str, output: Output) -> Document:
    labels = await names_of(manager, [submitted.pool_id]) if output.for_people else {}
    # One that had been submitted before may be anywhere by now.
    status = None if submitted.new else (await manager.task(submitted.task_id)).status.value
    return with_pool_names(receipts.accepted(submitted, batch_id=batch_id, status=status), labels)


def _why_it_waits(submitted: Submitted) -> str | None:
    """Return why a task goes nowhere yet, and what is to be done; None: it went to a pool."""
    task_id = submitted.task_id
    if submitted.waiting:
        return f"Task {task_id} waits for those it comes after."
    if not submitted.held:
        return None
    ways = f"mahavishnu pools approve {task_id}, or: mahavishnu pools refuse {task_id}"
    return f"Task {task_id} awaits approval. Give it with: {ways}"


async def _tell_where(manager: PoolManager, submitted: Submitted, *, named: bool, output: Output) -> None:
    """Say which task it is, where it went and why it waits; ``named``: somebody knew the pool, and needs not be told.

    The task comes first: who loses the terminal finds it by its id.
    """
    task_id, pool_id = submitted.task_id, submitted.pool_id
    if not submitted.new:
        output.say(f"Task {task_id} had been submitted before, with this idempotency key; it is not sent again.")
        return
    waits = _why_it_waits(submitted)
    output.say(waits or f"✓ Routed to pool: {pool_id}\n  Task: {task_id}")
    if waits:
        return
    with suppress(errors.NotFound):  # it was closed meanwhile; the task's outcome says so
        pool = await manager.pool_info(pool_id)
        status = pool.status.value
        if status not in ("running", "degraded"):
            how = f" Resume it with: mahavishnu pools resume {pool.name}" if status in ("paused", "draining") else ""
            output.say(f"  Pool {pool.name} is {status}, so the task waits.{how}")
        elif status == "degraded":
            output.say(f"  Pool {pool.name} is degraded, so the task may wait. {pool.reason or ''}".rstrip())
        elif not named:
            output.say(f"  Name: {pool.name}")


async def _outcome(manager: PoolManager, submitted: Submitted, *, request: Request, output: Output) -> TaskResult:
    try:
        if output.for_people:
            await _tell_where(manager, submitted, named=request.where.get("pool") is not None, output=output)
        if request.follow:
            async for piece in manager.follow(submitted.task_id, wait_timeout=request.wait_timeout):
                output.stream(piece)
        with bar("Running") if output.live else nullcontext() as advance:
            result = await manager.result(submitted.task_id, wait_timeout=request.wait_timeout)
            if advance is not None:
                advance(1, 1)
            return result
    except asyncio.CancelledError:
        await _interrupted(manager, submitted, request=request, output=output)
        raise


async def _interrupted(manager: PoolManager, submitted: Submitted, *, request: Request, output: Output) -> None:
    task_id = submitted.task_id
    # What somebody had submitted before, under the same key, is theirs.
    if request.detached or not submitted.new:
        output.say(f"Task {task_id} goes on. Follow it with: mahavishnu pools task {task_id} --follow")
        return
    await manager.cancel(task_id, reason="interrupted at the command line")
    output.say(f"Cancelled task {task_id}.")


async def _batch_interrupted(manager: PoolManager, batch_id: str, *, request: Request, output: Output) -> None:
    if request.detached:
        output.say(f"Batch {batch_id} goes on. Follow it with: mahavishnu pools task --batch {batch_id} --follow")
        return
    await manager.cancel_batch(batch_id, reason="interrupted at the command line")
    output.say(f"Cancelled batch {batch_id}.")
