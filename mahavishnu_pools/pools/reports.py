"""Reports over several pools: health, statistics, aggregated results. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mahavishnu_pools.pools.mahavishnu import health_of
from mahavishnu_pools.schemas.pool import ACTIVE_STATUSES, HealthStatus, PoolInfo, PoolStatus
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.store.outbox import SinkState

if TYPE_CHECKING:
    from mahavishnu_pools.store.pools import NodeInfo

#: A pool in one of these states is as somebody wants it to be.
_WELL = frozenset({PoolStatus.RUNNING, PoolStatus.PAUSED, PoolStatus.DRAINING})


def health(pools: Sequence[PoolInfo], nodes: Sequence[NodeInfo]) -> dict[str, Any]:
    """Return the health of pools: healthy, degraded (some are not well), or unhealthy (no agent, or none is active)."""
    agents = sum(node.alive for node in nodes)
    active = sum(pool.status in ACTIVE_STATUSES for pool in pools)
    if agents == 0 or (pools and not any(pool.status in _WELL | ACTIVE_STATUSES for pool in pools)):
        status = HealthStatus.UNHEALTHY
    elif all(pool.status in _WELL for pool in pools):
        status = HealthStatus.HEALTHY
    else:
        status = HealthStatus.DEGRADED
    return {
        "status": status.value,
        "pools_active": active,
        "agents": agents,
        "pools": [health_of(pool) for pool in pools],
    }


def statistics(pools: Sequence[PoolInfo], *, by_type: bool, memory: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures over all pools, and with ``by_type`` the same for each pool type."""
    found = _figures(pools)
    found["memory_sync"] = dict(memory)
    if by_type:
        types = sorted({pool.pool_type for pool in pools})
        found["by_type"] = {one: _figures([pool for pool in pools if pool.pool_type == one]) for one in types}
    return found


def memory_sync(states: Mapping[str, SinkState]) -> dict[str, Any]:
    """Return what the statistics tell of the sync: the slowest sink's ``pending``, the last success, an error."""
    successes = [state.last_success for state in states.values() if state.last_success is not None]
    return {
        "pending": max((state.pending for state in states.values()), default=0),
        "last_success": max(successes).isoformat() if successes else None,
        "error": next((f"{name}: {state.error}" for name, state in states.items() if state.error), None),
        "sinks": {
            name: {
                "pending": state.pending,
                "delivered": state.delivered,
                "dropped": state.dropped,
                "set_aside": state.aside,
                "refused": state.refused,
                "error": state.error,
            }
            for name, state in states.items()
        },
    }


def _figures(pools: Sequence[PoolInfo]) -> dict[str, Any]:
    memory = [pool.memory_mb for pool in pools if pool.memory_mb is not None]
    completed, failed = sum(pool.tasks_completed for pool in pools), sum(pool.tasks_failed for pool in pools)
    return {
        "pools": len(pools),
        "pools_active": sum(pool.status in ACTIVE_STATUSES for pool in pools),
        "workers": sum(pool.workers for pool in pools),
        "tasks": {
            "queued": sum(pool.queued for pool in pools),
            "running": sum(pool.running for pool in pools),
            "completed": completed,
            "failed": failed,
        },
        "success_rate": completed / (completed + failed) if completed + failed else None,
        "memory_mb": sum(memory) if memory else None,
    }


def aggregated(found: Mapping[str, tuple[PoolInfo, Sequence[TaskResult]]]) -> dict[str, Any]:
    """Return the results of each pool with counts, and the counts over all pools."""
    pools = {
        pool_id: {
            "total": info.tasks_completed + info.tasks_failed,
            "completed": info.tasks_completed,
            "failed": info.tasks_failed,
            "results": [result.model_dump(mode="json") for result in results],
        }
        for pool_id, (info, results) in found.items()
    }
    totals = {name: sum(pool[name] for pool in pools.values()) for name in ("total", "completed", "failed")}  # type: ignore[misc]
    return {"pools": pools, "totals": totals}
