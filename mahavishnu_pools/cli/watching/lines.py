"""The pools as plain lines, for logs and pipes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mahavishnu_pools.schemas.pool import PoolInfo


def lines(pools: Sequence[PoolInfo], *, at: datetime) -> str:
    """Return a line for each pool."""
    if not pools:
        return f"{at:%H:%M:%S} no pools"
    width = max(len(pool.name) for pool in pools)
    return "\n".join(
        f"{at:%H:%M:%S} {pool.name:<{width}} {pool.status.value:<12} workers={pool.workers} running={pool.running} "
        f"queued={pool.queued} completed={pool.tasks_completed} failed={pool.tasks_failed} load={pool.load:.2f}"
        for pool in pools
    )
