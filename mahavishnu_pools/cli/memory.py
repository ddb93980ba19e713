"""The commands ``sync`` and ``search-memory``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.formats.interface import Column, Document, Note, Table
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from datetime import datetime

    from mahavishnu_pools.manager import PoolManager

_COLUMNS = (Column("Time"), Column("Pool"), Column("Task"), Column("Status"), Column("Content"))

#: Characters of a record that the table shows.
_SHOWN = 120

_STATUSES = ["completed", "failed", "timeout", "cancelled", "dead"]


@click.command()
@format_option
@click.pass_obj
def sync(session: Session, /, *, output: Output) -> None:
    """Deliver the outcomes of tasks to Session-Buddy and Akosha now. Servers that are down get them later."""

    async def act(manager: PoolManager) -> dict[str, Any]:
        return await manager.sync_memory()

    output.show(synced(session.run(act)))


@click.command("search-memory")
@click.argument("query")
@click.option("--pool", "-p", metavar="POOL", shell_complete=pool_names, help="Only this pool (id or name).")
@click.option("--status", "-s", type=click.Choice(_STATUSES), help="Only tasks that ended so.")
@click.option(
    "--since", type=click.DateTime(), metavar="TIME", help="Only later ones: local time, 2030-01-31 or with T15:00:00."
)
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=10, show_default=True, help="The best N.")
@format_option
@click.pass_obj
def search_memory(session: Session, /, *, query: str, limit: int, output: Output, **chosen: Any) -> None:
    """Search what finished tasks were asked and put out: words, "a phrase" or begin*."""
    from mahavishnu_pools import names
    from mahavishnu_pools.memory.index import Filters

    since: datetime | None = chosen["since"]

    async def find(manager: PoolManager) -> list[dict[str, Any]]:
        pool: str | None = chosen["pool"]
        if pool is not None and not pool.startswith(names.POOL_ID_PREFIX):  # the id may be of a pool that is gone
            pool = (await manager.pool_info(pool)).pool_id
        moment = None if since is None else since.astimezone()
        filters = Filters(pool_id=pool, status=chosen["status"], since=moment)
        return await manager.search_memory(query, limit=limit, filters=filters)

    output.show(found(session.run(find)))


def synced(report: dict[str, Any]) -> Document:
    """Return the document of ``pools sync``."""
    done = Note(
        f"{report['memory_items_synced']} delivered of {report['pools_synced']} pools, "
        f"{report['memory_items_pending']} pending",
        good=not report["errors"],
    )
    return Document(report, (done, *(Note(f"{name}: {told}") for name, told in report["errors"].items())))


def found(hits: list[dict[str, Any]]) -> Document:
    """Return the document of ``pools search-memory``."""
    rows = tuple(
        (
            str(hit["timestamp"] or "")[:19],
            hit["metadata"].get("pool_name") or hit["pool_id"],
            hit["task_id"],
            hit["metadata"].get("status"),
            " ".join(str(hit["content"]).split())[:_SHOWN],
        )
        for hit in hits
    )
    blocks = (Table("Memory", _COLUMNS, rows),) if rows else (Note("Nothing was found."),)
    return Document({"count": len(hits), "results": hits}, blocks)
