"""The command ``rebalance``, and what is printed of tasks that changed their pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from mahavishnu_pools.cli.formats.interface import Block, Cell, Column, Document, Note, Table
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.pool_options import pools_option
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.moving import Rebalanced, TaskMove

_STRATEGIES = ["least_loaded", "round_robin", "random", "affinity"]

_MOVE_COLUMNS = (Column("From"), Column("To"), Column("Priority", "right"), Column("Tasks", "right"))

_POOL_COLUMNS = (
    Column("Pool"),
    Column("Queued", "right"),
    Column("Queued Then", "right"),
    Column("Load", "right"),
    Column("Load Then", "right"),
)


@click.command()
@click.option(
    "--strategy",
    "-s",
    type=click.Choice(_STRATEGIES),
    default="least_loaded",
    show_default=True,
    help="How the pools that tasks go to are chosen; affinity: tasks return to the pool of their key.",
)
@pools_option("Only among these pools (id or name, may be repeated).")
@click.option("--dry-run", is_flag=True, help="Only tell what would be moved.")
@format_option
@click.pass_obj
def rebalance(session: Session, /, *, strategy: str, pools: tuple[str, ...], dry_run: bool, output: Output) -> None:
    """Move waiting tasks between pools until their loads are even."""

    async def move(manager: PoolManager) -> Rebalanced:
        return await manager.rebalance(strategy, pools=pools or None, dry_run=dry_run)

    output.show(rebalanced(session.run(move)))


def rebalanced(found: Rebalanced) -> Document:
    """Return the document of ``pools rebalance``."""
    number = f"{found.moved} {'task' if found.moved == 1 else 'tasks'}"
    if not found.moved:
        head = Note("Nothing to move: no task would run sooner on another pool that can run it.")
    elif found.dry_run:
        head = Note(f"{number} would be moved")
    else:
        head = Note(f"{number} moved", good=True)
    rows = tuple(
        (pool.name, pool.queued_before, pool.queued_after, round(pool.load_before, 2), round(pool.load_after, 2))
        for pool in found.pools
    )
    left_out = tuple(Note(f"{name} gets no tasks: {reason}") for name, reason in found.left_out.items())
    pools = (Table("Pools", _POOL_COLUMNS, rows),) if rows else ()
    return Document(found.model_dump(mode="json"), (head, *move_table(found.moves), *pools, *left_out))


def move_table(moves: Sequence[TaskMove]) -> tuple[Block, ...]:
    """Return the table of moves, nothing when there are none."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (one.source_name, one.target_name, one.waiting if one.priority is None else one.priority, one.tasks)
        for one in moves
    )
    return (Table("Moved Tasks", _MOVE_COLUMNS, rows),) if rows else ()
