"""On which nodes a pool may run. Pure. The node agents decide; a client says beforehand what they will say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.wording import did_you_mean, short

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.pool import PoolConfig
    from mahavishnu_pools.store.pools import NodeInfo


def misfit(config: PoolConfig, node: NodeInfo) -> str | None:
    """Return why a pool cannot run on a node, or None. The region ``default`` is any region.

    The Pods of a deployment are nodes that run its pool and nothing else. Region and program of a pool that runs its
    tasks in a cluster are the cluster's affair.
    """
    if not node.alive:
        return "its agent does not answer"
    if config.is_deployment or node.only_pool is not None:
        return _misfit_of_pod(config, node)
    if config.nodes is not None and node.name not in config.nodes and not set(config.nodes) & set(node.tags):
        return f"it has none of the names or tags {', '.join(config.nodes)}"
    if config.kubernetes is not None:
        return None
    if config.region not in ("default", node.region):
        return f"it is in region {node.region}, not {config.region}"
    if config.worker_type in node.unusable:
        return f"{node.unusable[config.worker_type]} (start it, or install podman, which needs none)"
    if config.worker_type is not None and config.worker_type not in node.programs:
        return f"it does not know worker type {config.worker_type}, or its program is not installed there"
    return None


def _misfit_of_pod(config: PoolConfig, node: NodeInfo) -> str | None:
    if node.only_pool is None:
        return "the workers of a deployment run in Pods of their own"
    return None if config.is_deployment and node.only_pool == config.name else f"it runs pool {node.only_pool} only"


def fitting(config: PoolConfig, nodes: Sequence[NodeInfo]) -> list[str]:
    """Return the names of the nodes a pool may run on.

    Raises:
        InvalidField: no node that is known has one of the names or tags.
        NoAgent: there is none; the message says why for each node.
    """
    living = [node for node in nodes if node.alive]
    if not living:
        raise errors.NoAgent(
            "No node agent is running that could start the pool's workers. Start one with 'mahavishnu up'."
        )
    known = {name for node in nodes for name in (node.name, *node.tags)}
    if config.nodes and known.isdisjoint(config.nodes):
        wanted = " or ".join(map(short, config.nodes))
        hint = did_you_mean(config.nodes[0], known)
        remedy = f"{hint}Names and tags of nodes: {', '.join(sorted(known))}."
        raise errors.InvalidField.of("nodes", f"no node has the name or tag {wanted}", remedy)
    reasons = {node.name: misfit(config, node) for node in living}
    fits = [name for name, reason in reasons.items() if reason is None]
    if not fits:
        listed = "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items()))
        raise errors.NoAgent(
            f"No node can run the pool {config.name!r}. {listed}. "
            "Change the pool's configuration, or start an agent that fits.",
            reasons=reasons,
        )
    return fits
