"""The group ``dead``: tasks that were given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import dead_documents
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.options import Seconds, format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.pool_labels import pool_names_for, with_pool_names
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.cli.formats.interface import Document
    from mahavishnu_pools.manager import PoolManager


@click.group()
def dead() -> None:
    """Look at tasks that were given up, run them again, or forget them."""


@dead.command("list")
@click.option("--pool", metavar="POOL", shell_complete=pool_names, help="Only those of this pool (id or name).")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="The newest N.")
@format_option
@click.pass_obj
def list_dead(session: Session, /, *, pool: str | None, limit: int, output: Output) -> None:
    """List dead letters, the newest first."""

    async def read(manager: PoolManager) -> Document:
        letters = await manager.dead_letters(pool=pool, limit=limit)
        return with_pool_names(dead_documents.dead_list(letters), await pool_names_for(manager, output))

    output.show(session.run(read))


@dead.command()
@click.argument("task_id")
@format_option
@click.pass_obj
def show(session: Session, /, *, task_id: str, output: Output) -> None:
    """Show why a task was given up, what it was, and what it printed last."""

    async def read(manager: PoolManager) -> Document:
        letter = await manager.dead_letter(task_id)
        return with_pool_names(dead_documents.dead_details(letter), await pool_names_for(manager, output))

    output.show(session.run(read))


@dead.command()
@click.argument("task_ids", nargs=-1, metavar="[TASK]...")
@click.option("--all", "everything", is_flag=True, help="All that can be run.")
@click.option("--pool", metavar="POOL", shell_complete=pool_names, help="Run them on this pool instead of their own.")
@format_option
@click.pass_obj
def replay(
    session: Session, /, *, task_ids: tuple[str, ...], everything: bool, pool: str | None, output: Output
) -> None:
    """Run dead tasks again under their ids; their losses, attempts and retries count from zero."""
    _chosen(task_ids, everything=everything, otherwise=False)

    async def act(manager: PoolManager) -> list[str]:
        return await manager.replay_dead(None if everything else task_ids, pool=pool)

    output.show(dead_documents.replayed(session.run(act)))


@dead.command()
@click.argument("task_ids", nargs=-1, metavar="[TASK]...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--older-than", type=Seconds(), metavar="SECONDS", help="Spare those that died later than this ago.")
@format_option
@click.pass_obj
def purge(
    session: Session, /, *, task_ids: tuple[str, ...], everything: bool, older_than: float | None, output: Output
) -> None:
    """Forget dead letters; their tasks' records expire as those of others."""
    _chosen(task_ids, everything=everything, otherwise=older_than is not None)

    async def act(manager: PoolManager) -> int:
        return await manager.purge_dead(task_ids or None, older_than=older_than)

    output.show(dead_documents.purged(session.run(act)))


def _chosen(task_ids: tuple[str, ...], *, everything: bool, otherwise: bool) -> None:
    remedy = "Name tasks ('mahavishnu pools dead list' shows them), or say --all."
    if task_ids and everything:
        raise errors.InvalidField.of("--all", "and single tasks exclude each other", remedy)
    if not (task_ids or everything or otherwise):
        raise errors.InvalidField.of("TASK", "is missing", remedy)
