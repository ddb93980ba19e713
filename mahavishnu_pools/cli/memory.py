"""The commands ``sync`` and ``search-memory``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.formats.interface import Column, Document, Note, Table
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.tasks import Since

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.memory.search import Hits

_COLUMNS = (Column("Time", spare=1), Column("Pool"), Column("Task", whole=True), Column("Status"), Column("Content"))

#: Characters of a record that the table shows.
_SHOWN = 120

_STATUSES = ["completed", "failed", "timeout", "cancelled", "refused", "dead"]


@click.command()
@click.option(
    "--set-aside",
    type=click.Choice(["list", "retry", "purge"]),
    help="Instead: list the records a server refused while it took others, send them again, or forget them.",
)
@format_option
@click.pass_obj
def sync(session: Session, /, *, set_aside: str | None, output: Output) -> None:
    """Deliver the outcomes of tasks to Session-Buddy and Akosha now. Servers that are down get them later."""

    async def act(manager: PoolManager) -> Document:
        if set_aside == "list":
            return refused(await manager.list_set_aside())
        if set_aside == "retry":
            return sent_again(await manager.retry_set_aside())
        if set_aside == "purge":
            gone = await manager.purge_set_aside()
            return Document({"purged": gone}, (Note(f"{gone} forgotten"),))
        return synced(await manager.sync_memory())

    output.show(session.run(act))


@click.command("search-memory")
@click.argument("words", metavar="[QUERY]", required=False)
@click.option("--query", "-q", metavar="QUERY", help="The same as the argument.")
@click.option("--pool", "-p", metavar="POOL", shell_complete=pool_names, help="Only this pool (id or name).")
@click.option("--pool-type", metavar="TYPE", help="Only pools of this type.")
@click.option("--task", metavar="TASK", help="Only this task.")
@click.option("--status", "-s", type=click.Choice(_STATUSES), help="Only tasks that ended so.")
@click.option("--since", type=Since(), metavar="TIME", help="Only later ones: 15m, 2h, 1d, or a local time.")
@click.option("--until", type=Since(), metavar="TIME", help="Only those before this time.")
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=10, show_default=True, help="The best N.")
@format_option
@click.pass_obj
def search_memory(session: Session, /, *, limit: int, output: Output, **chosen: Any) -> None:
    """Search what finished tasks were asked and put out: words, "a phrase" or begin*. '' finds the newest."""
    from mahavishnu_pools import names
    from mahavishnu_pools.memory.index import Filters

    query = _one_query(chosen.pop("words"), chosen.pop("query"))

    since, until = chosen["since"], chosen["until"]
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--since must be before --until.")

    async def find(manager: PoolManager) -> Hits:
        pool: str | None = chosen["pool"]
        if pool is not None and not pool.startswith(names.POOL_ID_PREFIX):  # the id may be of a pool that is gone
            pool = (await manager.pool_info(pool)).pool_id
        filters = Filters(
            pool_id=pool,
            pool_type=chosen["pool_type"],
            task_id=chosen["task"],
            status=chosen["status"],
            since=since,
            until=until,
        )
        return await manager.search_memory(query, limit=limit, filters=filters)

    hits = session.run(find)
    output.show(found(hits))
    for note in hits.notes:
        output.say(note)


def _shown_time(told: object) -> str:
    """Return a time as people here have it, which is how ``--since`` takes it."""
    from datetime import datetime

    try:
        return f"{datetime.fromisoformat(str(told)).astimezone():%Y-%m-%dT%H:%M:%S}"
    except ValueError:  # a server's own way to say it
        return str(told or "")[:19]


def _one_query(argument: str | None, option: str | None) -> str:
    given = [one for one in (argument, option) if one is not None]
    if len(given) != 1:
        problem = "excludes the argument" if given else "is missing"
        raise errors.InvalidField.of("--query", problem, "Give the words to look for once; '' finds the newest.")
    return given[0]


def synced(report: dict[str, Any]) -> Document:
    """Return the document of ``pools sync``."""
    done = Note(
        f"{report['memory_items_synced']} delivered of {report['pools_synced']} pools, "
        f"{report['memory_items_pending']} pending",
        good=not report["errors"],
    )
    return Document(report, (done, *(Note(f"{name}: {told}") for name, told in report["errors"].items())))


def refused(records: list[dict[str, Any]]) -> Document:
    """Return the document of ``pools sync --set-aside list``."""
    rows = tuple((one["sink"], _shown_time(one["set_aside_at"]), one["task_id"], one["reason"]) for one in records)
    columns = (Column("Server"), Column("Time", spare=1), Column("Task", whole=True), Column("Reason"))
    blocks = (Table("Set aside", columns, rows),) if rows else (Note("No record was refused."),)
    return Document({"count": len(records), "records": records}, blocks)


def sent_again(report: dict[str, Any]) -> Document:
    """Return the document of ``pools sync --set-aside retry``."""
    left = report["set_aside"]
    done = Note(f"{report['delivered']} delivered, {left} set aside still", good=not (left or report["errors"]))
    return Document(report, (done, *(Note(f"{name}: {told}") for name, told in report["errors"].items())))


def found(hits: Hits) -> Document:
    """Return the document of ``pools search-memory``."""
    rows = tuple(
        (
            _shown_time(hit["timestamp"]),
            hit["metadata"].get("pool_name") or hit["pool_id"],
            hit["task_id"],
            hit["metadata"].get("status"),
            " ".join(str(hit["content"]).split())[:_SHOWN],
        )
        for hit in hits
    )
    blocks = (Table("Memory", _COLUMNS, rows),) if rows else (Note("Nothing was found."),)
    return Document({"count": len(hits), "results": list(hits), "notes": hits.notes}, blocks)
