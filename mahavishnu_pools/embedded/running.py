"""How many tasks a stack runs, for those who wait for its end."""

from __future__ import annotations

from mahavishnu_pools import errors
from mahavishnu_pools.embedded.state import StackState
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.pools import list_nodes, read_pools

#: How long the server may take to answer, in seconds.
ANSWER_TIMEOUT = 1.0


def count_running(state: StackState, settings: Settings) -> int | None:
    """Return how many tasks run in the pools of a stack's agent; None when its Redis does not tell."""
    agent = state.part("agent")
    if state.redis_url is None or agent is None or agent.process is None:
        return None
    try:
        with SyncStore(state.redis_url, namespace=settings.namespace, timeout=ANSWER_TIMEOUT) as store:
            ours = {node.name for node in store.run(list_nodes()) if node.alive and node.pid == agent.process.pid}
            pools = store.run(read_pools()).pools
    except errors.MahavishnuError:
        return None
    return sum(pool.running for pool in pools if ours & {group.node for group in pool.groups})
