"""The call with which an agent takes its node's name: of several that start at once, one gets it."""

from __future__ import annotations

from mahavishnu_pools.store.calls import Call

#: Seconds in which an agent that took a name begins to beat.
TAKEN = 15


def claim_name(node: str, agent_id: str) -> Call[bool]:
    """Take a name that no living agent has; False: another agent took it just now."""
    return Call("node_claim", (node, agent_id, TAKEN), bool)
