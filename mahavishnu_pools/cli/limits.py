"""The commands ``limits`` and ``usage``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.formats.interface import Block, Column, Document, Note, Table
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.limits import UsageRow


@click.command()
@click.option("--end", "ended", metavar="TYPE", help="Let prompts start with this worker type again.")
@click.option("--rate", nargs=2, metavar="POOL RATE", help="Have a pool start at most so many tasks: 30/m, or none.")
@format_option
@click.pass_obj
def limits(session: Session, /, *, ended: str | None, rate: tuple[str, str] | None, output: Output) -> None:
    """Show what holds tasks back: worker types that cool down, rate limits, budgets."""
    if ended is not None and rate is not None:
        raise click.UsageError("Give --end or --rate, not both.")

    async def act(manager: PoolManager) -> Document:
        if rate is not None:
            await manager.limit_rate(rate[0], None if rate[1] == "none" else rate[1])
        if ended is None:
            return limits_document(await manager.limits())
        freed = await manager.end_cool_down(ended)
        text = f"{ended} starts again; {freed} tasks had waited for it"
        return Document({"worker_type": ended, "freed": freed}, (Note(text, good=True),))

    output.show(session.run(act))


@click.command()
@click.option("--days", type=click.IntRange(1, 400), default=30, show_default=True, help="Today and the days before.")
@click.option("--pool", "-p", metavar="NAME", shell_complete=pool_names, help="Only this pool, also a closed one.")
@format_option
@click.pass_obj
def usage(session: Session, /, *, days: int, pool: str | None, output: Output) -> None:
    """Show the tokens and the cost that AI programs reported, by day (UTC), pool and task type."""

    async def read(manager: PoolManager) -> tuple[UsageRow, ...]:
        return await manager.usage(days=days, pool=pool)

    output.show(usage_document(session.run(read)))


def _where(cooling: dict[str, Any]) -> str:
    node = cooling["node"]
    return cooling["worker_type"] if node is None else f"{cooling['worker_type']} on {node}"


def limits_document(found: dict[str, Any]) -> Document:
    """Return the document of ``pools limits``."""
    blocks: list[Block] = []
    if found["cool_downs"]:
        rows = tuple((_where(c), _clock(c["ends"]), c["pool"], c["because"]) for c in found["cool_downs"])
        columns = (Column("Worker type"), Column("Until"), Column("Seen in"), Column("Because"))
        blocks.append(Table("Cooling down", columns, rows))
    if found["pools"]:
        columns = (Column("Pool"), Column("Rate"), Column("Budget"), Column("Spent", "right"))
        rows = tuple((p["name"], p["rate_limit"], *_money(p["budget"])) for p in found["pools"])
        blocks.append(Table("Pools with limits", columns, rows))
    return Document(found, tuple(blocks) or (Note("Nothing is held back."),))


def usage_document(rows: tuple[UsageRow, ...]) -> Document:
    """Return the document of ``pools usage``."""
    data = [row.model_dump(mode="json") for row in rows]
    totals = {name: sum(one[name] for one in data) for name in ("runs", "input_tokens", "output_tokens", "cost_usd")}
    columns = (
        Column("Day"),
        Column("Pool"),
        Column("Task type"),
        *(Column(title, "right") for title in ("Runs", "Tokens in", "Tokens out", "USD")),
    )
    cells = [
        (str(r.day), r.pool, r.task_type, r.runs, r.input_tokens, r.output_tokens, f"{r.cost_usd:.4f}") for r in rows
    ]
    last = (totals["runs"], totals["input_tokens"], totals["output_tokens"], f"{totals['cost_usd']:.4f}")
    table = Table("Usage", columns, (*cells, ("total", None, None, *last)))
    return Document({"rows": data, "totals": totals}, (table,) if rows else (Note("No usage was reported."),))


def _clock(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _money(budget: dict[str, Any] | None) -> tuple[str | None, str | None]:
    if budget is None:
        return None, None
    both = [(budget["usd"], budget["spent_usd"], "${:.2f}"), (budget["tokens"], budget["spent_tokens"], "{} tokens")]
    asked = [(form.format(most), form.format(spent)) for most, spent, form in both if most is not None]
    span = "in all" if budget["per"] == "life" else "a day"
    return f"{', '.join(most for most, _ in asked)} {span}", ", ".join(spent for _, spent in asked)
