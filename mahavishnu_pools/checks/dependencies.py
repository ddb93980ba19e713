"""Tasks that wait for others against what would have them go on."""

from __future__ import annotations

from mahavishnu_pools.checks.findings import Found, Mend, Site, fault
from mahavishnu_pools.store.dependencies import look_at_waiting, mend_waiting

#: Tasks looked at in one call: each may come after hundreds.
CHUNK = 20


async def stranded(site: Site) -> list[Found]:
    """Find tasks of which nobody would tell that what they come after has ended; each is looked at twice."""
    first = await _odd(site)
    second = await _odd(site) if first else {}
    text = "It waits for other tasks, and nobody would have it go on when they have ended."
    return [
        fault("task_stranded", task_id, text, mend=_mend(task_id))
        for task_id, mark in first.items()
        if second.get(task_id) == mark
    ]


async def _odd(site: Site) -> dict[str, str]:
    found: dict[str, str] = {}
    at, seen = 0, CHUNK
    while seen == CHUNK:
        seen, some = await site.store.run(look_at_waiting(at, at + CHUNK - 1))
        found |= some
        at += CHUNK
    return found


def _mend(task_id: str) -> Mend:
    async def mend(site: Site) -> bool:
        return await site.store.run(mend_waiting(task_id, result_ttl=site.settings.result_expires))

    return mend
