"""Whether a pool's nodes could ever run a task that needs something of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mahavishnu_pools.schemas.needs import CPU, GPU, MEMORY, NAMED_MOST, Needs, missing, shown

if TYPE_CHECKING:
    from mahavishnu_pools.store.pools import NodeInfo, PoolRecord


def lacking(pool: PoolRecord, needs: Needs, *, own: Sequence[NodeInfo], living: Sequence[NodeInfo]) -> str | None:
    """Return why no node of a pool could ever run a task with these needs, or None.

    ``own`` are the living nodes that run it. While there is none, any of the ``living`` may be the next; without one
    nobody knows. What a cluster has is the cluster's affair.
    """
    if pool.config.runs_jobs:
        return _no_job(needs)
    if pool.config.runs_elsewhere:
        return "it hands tasks over to another server, which cannot be asked for resources"
    nodes = own or living
    if not nodes or any(_missing(node, needs) is None for node in nodes):
        return None
    return _best_reason(nodes, needs, whose="no node of it has" if own else "no node has")


def _no_job(needs: Needs) -> str | None:
    if needs.tags:
        return f"a Job cannot ask for the tag {needs.tags[0]}"
    strange = [name for name, _ in needs.resources if name not in (CPU, MEMORY, GPU) and "/" not in name]
    return f"a cluster does not know the resource {strange[0]}" if strange else None


def _best_reason(nodes: Sequence[NodeInfo], needs: Needs, *, whose: str) -> str:
    """Return one sentence for all nodes: the first thing asked for that none has, else what each of them lacks."""
    for tag in needs.tags:
        if not any(tag in node.tags for node in nodes):
            return f"{whose} the tag {tag}"
    for name, amount in needs.resources:
        most = max(node.resources.get(name, 0) for node in nodes)
        if amount > most:
            than = f"more than {shown(name, most)}" if most else "any"
            return f"{name}: {shown(name, amount)} asked, {whose} {than}"
    said = "; ".join(f"{node.name}: {_missing(node, needs)}" for node in nodes[:NAMED_MOST])
    return f"{whose} all of {needs} ({said})"


def _missing(node: NodeInfo, needs: Needs) -> str | None:
    return missing(needs, tags=node.tags, resources=node.resources)
