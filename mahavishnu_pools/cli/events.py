"""The command ``events``: the journal of pools, nodes and tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.formats.interface import Column, Document, Note, Table
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.tasks import Since

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.event import Event

#: Details of our own events that are times, in epoch seconds.
_TIMES = ("ends", "due")

_COLUMNS = (Column("Time"), Column("Event"), Column("Pool"), Column("Task", whole=True), Column("Details"))


@click.command()
@click.option("--follow", is_flag=True, help="Go on with those to come until Ctrl-C; a line each.")
@click.option("--pool", "-p", metavar="POOL", shell_complete=pool_names, help="Only of this pool (id or name).")
@click.option("--type", "-t", "types", multiple=True, metavar="TYPE", help="Only of this type; task_*: of all like it.")
@click.option("--since", type=Since(), metavar="TIME", help="Only those since: 15m, 2h, 1d, or a local time.")
@click.option("--limit", "-n", type=click.IntRange(1, 100_000), default=50, show_default=True, help="The newest N.")
@format_option
@click.pass_obj
def events(session: Session, /, *, follow: bool, limit: int, output: Output, **which: Any) -> None:
    """Show what happened to pools, nodes and tasks, and what programs told, the oldest first."""

    async def read(manager: PoolManager) -> None:
        last = await manager.last_events() if follow else []
        found = await manager.events(limit=limit, **which)
        if not follow:
            return output.show(event_list(found))
        for event in found:
            _print(event, output)
        # What came between the two readings was shown already.
        shown = {event.event_id for event in found}
        async for event in manager.follow_events(pool=which["pool"], types=which["types"], after=last):
            if event.event_id not in shown:
                _print(event, output)
        return None

    session.run(read)


def event_list(found: Sequence[Event]) -> Document:
    """Return the document of ``pools events``."""
    data = {"events": [event.model_dump(mode="json") for event in found]}
    if not found:
        return Document(data, (Note("No events."),))
    rows = tuple((_clock(e), e.type, e.pool or e.pool_id, e.task_id, _details(e)) for e in found)
    return Document(data, (Table("Events", _COLUMNS, rows),))


def _print(event: Event, output: Output) -> None:
    if output.for_people:
        parts = (_clock(event), event.type, event.pool or event.pool_id, event.task_id, _details(event))
        click.echo("  ".join(part for part in parts if part))
    else:
        click.echo(json.dumps(event.model_dump(mode="json")))


def _clock(event: Event) -> str:
    return event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _details(event: Event) -> str:
    return ", ".join(f"{name}={_detail(event, name, value)}" for name, value in event.details.items())


def _detail(event: Event, name: str, value: Any) -> str:
    """Return a detail as people read it. Of what programs told nothing is known to be a time."""
    if name in _TIMES and isinstance(value, float) and not event.event_id.startswith("programs:"):
        return datetime.fromtimestamp(value).strftime("%H:%M:%S")  # noqa: DTZ006 - local time, for people
    return value if isinstance(value, str) else json.dumps(value)
