"""Rows of the page's lists, made of what the store tells. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from mahavishnu_pools.server.live.views import GroupRow, NodeRow, PoolRow
from mahavishnu_pools.store.pools import NodeInfo, PoolRecord


def pool_row(record: PoolRecord, *, now: float, wait: float, rate: tuple[float, float] | None) -> PoolRow:
    """Return a pool's row; ``wait`` is how long (s) its oldest waiting task has waited, 0: that is not known."""
    info = record.info()
    return PoolRow(
        pool_id=info.pool_id,
        name=info.name,
        pool_type=info.pool_type,
        status=info.status,
        reason=info.reason,
        worker_type=info.worker_type,
        region=info.region,
        tags=info.tags,
        workers=info.workers,
        min_workers=info.min_workers,
        max_workers=info.max_workers,
        ready=record.ready_workers,
        running=info.running,
        queued=info.queued,
        # Rounded, so that a task that waits is the same at every look.
        waiting_since=round(now - wait, 1) if wait else None,
        per_minute=rate[0] if rate else None,
        errors_per_minute=rate[1] if rate else None,
        completed=info.tasks_completed,
        failed=info.tasks_failed,
        avg_duration=None if info.avg_duration is None else round(info.avg_duration, 3),
        memory_mb=None if info.memory_mb is None else round(info.memory_mb),
        cpu_percent=None if info.cpu_percent is None else round(info.cpu_percent),
        scaled_because=record.scaled_because,
        created_at=info.created_at,
    )


def group_rows(record: PoolRecord) -> Iterator[GroupRow]:
    """Yield a row for each of a pool's worker groups."""
    for group in record.groups:
        yield GroupRow(
            group=f"{record.pool_id}@{group.node}",
            pool=record.config.name,
            node=group.node,
            status=group.status,
            reason=group.reason or group.warning,
            workers=group.workers,
            worker_type=group.worker_type,
            memory_mb=None if group.memory_mb is None else round(group.memory_mb),
            cpu_percent=None if group.cpu_percent is None else round(group.cpu_percent),
            restarts=group.restarts,
        )


def node_row(node: NodeInfo) -> NodeRow:
    """Return a node's row."""
    return NodeRow(
        name=node.name,
        alive=node.alive,
        region=node.region,
        tags=node.tags,
        only_pool=node.only_pool,
        started=node.started,
    )
