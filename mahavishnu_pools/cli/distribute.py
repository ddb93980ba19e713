"""The command ``distribute``: one task spread over several pools."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import receipts, task_documents
from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.items import items_from, same_for_all, with_items
from mahavishnu_pools.cli.options import filter_options, live_format_option, parts_options
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.pool_labels import pool_names_for, with_pool_names
from mahavishnu_pools.cli.pool_options import pools_option
from mahavishnu_pools.cli.progress import bar
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.task_input import TaskInput, take_filters

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.routing.distributing import Distribution
    from mahavishnu_pools.routing.eligibility import PoolFilter
    from mahavishnu_pools.schemas.task import DistributionResult

#: What ``--strategy`` takes.
STRATEGIES = ("round_robin", "broadcast", "random", "least_loaded", "map_reduce")


@click.command()
@click.option(
    "--strategy",
    "-s",
    type=click.Choice(STRATEGIES, case_sensitive=False),
    default="round_robin",
    show_default=True,
    help="How the parts are spread.",
)
@pools_option("Only this pool (may be repeated).")
@click.option(
    "--split-on", metavar="KEY", help="The list in the payload that is split. [default: items, files, batch or data]"
)
@click.option(
    "--chunk-size",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Elements of the list in one task.",
)
@click.option(
    "--reducer",
    metavar="NAME",
    help="With map_reduce: how the results become one. [default: analysis for analyze, else concat]",
)
@click.option("--items-from", metavar="FILE|-|GLOB", help="The list to split: lines of a file, or matching paths.")
@click.option("--no-cancel", is_flag=True, help="Ctrl-C leaves the tasks running.")
@parts_options
@filter_options
@live_format_option
@click.pass_obj
def distribute(session: Session, /, *, output: Output, no_cancel: bool, **given: Any) -> ExitCode:
    """Split a list into tasks over several pools, and wait for all results.

    The list is that of the payload, or --items-from. In --prompt and --cwd {item} stands for the item.
    """
    how = {name: given.pop(name) for name in ("strategy", "split_on", "chunk_size", "reducer")}
    how = {**how, "pools": list(given.pop("pools")) or None, "filters": take_filters(given)}
    items = given.pop("items_from")
    if items is None and given["prompt"] is not None and how["strategy"] != "broadcast":
        raise errors.InvalidField.of("--items-from", "is missing", "Name the list that {item} of --prompt stands for.")
    if items is not None and given["task_type"] is not None and given["payload"] is None:
        given["payload"] = "{}"
    work = TaskInput(**given)
    task = work.task(directory=session.directory)
    if items is not None:
        task = with_items(task, items_from(items), key=how["split_on"])
        if same_for_all(task):
            click.echo("Warning: {item} is neither in the prompt nor in --cwd: all tasks are the same.", err=True)

    async def run(manager: PoolManager) -> ExitCode:
        started = await manager.start_distribution(task, **how)
        if work.no_wait:
            output.show(receipts.distribution_accepted(started))
            return ExitCode.DONE
        try:
            if output.for_people:
                count = await _pools_in_reach(manager, how["pools"], filters=how["filters"])
                about = f"  Strategy: {started.strategy}\n  Batch: {started.batch_id}"
                output.say(f"Distributing task across {count} pools...\n{about}")
                if started.known:
                    output.say(f"  {task_documents.before_text(started.known, len(started.task_ids))}")
            result = await _gathered(manager, started, output=output, wait_timeout=work.wait_timeout)
        except asyncio.CancelledError:
            await _interrupted(manager, started, no_cancel=no_cancel, output=output)
            raise
        document = task_documents.distributed(result, known=started.known)
        output.show(with_pool_names(document, await pool_names_for(manager, output)))
        return ExitCode.DONE if result.failed == 0 else ExitCode.TASK_FAILED

    return session.run(run)


async def _gathered(
    manager: PoolManager, started: Distribution, *, output: Output, wait_timeout: float | None
) -> DistributionResult:
    with bar("Distributing") if output.live else nullcontext() as advance:
        return await manager.gather(started, wait_timeout=wait_timeout, on_progress=advance)


async def _interrupted(manager: PoolManager, started: Distribution, *, no_cancel: bool, output: Output) -> None:
    if no_cancel:
        output.say(f"The {len(started.task_ids)} tasks of batch {started.batch_id} go on.")
        return
    # What somebody had submitted before, under the same key, is theirs.
    known = set(started.known)
    own = [task_id for task_id in started.task_ids if task_id not in known]
    for task_id in own:
        await manager.cancel(task_id, reason="interrupted at the command line")
    others = f" {len(started.known)} that had been submitted before go on." if started.known else ""
    output.say(f"Cancelled the {len(own)} tasks of batch {started.batch_id}.{others}")


async def _pools_in_reach(manager: PoolManager, pools: list[str] | None, *, filters: PoolFilter | None) -> int:
    if pools is not None:
        return len(set(pools))
    if filters is None:
        return len(await manager.list_pools(active_only=True))
    found = await manager.list_pools(active_only=True, pool_type=filters.pool_type)
    return sum(
        set(filters.tags) <= set(pool.tags)
        and filters.region in (None, pool.region)
        and filters.worker_type in (None, pool.worker_type)
        for pool in found
    )
