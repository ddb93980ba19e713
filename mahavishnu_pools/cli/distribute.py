"""The command ``distribute``: one task spread over several pools."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools.cli import task_documents
from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.options import filter_options, live_format_option, task_options
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.progress import bar
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.task_input import TaskInput, take_filters

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.routing.eligibility import PoolFilter

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
@click.option("--pool", "-p", "pools", multiple=True, metavar="POOL", help="Only this pool (may be repeated).")
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
    default="concat",
    show_default=True,
    metavar="NAME",
    help="With map_reduce: how the results become one.",
)
@task_options
@filter_options
@live_format_option
@click.pass_obj
def distribute(session: Session, /, *, output: Output, **given: Any) -> ExitCode:
    """Split the payload's list into tasks over several pools, and wait for all results."""
    filters = take_filters(given)
    how = {name: given.pop(name) for name in ("strategy", "split_on", "chunk_size", "reducer")}
    how = {**how, "pools": list(given.pop("pools")) or None, "filters": filters}
    work = TaskInput(**given)
    task = work.task()

    async def start(manager: PoolManager) -> ExitCode:
        started = await manager.start_distribution(task, **how)
        output.show(task_documents.distribution_accepted(started.batch_id, started.strategy, started.task_ids))
        return ExitCode.DONE

    async def run(manager: PoolManager) -> ExitCode:
        if output.for_people:
            count = await _pools_in_reach(manager, how["pools"], filters=filters)
            output.say(f"Distributing task across {count} pools...\n  Strategy: {how['strategy']}")
        with bar("Distributing") if output.live else nullcontext() as advance:
            result = await manager.distribute(task, **how, wait_timeout=work.wait_timeout, on_progress=advance)
        output.show(task_documents.distributed(result))
        return ExitCode.DONE if result.failed == 0 else ExitCode.TASK_FAILED

    return session.run(start if work.no_wait else run)


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
