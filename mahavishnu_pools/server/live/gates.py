"""Reads for the page what awaits approval."""

from __future__ import annotations

from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.server.live.views import AwaitingRow
from mahavishnu_pools.store.approvals import look_at_awaiting
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.task_briefs import read_briefs

#: Tasks shown; that many more wait is said.
SHOWN = 50


class Awaiting:
    """The tasks that await approval and expire first. Nothing of them changes meanwhile, so each is read once."""

    def __init__(self) -> None:
        self._known: dict[str, AwaitingRow] = {}

    async def look(self, store: AsyncStore) -> tuple[int, tuple[AwaitingRow, ...]]:
        """Return how many there are, and those that are shown."""
        total, ends = await store.run(look_at_awaiting(most=SHOWN))
        new = [one for one in ends if one not in self._known]
        for brief in await store.run(read_briefs(new)) if new else []:
            if brief.status is TaskStatus.AWAITING_APPROVAL:
                self._known[brief.task_id] = AwaitingRow(**brief.model_dump(), ends=ends[brief.task_id])
        self._known = {one: self._known[one] for one in ends if one in self._known}
        return total, tuple(self._known.values())
