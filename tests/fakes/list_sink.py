"""A sink that keeps what it is sent in a list, and refuses what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.memory.sinks.interface import Delivery, none_taken
from mahavishnu_pools.schemas.memory import MemoryRecord


class ListSink:
    """``refuses`` holds ids; ``refuses_all`` and ``down`` are what they say, ``most`` is how many it takes at once."""

    def __init__(self, name: str = "session_buddy") -> None:
        self.name = name
        self.sent: list[str] = []
        self.refuses: set[str] = set()
        self.refuses_all = self.down = False
        self.most = 1000
        self.hits: list[dict[str, Any]] = []

    async def deliver(self, records: Sequence[MemoryRecord]) -> Delivery:
        self._fail_if_down()
        await asyncio.sleep(0)
        if self.refuses_all:
            return none_taken(records, "nobody may write")
        if len(records) > self.most:
            raise errors.RemoteRefused("It is too large.", status=413)
        taken = [one.memory_id for one in records if one.memory_id not in self.refuses]
        self.sent.extend(one for one in taken if one not in self.sent)
        refused = {one.memory_id: "its text is odd" for one in records if one.memory_id in self.refuses}
        return Delivery(refused=refused) if taken else Delivery(left=refused)

    async def takes_again(self, record: MemoryRecord) -> bool:
        found = await self.deliver([record])
        return not found.left

    async def search(self, query: str, *, limit: int) -> list[dict[str, Any]]:
        self._fail_if_down()
        return self.hits[:limit]

    def _fail_if_down(self) -> None:
        if self.down:
            raise errors.RemoteUnavailable("it is down")
