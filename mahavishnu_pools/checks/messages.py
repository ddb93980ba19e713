"""Walks over every place where a message can be, to find out which tasks have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from mahavishnu_pools import names
from mahavishnu_pools.store.checks import Place, read_place
from mahavishnu_pools.store.client import AsyncStore


async def left_behind(store: AsyncStore, pools: Collection[str]) -> dict[str, str]:
    """Return the cancelled tasks whose messages are said to be on their way out yet, with their pool."""
    found: dict[str, str] = {}
    for pool in pools:
        at = "0"
        while at:
            at, some = await store.run(read_place("ended", pool, bucket=0, at=at))
            found.update((one.task_id, pool) for one in some)
    return found


@dataclass(frozen=True, slots=True)
class Places:
    """Where messages can be: the pools' queues and what waits apart, and the leases' claims."""

    pools: Collection[str]
    leases: Collection[str]


class MessageWalk:
    """Looks for the messages of some tasks. ``missing`` are those not met, ``unrecorded`` messages by pool.

    Claims come first and last, and what waits apart before the queues: a message that moves on while this goes on is
    met at the one place or at the other.
    """

    def __init__(self, store: AsyncStore, tasks: Collection[str]) -> None:
        self.missing = set(tasks)
        self.unrecorded: Counter[str] = Counter()
        self._store = store

    async def walk(self, places: Places) -> None:
        """Look everywhere."""
        await self._claims(places.leases)
        for pool in places.pools:
            await self._read("delayed", pool)
            await self._read("suspects", pool)
        for pool in places.pools:
            for bucket in names.PRIORITY_STEPS:
                await self._read("queue", pool, bucket)
        await self._claims(places.leases)

    async def _claims(self, leases: Collection[str]) -> None:
        for lease in leases:
            await self._read("claims", lease)

    async def _read(self, place: Place, owner: str, bucket: int = 0) -> None:
        at = "0"
        while at:
            at, found = await self._store.run(read_place(place, owner, bucket=bucket, at=at))
            self.missing.difference_update(one.task_id for one in found)
            if place != "claims":
                self.unrecorded[owner] += sum(not one.recorded and bool(one.task_id) for one in found)
