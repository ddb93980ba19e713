"""The registry of pools, the load index, and what pools that were closed left behind."""

from __future__ import annotations

from collections import Counter

from mahavishnu_pools.checks.findings import Found, Mend, Site, fault, note
from mahavishnu_pools.checks.keyspace import Inventory
from mahavishnu_pools.store.checks import (
    OddLoad,
    Remains,
    look_at_lifetimes,
    look_at_load,
    look_at_registry,
    look_at_remains,
)
from mahavishnu_pools.store.mending import mend_remains
from mahavishnu_pools.store.pools import empty_pool, reindex

#: Pools looked at in one call.
CHUNK = 20

#: What is said of an entry, by where it stands.
_REGISTRY = {
    "pools": "The list of pools names it, and it does not exist.",
    "turns": "The order of turns names it, and it does not exist.",
    "needing": "It is said to have tasks that wait for a node, and does not exist.",
    "affinity_turns": "The order of affinity keys names it, and it does not exist.",
    "load": "The load index names it, and it does not exist.",
    "pool_names": "This name belongs to a pool that does not exist.",
    "pool_leases": "Its pool holds this lease, which does not exist; the pool could never be removed.",
    "leases": "Its pool does not know this lease; its tasks are not counted.",
}


async def odd_registry(site: Site) -> list[Found]:
    """Find entries of pools and leases that do not exist."""

    async def mend(site: Site) -> bool:
        await site.store.run(look_at_registry(mend=True))
        return True

    wrong = await site.store.run(look_at_registry())
    return [fault(f"registry_{where}", what, _REGISTRY[where], mend=mend) for where, what in wrong]


async def odd_load(site: Site, *, pools: int, unrecorded: Counter[str]) -> list[Found]:
    """Find pools whose load is not what the index says, looked at twice.

    Messages that stock producers pushed (``unrecorded``, by pool) are counted when somebody looks at them next.
    """
    before = {one.pool_id for one in await _loads(site, pools)}
    return [
        _off(one)
        for one in await _loads(site, pools)
        if one.pool_id in before and not _explained(one, unrecorded[one.pool_id])
    ]


async def remains(site: Site, inventory: Inventory) -> list[Found]:
    """Find what pools that do not exist have left; tasks that wait there are ended as cancelled."""
    found: list[Remains] = []
    ids = sorted(inventory.pools)
    for start in range(0, len(ids), CHUNK):
        some = await site.store.run(look_at_remains(ids[start : start + CHUNK]))
        found.extend(some)
    return [_left(one) for one in found]


def endless_keys(inventory: Inventory) -> list[Found]:
    """Make findings of keys that should have a lifetime and have none."""
    return [
        fault(f"{family}_endless", of, f"It is a {family} key without a lifetime.", mend=_give_lifetime(family, of))
        for family, of in inventory.endless_keys
    ]


def unrecorded_messages(unrecorded: Counter[str]) -> list[Found]:
    """Make notes of messages without a record: stock producers make none, and the next claim does."""
    text = "{} messages have no record yet. Their tasks can be seen when a worker takes them."
    return [note("message_unrecorded", pool, text.format(n)) for pool, n in sorted(unrecorded.items()) if n]


async def _loads(site: Site, pools: int) -> list[OddLoad]:
    found: list[OddLoad] = []
    for start in range(0, pools, CHUNK):
        some = await site.store.run(look_at_load(start, start + CHUNK - 1))
        found.extend(some)
    return found


def _explained(odd: OddLoad, unrecorded: int) -> bool:
    if odd.indexed is None or odd.truth is None:
        return False
    return 0 < (odd.truth - odd.indexed) * odd.workers <= unrecorded + 0.5


def _off(odd: OddLoad) -> Found:
    async def mend(site: Site) -> bool:
        await site.store.run(reindex())
        return True

    text = f"The load index says {_shown(odd.indexed)}, true is {_shown(odd.truth)}."
    return fault("load_off", odd.pool_id, text, mend=mend)


def _shown(load: float | None) -> str:
    return "nothing" if load is None else f"{load:g}"


def _left(what: Remains) -> Found:
    text = f"It does not exist, and has left keys with {what.messages} messages behind."
    return fault("pool_remains", what.pool_id, text, mend=_clear(what.pool_id))


def _clear(pool_id: str) -> Mend:
    async def mend(site: Site) -> bool:
        ttl = site.settings.result_expires
        while await site.store.run(empty_pool(pool_id, reason="Its pool does not exist any more.", result_ttl=ttl)):
            continue
        return await site.store.run(mend_remains(pool_id))

    return mend


def _give_lifetime(family: str, of: str) -> Mend:
    async def mend(site: Site) -> bool:
        await site.store.run(look_at_lifetimes([(family, of)], give=site.settings.result_expires))
        return True

    return mend
