"""Leases and their claims against pools and records."""

from __future__ import annotations

from collections.abc import Iterable

from mahavishnu_pools.checks.findings import Found, Mend, Site, fault
from mahavishnu_pools.checks.keyspace import Inventory
from mahavishnu_pools.store.checks import OddClaim, look_at_claims
from mahavishnu_pools.store.leases import LeaseInfo, list_leases, reap
from mahavishnu_pools.store.mending import mend_claim, mend_lease


async def odd_leases(site: Site, inventory: Inventory, *, pools: frozenset[str]) -> list[Found]:
    """Find leases of pools that do not exist, what is left of leases nobody knows, and odd claims of the others."""
    known = await site.store.run(list_leases())
    # One that was opened or reaped since the walk is no remains.
    left = inventory.leases - {lease.lease for lease in known}
    found = [await _odd_claims(site, lease.lease) for lease in known]
    return [
        *(_of_gone_pool(lease) for lease in known if lease.pool_id not in pools),
        *(_remains(lease, fallback=next(iter(sorted(pools)), "")) for lease in sorted(left)),
        *(one for several in found for one in several),
    ]


def _of_gone_pool(lease: LeaseInfo) -> Found:
    text = f"It is of pool {lease.pool_id}, which does not exist, and holds {lease.claims} tasks."
    # While its consumer lives it ends by itself.
    return fault("lease_of_gone_pool", lease.lease, text, mend=None if lease.alive else _reap(lease.lease))


def _remains(lease: str, *, fallback: str) -> Found:
    async def mend(site: Site) -> bool:
        done = await site.store.run(mend_lease(lease, pool_id=fallback))
        return await _reap(lease)(site) if done == "known" else True

    return fault("lease_unknown", lease, "It is unknown, but claims or notes of it are left.", mend=mend)


async def _odd_claims(site: Site, lease: str) -> list[Found]:
    found: list[OddClaim] = []
    cursor = "0"
    while True:
        cursor, some = await site.store.run(look_at_claims(lease, cursor=cursor))
        found.extend(some)
        if cursor == "0":
            return list(_claim_findings(found))


def _claim_findings(claims: Iterable[OddClaim]) -> Iterable[Found]:
    for claim in claims:
        kind = "claim_ended" if claim.recorded else "claim_unrecorded"
        what = "whose task has its outcome" if claim.recorded else "whose task has no record"
        yield fault(kind, claim.task_id, f"Lease {claim.lease} holds a claim {what}.", mend=_mend_claim(claim))


def _mend_claim(claim: OddClaim) -> Mend:
    async def mend(site: Site) -> bool:
        return await site.store.run(mend_claim(claim))

    return mend


def _reap(lease: str) -> Mend:
    async def mend(site: Site) -> bool:
        call = reap(lease, cause="node", result_ttl=site.settings.result_expires)
        while (await site.store.run(call)).left:
            continue
        return True

    return mend
