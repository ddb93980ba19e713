"""The full-screen table of ``watch``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mahavishnu_pools.cli.formats.cells import COLOURS, harmless, sign_of
from mahavishnu_pools.cli.watching.model import KEPT, Monitor, Row, sparkline

if TYPE_CHECKING:
    from rich.console import Console

#: What the keys do, under the table.
HELP = "↑↓ select   s sort   p pause/resume   + - scale   q quit"

_STYLES = {32: "green", 36: "cyan", 33: "yellow", 31: "red"}

#: Lines that are no rows: title, head, frame, message, help.
_AROUND = 8


def screen(monitor: Monitor, *, console: Console, message: str) -> RenderableType:
    """Return the whole screen; rows that do not fit are left out around the selected one."""
    rows, selected = monitor.rows, monitor.selected
    room = max(1, console.height - _AROUND)
    first = max(0, min(selected - room // 2, len(rows) - room))
    table = Table(title=f"Pool Monitor (Active: {monitor.active})", title_justify="left", expand=False)
    for title, right in (("Pool ID", False), ("Name", False), ("Type", False), ("Status", False), ("Workers", True)):
        table.add_column(title, justify="right" if right else "left", no_wrap=True)
    for title in ("Running", "Queued", "Completed", "Failed"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("Load", "Tasks/s"):
        table.add_column(title, no_wrap=True, width=KEPT + 6)
    for place, row in enumerate(rows[first : first + room], first):
        table.add_row(*_cells(row), style="reverse" if place == selected else "")
    hidden = f"{len(rows) - room} more pools.  " if len(rows) > room else ""
    foot = Text(f"{hidden}Sorted by {monitor.order}.   {HELP}", style="dim")
    body: RenderableType = table if rows else Text("No pools. Make one with: mahavishnu pools spawn --name NAME")
    return Group(body, Text(message), foot)


def _cells(row: Row) -> list[RenderableType]:
    pool = row.pool
    sign = sign_of(pool.status.value)
    status = Text.assemble((sign, _STYLES.get(COLOURS.get(sign, 0), "")), " ", pool.status.value)
    rate = row.rates[-1] if row.rates else 0.0
    texts = (pool.pool_id, pool.name, pool.pool_type)
    numbers = (f"{pool.workers}/{pool.max_workers}", pool.running, pool.queued, pool.tasks_completed, pool.tasks_failed)
    return [
        *(Text(harmless(text)) for text in texts),
        status,
        *(Text(str(number)) for number in numbers),
        Text(f"{pool.load:5.1f} {sparkline(row.loads, top=max(1.0, *row.loads))}"),
        Text(f"{rate:5.1f} {sparkline(row.rates)}"),
    ]
