"""Which family of the table of keys a key belongs to, and what it belongs to there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from mahavishnu_pools import names
from mahavishnu_pools.store.checks import MORTAL, OddTask, look_at_lifetimes, look_at_tasks, scan
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.keys import KEYS

#: Families whose keys belong to a pool or to a lease, and are removed with it.
POOL_FAMILIES = frozenset(
    {"groups", "recent", "bell", "delayed", "suspects", "pool_leases", "queue", "binding", "ended", "figures"}
)
LEASE_FAMILIES = frozenset({"claims", "reply", "cancels"})

_HEADS = tuple(
    (key.pattern[:-2], key.name) for key in KEYS if key.pattern.endswith("{}") and key.kind not in ("-", "channel")
)


def owner_of(key: str) -> tuple[str, str] | None:
    """Return the family of a key (without the namespace) and what it belongs to; None: it is of no such family."""
    for head, family in _HEADS:
        if key.startswith(head):
            of = key[len(head) :]
            return family, of.partition(names.PRIORITY_SEPARATOR)[0] if family == "queue" else of
    return None


@dataclass(slots=True)
class Inventory:
    """What one walk over all keys saw. ``counts`` are keys by family."""

    waiting: dict[str, OddTask] = field(default_factory=dict)
    unheld: dict[str, OddTask] = field(default_factory=dict)
    endless: list[str] = field(default_factory=list)
    endless_keys: list[tuple[str, str]] = field(default_factory=list)
    batches: set[str] = field(default_factory=set)
    pools: set[str] = field(default_factory=set)
    leases: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    def take_tasks(self, odd: Iterable[OddTask]) -> None:
        """Take in what was found of some records."""
        for one in odd:
            if one.kind == "waiting":
                self.waiting[one.task_id] = one
            elif one.kind == "unheld":
                self.unheld[one.task_id] = one
            else:
                self.endless.append(one.task_id)


async def take_inventory(store: AsyncStore) -> Inventory:
    """Walk over all keys once, in small pieces."""
    inventory, cursor = Inventory(), "0"
    while True:
        cursor, found = await store.run(scan(cursor))
        owned = [owner for owner in map(owner_of, found) if owner is not None]
        await _take(store, inventory, owned)
        if cursor == "0":
            return inventory


async def _take(store: AsyncStore, inventory: Inventory, owned: list[tuple[str, str]]) -> None:
    inventory.counts.update(family for family, _ in owned)
    inventory.batches.update(of for family, of in owned if family == "batch")
    inventory.leases.update(of for family, of in owned if family in LEASE_FAMILIES)
    # A stranger's queue may be called like ours; a pool's id cannot.
    inventory.pools.update(of for family, of in owned if family in POOL_FAMILIES and names.is_pool_id(of))
    tasks = [of for family, of in owned if family == "task"]
    if tasks:
        odd = await store.run(look_at_tasks(tasks))
        inventory.take_tasks(odd)
    mortal = [one for one in owned if one[0] in MORTAL and _is_ours(*one)]
    if mortal:
        endless = await store.run(look_at_lifetimes(mortal))
        inventory.endless_keys.extend(endless)


def _is_ours(family: str, of: str) -> bool:
    """Tell whether a key's lifetime is our business: a user's Celery application may keep its results for ever."""
    return family != "meta" or of.startswith(names.TASK_ID_PREFIX)
