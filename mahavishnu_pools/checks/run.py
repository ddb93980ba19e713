"""The whole check: looks at everything, mends when asked to, and says how it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from mahavishnu_pools import errors
from mahavishnu_pools.checks import batches, dependencies, leases, nodes, pools, tasks, worktrees
from mahavishnu_pools.checks.findings import Finding, Found, Level, Site
from mahavishnu_pools.checks.keyspace import Inventory, take_inventory
from mahavishnu_pools.checks.messages import MessageWalk, Places, left_behind
from mahavishnu_pools.checks.server import odd_clock, odd_disk, odd_server
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.node_report import NodeReport
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.leases import list_leases
from mahavishnu_pools.store.pools import NodeInfo, PoolRecord, list_nodes, read_pools
from mahavishnu_pools.store.server_facts import ServerFacts, read_server_facts

#: Findings of one kind that are listed; the counts hold all of them.
LISTED = 100


class NodeState(Value):
    """A node as a check saw it; ``report`` is None when it did not answer."""

    name: str
    alive: bool
    report: NodeReport | None = None


class CheckReport(Value):
    """What a check found. ``found`` and ``repaired`` count findings by kind; ``findings`` lists up to 100 of each."""

    status: str
    findings: tuple[Finding, ...]
    found: dict[str, int]
    repaired: dict[str, int]
    keys: dict[str, int]
    clock_skew: float
    server: ServerFacts
    nodes: tuple[NodeState, ...]


#: What a check may be limited to: what is stored, or what it all runs on (server, clocks, nodes, limits, programs).
Part = Literal["state", "configuration"]


async def check(
    store: AsyncStore, settings: Settings, *, repair: bool = False, part: Part | None = None
) -> CheckReport:
    """Look at everything, or (``part``) at one half of it; with ``repair`` mend what can be mended.

    Raises:
        RedisUnavailable: the server does not answer.
    """
    site = Site(store, settings)
    registry = (await store.run(read_pools())).pools
    keys: dict[str, int] = {}
    found: list[Found] = []
    if part != "configuration":
        inventory = await take_inventory(store)
        keys = dict(sorted(inventory.counts.items()))
        found = await _stored(site, inventory, registry)
    facts, skew = await read_server_facts(store), await nodes.own_skew(site)
    known = await store.run(list_nodes())
    answers, refusal = await _answers(site, known)
    if part != "state":
        groups = sum(pool.config.replicas for pool in registry)
        found += odd_server(facts, groups=groups, nodes=len(known), refusal=refusal)
        found += odd_clock("this machine", skew)
        if refusal is None:
            found += nodes.odd_nodes(known, answers, registry)
    else:
        found += odd_disk(facts, refusal) if refusal else ()
    findings = [await _mended(site, one) if repair else one.finding for one in found]
    return CheckReport(
        status="degraded" if any(one.level is Level.FAULT for one in findings) else "healthy",
        findings=tuple(_listed(findings)),
        found=dict(Counter(one.kind for one in findings)),
        repaired=dict(Counter(one.kind for one in findings if one.repaired)),
        keys=keys,
        clock_skew=skew,
        server=facts,
        nodes=tuple(NodeState(name=one.name, alive=one.alive, report=answers.get(one.name)) for one in known),
    )


async def _answers(site: Site, known: Sequence[NodeInfo]) -> tuple[dict[str, NodeReport], errors.RedisDiskFull | None]:
    """Return what nodes say of themselves, and the refusal of a server that takes no question to them."""
    try:
        return await nodes.ask(site, known), None
    except errors.RedisDiskFull as exc:
        return {}, exc


async def _stored(site: Site, inventory: Inventory, registry: tuple[PoolRecord, ...]) -> list[Found]:
    """Find what is wrong with what is stored, in the order in which it is to be mended."""
    living = frozenset(pool.pool_id for pool in registry)
    known = {lease.lease for lease in await site.store.run(list_leases())}
    places = Places(sorted(living | inventory.pools), sorted(known | inventory.leases))
    following = await batches.followers(site, inventory)
    ended = await left_behind(site.store, living)
    walk = MessageWalk(site.store, (inventory.waiting.keys() - following) | ended.keys())
    await walk.walk(places)
    unrecorded = Counter({pool: n for pool, n in walk.unrecorded.items() if pool in living})
    return [
        *await pools.odd_registry(site),
        *await leases.odd_leases(site, inventory, pools=living),
        *await tasks.without_message(site, inventory, places, first=walk),
        *await tasks.without_leftover(site, ended, places, first=walk),
        *await pools.remains(site, inventory),
        *await dependencies.stranded(site),
        *tasks.without_lifetime(inventory),
        *await batches.odd_batches(site, inventory),
        *pools.endless_keys(inventory),
        *await pools.odd_load(site, pools=len(registry), unrecorded=unrecorded),
        *pools.unrecorded_messages(unrecorded),
        *await worktrees.odd_worktrees(site),
    ]


async def _mended(site: Site, found: Found) -> Finding:
    if found.mend is None:
        return found.finding
    try:
        done = await found.mend(site)
    except (errors.RedisFull, errors.RedisDiskFull):
        done = False
    return found.finding.model_copy(update={"repaired": done})


def _listed(findings: Iterable[Finding]) -> Iterable[Finding]:
    seen: Counter[str] = Counter()
    for one in findings:
        seen[one.kind] += 1
        if seen[one.kind] <= LISTED:
            yield one
