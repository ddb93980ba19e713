"""Removes what a pool has in a cluster."""

from __future__ import annotations

import asyncio

from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.jobs import pool_selector

#: Deletions under way at once.
AT_ONCE = 16


async def delete_jobs(cluster: Cluster, pool_id: str) -> int:
    """Delete all Jobs of a pool with their Pods, and return how many there were.

    Raises:
        ClusterUnavailable, ClusterRefused: some may be left.
    """
    found = await cluster.find("Job", labels=pool_selector(pool_id))
    jobs = found.get("items") or []
    room = asyncio.Semaphore(AT_ONCE)

    async def delete(name: str) -> None:
        async with room:
            await cluster.delete("Job", name)

    await asyncio.gather(*(delete(one["metadata"]["name"]) for one in jobs))
    return len(jobs)
