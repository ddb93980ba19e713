"""Every metric of this project: name, kind, labels, meaning. This table is the only place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What names of our own metrics begin with.
PREFIX = "mahavishnu_pools_"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``name`` stands without the suffixes that its kind adds (``_total``, ``_bucket`` …)."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    text: str

    @property
    def exposed(self) -> str:
        """Return the name to ask Prometheus for; of a histogram that of its buckets."""
        return self.name + {"gauge": "", "counter": "_total", "histogram": "_bucket"}[self.kind]


def _ours(name: str, kind: Literal["gauge", "counter", "histogram"], labels: str, text: str) -> Metric:
    return Metric(PREFIX + name, kind, tuple(labels.split()), text)


# fmt: off
OURS: tuple[Metric, ...] = (
    # ── pools ──
    _ours("pools", "gauge", "status", "Pools by status"),
    _ours("pool_info", "gauge", "pool pool_id pool_type region worker_type", "1 for each pool, with what it is"),
    _ours("pool_status", "gauge", "pool status", "1 for the status that a pool has now"),
    # ── workers ──
    _ours("workers_wanted", "gauge", "pool", "Workers that a pool is to have"),
    _ours("workers_min", "gauge", "pool", "Fewest workers that a pool may have"),
    _ours("workers_max", "gauge", "pool", "Most workers that a pool may have"),
    _ours("workers_ready", "gauge", "pool", "Workers in groups that are ready"),
    _ours("worker_groups", "gauge", "pool status", "Worker groups by status"),
    _ours("group_memory_bytes", "gauge", "pool node", "Memory of a worker group with the programs it runs"),
    _ours("group_cpu_ratio", "gauge", "pool node", "Processors that a worker group with its programs keeps busy"),
    _ours("group_restarts", "counter", "pool", "Times that living worker groups were started again"),
    # ── tasks ──
    _ours("queued_tasks", "gauge", "pool", "Tasks that wait, delayed ones and suspects among them"),
    _ours("delayed_tasks", "gauge", "pool", "Tasks that wait for their time or for their next attempt"),
    _ours("suspect_tasks", "gauge", "pool", "Tasks that may have killed their worker group and wait to run alone"),
    _ours("running_tasks", "gauge", "pool", "Tasks that worker groups hold"),
    _ours("oldest_queued_task_seconds", "gauge", "pool", "Time that the longest waiting task has waited"),
    _ours("tasks", "counter", "pool pool_type task_type status", "Tasks that have their outcome"),
    _ours("task_duration_seconds", "histogram", "pool", "Run time of a task's last attempt, whatever its outcome"),
    _ours("queue_wait_seconds", "histogram", "pool", "Time from submission (or its eta) to the first start"),
    _ours("task_retries", "counter", "pool", "Attempts that failed and are made again"),
    _ours("routed_tasks", "counter", "pool strategy", "Tasks sent to a pool, by what chose it (pool: the sender)"),
    # ── faults ──
    _ours("dead_letters", "counter", "pool", "Tasks that were given up"),
    _ours("kept_dead_letters", "gauge", "", "Dead letters that can be looked at now"),
    _ours("lost_groups", "counter", "pool cause",
          "Worker groups whose tasks were taken back (loss: a task did it, kill: may have, node: cannot have)"),
    _ours("requeued_tasks", "counter", "pool cause", "Tasks that wait again because their worker group was lost"),
    # ── scaling ──
    _ours("scaling_events", "counter", "pool direction by", "Changes of a pool's workers, by whom (auto, hand)"),
    # ── AI programs ──
    _ours("ai_tokens", "counter", "pool direction", "Tokens that AI programs reported"),
    _ours("ai_cost_dollars", "counter", "pool", "Cost that AI programs reported"),
    _ours("cool_down_seconds", "gauge", "worker_type", "Time until prompts start again after too many requests"),
    # ── nodes ──
    _ours("node_up", "gauge", "node", "1 while the node's agent lives"),
    _ours("leases", "gauge", "state", "Leases of worker groups (alive, late)"),
    # ── memory ──
    _ours("memory_sync_pending_records", "gauge", "sink", "Outcomes that a memory server has not confirmed"),
    _ours("memory_sync_delivered_records", "counter", "sink", "Records that a memory server confirmed"),
    _ours("memory_sync_dropped_records", "counter", "sink", "Records that were cut off before the server had them"),
    _ours("memory_sync_refused_records", "counter", "sink", "Records that a memory server refused"),
    _ours("memory_sync_set_aside_records", "gauge", "sink", "Refused records that are kept for another try"),
    _ours("memory_sync_failures", "gauge", "sink", "Failures in a row"),
    _ours("memory_sync_last_success_timestamp_seconds", "gauge", "sink", "When a memory server last confirmed"),
    # ── message bus ──
    _ours("bus_messages", "counter", "type", "Messages sent over the bus"),
    _ours("mailbox_messages", "gauge", "pool", "Messages in a pool's mailbox"),
    # ── server ──
    _ours("redis_up", "gauge", "", "1 when Redis answered; else this is the only metric"),
    _ours("redis_memory_bytes", "gauge", "", "Memory that Redis uses"),
    _ours("redis_memory_limit_bytes", "gauge", "", "Memory that Redis may use (0: no limit)"),
    _ours("redis_clients", "gauge", "", "Connections to Redis"),
    _ours("redis_scripts", "counter", "", "Scripts that Redis has run: submits, routes, claims, finishes and the rest"),
    _ours("redis_script_seconds", "counter", "", "Time that Redis spent in scripts"),
    _ours("build_info", "gauge", "version", "1, with the version of the exporter"),
)

#: Named and labelled as celery-exporter does it, for dashboards made for that. Our store knows no host for a task, so
#: tasks have no ``hostname``; failures have no ``exception``.
CELERY: tuple[Metric, ...] = (
    Metric("celery_queue_length", "gauge", ("queue_name",), "Tasks that wait in a pool's queue"),
    Metric("celery_active_worker_count", "gauge", ("queue_name",), "Worker groups that are ready, by queue"),
    Metric("celery_active_process_count", "gauge", ("queue_name",), "Workers that are ready, by queue"),
    Metric("celery_active_consumer_count", "gauge", ("queue_name",), "Leases that are alive, by queue"),
    Metric("celery_worker_up", "gauge", ("hostname",), "1 while a worker group is ready, by its Celery node name"),
    Metric("celery_worker_tasks_active", "gauge", ("hostname",), "Tasks that a worker group holds"),
    Metric("celery_task_succeeded", "counter", ("name", "queue_name"), "Tasks that completed"),
    Metric("celery_task_failed", "counter", ("name", "queue_name"), "Tasks that failed, timed out or were given up"),
    Metric("celery_task_revoked", "counter", ("name", "queue_name"), "Tasks that were cancelled"),
    Metric("celery_task_runtime", "histogram", ("name", "queue_name"), "Run time of completed tasks, buckets only"),
)
# fmt: on

METRICS = OURS + CELERY
