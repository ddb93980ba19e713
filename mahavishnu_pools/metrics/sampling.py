"""Turns figures into samples: metric name, label values, value. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mahavishnu_pools import names
from mahavishnu_pools.metrics.definitions import PREFIX
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store.figures import PoolFigures, ServerFigures, SystemFigures
from mahavishnu_pools.store.outbox import SinkState


@dataclass(frozen=True, slots=True)
class Buckets:
    """The value of a histogram: observations by index of their bucket, and their sum (None: nobody added them up)."""

    counts: Mapping[int, int]
    total: float | None


#: Metric name, label values in the order of its definition, value.
Sample = tuple[str, tuple[str, ...], float | Buckets]

#: What the scripts count under a letter: metric and its labels besides the pool.
_COUNTERS = {
    "r": "routed_tasks",
    "l": "requeued_tasks",
    "g": "lost_groups",
    "s": "scaling_events",
    "retries": "task_retries",
    "dead_letters": "dead_letters",
}

#: Counters without labels of their own are there from the beginning: an increase from nothing is none for Prometheus.
_FROM_ZERO = ("retries", "dead_letters")


def system_samples(figures: SystemFigures) -> Iterator[Sample]:
    """Yield the samples of everything that the store knows."""
    statuses = Counter(pool.status for pool in figures.pools)
    for status in PoolStatus:
        yield PREFIX + "pools", (status.value,), statuses[status.value]
    running: Counter[str] = Counter()
    for lease in figures.leases:
        running[lease.pool_id] += lease.claims
    for pool in figures.pools:
        yield from _pool(pool, running[pool.pool_id])
    for node, alive in figures.nodes.items():
        yield PREFIX + "node_up", (node,), int(alive)
    alive_leases = sum(lease.alive for lease in figures.leases)
    yield PREFIX + "leases", ("alive",), alive_leases
    yield PREFIX + "leases", ("late",), len(figures.leases) - alive_leases
    yield PREFIX + "kept_dead_letters", (), figures.dead_letters
    for kind, number in figures.bus.items():
        yield PREFIX + "bus_messages", (kind,), number
    for worker_type, left in figures.cooling.items():
        yield PREFIX + "cool_down_seconds", (worker_type,), left


def sink_samples(sinks: Mapping[str, SinkState]) -> Iterator[Sample]:
    """Yield the samples of the memory sync."""
    for name, sink in sinks.items():
        head = PREFIX + "memory_sync_"
        yield head + "pending_records", (name,), sink.pending
        yield head + "delivered_records", (name,), sink.delivered
        yield head + "dropped_records", (name,), sink.dropped
        yield head + "refused_records", (name,), sink.refused
        yield head + "set_aside_records", (name,), sink.aside
        yield head + "failures", (name,), sink.failures
        if sink.last_success is not None:
            yield head + "last_success_timestamp_seconds", (name,), sink.last_success.timestamp()


def server_samples(server: ServerFigures) -> Iterator[Sample]:
    """Yield the samples of the server."""
    yield PREFIX + "redis_memory_bytes", (), server.memory
    yield PREFIX + "redis_memory_limit_bytes", (), server.memory_limit
    yield PREFIX + "redis_clients", (), server.clients
    yield PREFIX + "redis_scripts", (), server.script_calls
    yield PREFIX + "redis_script_seconds", (), server.script_seconds


def celery_samples(figures: SystemFigures) -> Iterator[Sample]:
    """Yield the samples that dashboards for celery-exporter ask for."""
    held: Counter[tuple[str, str]] = Counter()
    consumers: Counter[str] = Counter()
    for lease in figures.leases:
        held[lease.pool_id, lease.node] += lease.claims
        consumers[lease.pool_id] += lease.alive
    for pool in figures.pools:
        queue = (names.queue_of(pool.pool_id),)
        ready = [group for group in pool.groups if group.status == "ready"]
        yield "celery_queue_length", queue, pool.queued
        yield "celery_active_worker_count", queue, len(ready)
        yield "celery_active_process_count", queue, sum(group.workers for group in ready)
        yield "celery_active_consumer_count", queue, consumers[pool.pool_id]
        for group in pool.groups:
            host = (f"{pool.pool_id}@{group.node}",)
            yield "celery_worker_up", host, int(group.status == "ready")
            yield "celery_worker_tasks_active", host, held[pool.pool_id, group.node]
        yield from _celery_tasks(pool, queue[0])


_CELERY_COUNTERS = {
    "completed": "celery_task_succeeded",
    "failed": "celery_task_failed",
    "timeout": "celery_task_failed",
    "dead": "celery_task_failed",
    "cancelled": "celery_task_revoked",
    "refused": "celery_task_revoked",
}


def _celery_tasks(pool: PoolFigures, queue: str) -> Iterator[Sample]:
    by_name: Counter[tuple[str, str]] = Counter()
    for (task_type, status), number in pool.outcomes.items():
        for metric in set(_CELERY_COUNTERS.values()):
            by_name[metric, _celery_name(task_type)] += number if metric == _CELERY_COUNTERS.get(status) else 0
    for (metric, name), number in by_name.items():
        yield metric, (name, queue), number
    runs: dict[str, Counter[int]] = defaultdict(Counter)
    for (task_type, status, edge), number in pool.durations.items():
        if status == "completed":
            runs[_celery_name(task_type)][edge] += number
    for name, counts in runs.items():
        yield "celery_task_runtime", (name, queue), Buckets(counts, None)


def _celery_name(task_type: str) -> str:
    return task_type.removeprefix("celery:")


def _pool(pool: PoolFigures, running: int) -> Iterator[Sample]:
    name, config = pool.name, pool.config
    worker_type = config.get("worker_type") or ""
    about = (name, pool.pool_id, pool.pool_type, config.get("region") or "", worker_type)
    yield PREFIX + "pool_info", about, 1
    yield PREFIX + "pool_status", (name, pool.status), 1
    gauges = {
        "workers_wanted": pool.workers,
        "workers_min": config.get("min_workers", 0),
        "workers_max": config.get("max_workers", 0),
        "workers_ready": sum(group.workers for group in pool.groups if group.status == "ready"),
        "queued_tasks": pool.queued,
        "delayed_tasks": pool.delayed,
        "suspect_tasks": pool.suspects,
        "running_tasks": running,
        "oldest_queued_task_seconds": pool.longest_wait,
        "mailbox_messages": pool.mail,
        "group_restarts": sum(group.restarts for group in pool.groups),
    }
    for metric, value in gauges.items():
        yield PREFIX + metric, (name,), value
    yield from _groups(pool)
    yield from _counted(pool)


def _groups(pool: PoolFigures) -> Iterator[Sample]:
    for status, number in Counter(group.status for group in pool.groups).items():
        yield PREFIX + "worker_groups", (pool.name, status), number
    for group in pool.groups:
        if group.memory_mb is not None:
            yield PREFIX + "group_memory_bytes", (pool.name, group.node), group.memory_mb * 1_000_000
        if group.cpu_percent is not None:
            yield PREFIX + "group_cpu_ratio", (pool.name, group.node), group.cpu_percent / 100


def _counted(pool: PoolFigures) -> Iterator[Sample]:
    name = pool.name
    for (task_type, status), number in pool.outcomes.items():
        yield PREFIX + "tasks", (name, pool.pool_type, task_type, status), number
    durations: Counter[int] = Counter()
    for (_, _, edge), number in pool.durations.items():
        durations[edge] += number
    yield PREFIX + "task_duration_seconds", (name,), Buckets(durations, pool.run_seconds)
    yield PREFIX + "queue_wait_seconds", (name,), Buckets(pool.waits, pool.wait_seconds)
    for (kind, *labels), number in _with_zeros(pool.counters):
        if kind in _COUNTERS:  # a newer version may count more
            yield PREFIX + _COUNTERS[kind], (name, *labels), number
    if pool.tokens_in or pool.tokens_out or pool.dollars:
        yield PREFIX + "ai_tokens", (name, "input"), pool.tokens_in
        yield PREFIX + "ai_tokens", (name, "output"), pool.tokens_out
        yield PREFIX + "ai_cost_dollars", (name,), pool.dollars


def _with_zeros(counters: Mapping[tuple[str, ...], int]) -> Iterable[tuple[tuple[str, ...], int]]:
    zeros: dict[tuple[str, ...], int] = {(kind,): 0 for kind in _FROM_ZERO}
    return {**zeros, **counters}.items()
