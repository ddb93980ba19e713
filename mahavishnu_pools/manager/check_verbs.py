"""What a manager does to find and mend what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_pools.manager.connection import Connected

if TYPE_CHECKING:
    from mahavishnu_pools.checks.run import CheckReport, Part


class CheckVerbs(Connected):
    """The verb about checks."""

    async def check(self, *, repair: bool = False, part: Part | None = None) -> CheckReport:
        """Look for inconsistencies between queues, leases and records, and for limits that are too low.

        ``repair`` mends what can be mended. ``part`` limits it to what is stored (``state``) or to what all runs on
        (``configuration``: server, clocks, nodes, limits, programs). It reads everything in small pieces, and waits for
        the agents' answers.
        """
        from mahavishnu_pools.checks.run import check

        return await check((await self._connected()).store, self.settings, repair=repair, part=part)
