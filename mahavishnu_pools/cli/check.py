"""The command ``check``, also called ``validate-production``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from mahavishnu_pools.cli.exit_codes import HEALTH
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.which_stack import with_data_dir

if TYPE_CHECKING:
    from mahavishnu_pools.checks.run import CheckReport, Part
    from mahavishnu_pools.manager import PoolManager


@with_data_dir
@click.command("check")
@click.option("--repair", is_flag=True, help="Mend what can be mended; without it nothing is changed.")
@click.option(
    "--check",
    "part",
    type=click.Choice(["all", "configuration", "state"]),
    default="all",
    show_default=True,
    help="configuration: server, clocks, nodes, limits, programs; state: what is stored.",
)
@format_option
@click.pass_obj
def check(session: Session, /, *, repair: bool, part: str, output: Output) -> int:
    """Look for inconsistencies between queues, leases and records, and for limits that are too low.

    The exit code is 0 when nothing is wrong, 1 when something was found (repaired or not), 4 when nothing can be
    reached.
    """
    from mahavishnu_pools.cli.check_documents import check_report

    async def look(manager: PoolManager) -> CheckReport:
        return await manager.check(repair=repair, part=None if part == "all" else cast("Part", part))

    report = session.run(look)
    output.show(check_report(report, repair=repair))
    return HEALTH[report.status]
