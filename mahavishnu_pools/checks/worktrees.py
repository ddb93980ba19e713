"""Worktrees and branches of tasks on the machine the check runs on, against what is known of the tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mahavishnu_pools.checks.findings import Found, Mend, Site, fault, note
from mahavishnu_pools.store.tasks import read_tasks
from mahavishnu_pools.worktrees import leftovers
from mahavishnu_pools.worktrees.leftovers import Seen
from mahavishnu_pools.worktrees.records import Place

#: Tasks asked for in one call.
CHUNK = 200


async def odd_worktrees(site: Site) -> list[Found]:
    """Find what tasks that have ended left behind in this machine's data directory, and in the repositories."""
    place = Place(site.settings.data_dir.absolute(), site.settings.worktree_author)
    seen = await asyncio.to_thread(lambda: list(leftovers.look(place)))
    found: list[Found] = []
    for start in range(0, len(seen), CHUNK):
        some = seen[start : start + CHUNK]
        results = await site.store.run(read_tasks([one.task_id for one in some]))
        for one, result in zip(some, results, strict=True):
            if one.broken_off and (result is None or result.done):
                found.append(_broken_off(place, one))
            elif not one.broken_off and result is None:
                found.append(await asyncio.to_thread(_expired, place, one))
    return found


def _broken_off(place: Place, seen: Seen) -> Found:
    where = str(place.trees / seen.name) if seen.record is None else seen.record.tree
    text = f"Its worker went away while it used the worktree {where}. --repair commits what is there and removes it."
    return fault("worktree_left", seen.task_id, text, mend=_mend(leftovers.mend_broken, place, seen))


def _expired(place: Place, seen: Seen) -> Found:
    """Say what is to be done with changes of a task of which only they are left."""
    assert seen.record is not None, "what is unreadable counts as broken off"
    record = seen.record
    if leftovers.is_done_with(place, record):
        text = f"Its changes in {record.top} are merged or gone, and so is its record. --repair removes its branch."
        return note("worktree_done", seen.task_id, text, mend=_mend(leftovers.forget_done, place, seen))
    text = (
        f"Its record has expired, its changes are on branch {record.branch} in {record.top} still. "
        "Look at them with 'mahavishnu pools diff', then apply or discard them."
    )
    return note("worktree_unreviewed", seen.task_id, text)


def _mend(how: Callable[[Place, Seen], bool], place: Place, seen: Seen) -> Mend:
    async def mend(_: Site) -> bool:
        return await asyncio.to_thread(how, place, seen)

    return mend
