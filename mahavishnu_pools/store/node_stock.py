"""What a task waits for, by node, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mahavishnu_pools.schemas.needs import NAMED_MOST, Needs, missing, shown, shown_of
from mahavishnu_pools.store.pools import NodeInfo


def waits_for(needs: Needs, nodes: Sequence[NodeInfo]) -> str:
    """Return what a task waits for that none of its pool's living ``nodes`` has started."""
    if not nodes:
        return f"a node of its pool that lives and has {needs}"
    named = sorted(nodes, key=lambda node: node.name)[:NAMED_MOST]
    said = [f"{node.name}: {_lacks(node, needs)}" for node in named]
    more = f"; and {len(nodes) - len(said)} more nodes" if len(nodes) > len(said) else ""
    return f"{needs} ({'; '.join(said)}{more})"


def _lacks(node: NodeInfo, needs: Needs) -> str:
    never = missing(needs, tags=node.tags, resources=node.resources)
    if never is not None:
        return never
    for name, amount in needs.resources:
        free = node.free.get(name, 0.0)
        if amount > free:
            return f"{name}: {shown(name, free)} of {shown_of(name, node.resources)} free"
    return "it has that free, but keeps it for one that waits longer, or no worker is free"
