"""The command ``discover``: pools that could be, made when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.formats.interface import Column, Document, Note, State, Table
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.pools.discovery import Candidate

_COLUMNS = (
    Column("Name", whole=True),
    Column("Type"),
    Column("Status"),
    Column("Found in", spare=1),
    Column("Reason", spare=2),
)


@click.command("discover")
@click.option("--from-ecosystem", is_flag=True, help="Also look into the ecosystem file and what it names.")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The ecosystem file. [default: ecosystem.yaml or settings/ecosystem.yaml]",
)
@click.option("--auto-register", is_flag=True, help="Make what was found; the exit code is 1 when one cannot be made.")
@format_option
@click.pass_obj
def discover(
    session: Session, /, *, from_ecosystem: bool, file: Path | None, auto_register: bool, output: Output
) -> ExitCode:
    """Look for pools that could be made.

    Pools in [tool.mahavishnu.pools] of this repository's pyproject.toml, the configured Session-Buddy server if it
    answers, and Kubernetes contexts; with an ecosystem file also its pools, repositories and servers.
    """
    from mahavishnu_pools.pools import discovery

    async def look(manager: PoolManager) -> list[dict[str, Any]]:
        ecosystem = discovery.ecosystem_file(file) if from_ecosystem or file is not None else None
        if from_ecosystem and ecosystem is None:
            output.say(f"There is no {discovery.FILES[0]} here; looking at the rest.")
        known = {pool.name: pool.pool_id for pool in await manager.list_pools()}
        # From here on the manager's settings name the servers of its stack.
        found = await discovery.discover(manager.settings, ecosystem=ecosystem, here=Path.cwd())
        return [await _row(manager, one, known, register=auto_register) for one in found]

    rows = session.run(look)
    output.show(document(rows))
    refused = auto_register and any(row["status"] == "refused" for row in rows)
    return ExitCode.TASK_FAILED if refused else ExitCode.DONE


def document(rows: list[dict[str, Any]]) -> Document:
    """Return the document of ``pools discover``."""
    data = {"discovered": rows}
    if not rows:
        return Document(data, (Note("Nothing was found."),))
    cells = tuple((row["name"], row["pool_type"], State(row["status"]), row["source"], row["reason"]) for row in rows)
    missing = any(row["status"] == "found" for row in rows)
    hint = (Note("Make those that were found with: --auto-register"),) if missing else ()
    return Document(data, (Table("Discovered Pools", _COLUMNS, cells), *hint))


async def _row(manager: PoolManager, one: Candidate, known: dict[str, str], *, register: bool) -> dict[str, Any]:
    status, reason, pool_id = "found", one.problem, known.get(one.name)
    if one.config is None:
        status = "unreachable" if one.pool_type == "session-buddy" else "refused"
    elif pool_id is not None:
        status = "known"
    elif register:
        try:
            pool_id = await manager.spawn_pool(one.pool_type, one.config)
            status = "registered"
        except errors.MahavishnuError as exc:  # the others may still be made
            status, reason = "refused", exc.message
    config = None if one.config is None else one.config.model_dump(mode="json", exclude_defaults=True)
    return {
        "name": one.name,
        "pool_type": one.pool_type,
        "status": status,
        "source": one.source,
        "reason": reason,
        "pool_id": pool_id,
        "config": config,
    }
