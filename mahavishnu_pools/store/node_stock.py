"""What a node has and has not of what a task needs, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mahavishnu_pools.schemas.needs import Needs, shown
from mahavishnu_pools.store.pools import NodeInfo

#: Nodes that are named when something is said of each.
NAMED_MOST = 5


def missing(node: NodeInfo, needs: Needs) -> str | None:
    """Return what a node does not have of what is asked for, also when nothing runs there, or None."""
    for tag in needs.tags:
        if tag not in node.tags:
            return f"it has no tag {tag}"
    for name, amount in needs.resources:
        if amount > node.resources.get(name, 0):
            return f"{name}: {shown(name, amount)} asked, it has {_has(name, node.resources)}"
    return None


def waits_for(needs: Needs, nodes: Sequence[NodeInfo]) -> str:
    """Return what a task waits for that none of its pool's living ``nodes`` has started."""
    if not nodes:
        return f"a node of its pool that lives and has {needs}"
    nodes = sorted(nodes, key=lambda node: node.name)
    said = [f"{node.name}: {missing(node, needs) or _taken(node, needs)}" for node in nodes[:NAMED_MOST]]
    more = f"; and {len(nodes) - len(said)} more nodes" if len(nodes) > len(said) else ""
    return f"{needs} ({'; '.join(said)}{more})"


def _taken(node: NodeInfo, needs: Needs) -> str:
    for name, amount in needs.resources:
        free = node.resources.get(name, 0) - node.in_use.get(name, 0)
        if amount > free:
            return f"{name}: {shown(name, max(0, free))} of {_has(name, node.resources)} free"
    return "it has that free, but keeps it for one that waits longer, or no worker is free"


def _has(name: str, resources: Mapping[str, float]) -> str:
    return shown(name, resources[name]) if resources.get(name) else "none"
