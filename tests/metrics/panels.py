"""What the dashboard shows: 15 rows, each with its panels, their queries and units. Data only."""

# ruff: noqa: E501 - a query is read in one line

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["stat", "timeseries", "table", "heatmap", "piechart", "bargauge", "text", "alertlist"]


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. ``queries`` are pairs of expression and legend; ``width`` is in 24ths of a row."""

    title: str
    kind: Kind
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    width: int = 6
    text: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One of the 15 rows."""

    title: str
    panels: tuple[Panel, ...]


P = "mahavishnu_pools_"
#: Only the pools that are chosen on top of the dashboard.
OF = 'pool=~"$pool"'
RATE = "$__rate_interval"
BAD = 'status=~"failed|timeout|dead"'


def _one(title: str, kind: Kind, expression: str, legend: str = "", *, unit: str = "short", width: int = 6) -> Panel:
    return Panel(title, kind, ((expression, legend),), unit, width)


def _quantile(q: float, metric: str, by: str = "le") -> str:
    return f"histogram_quantile({q}, sum by ({by}) (rate({P}{metric}_bucket{{{OF}}}[{RATE}])))"


def _share(part: str, whole: str) -> str:
    return f"({part}) / ({whole} > 0)"


_READY = f"sum({P}workers_ready{{{OF}}})"
_BUSY = f"sum({P}running_tasks{{{OF}}})"
_DONE = f"rate({P}tasks_total{{{OF}}}[{RATE}])"
_FAILED = f"rate({P}tasks_total{{{OF}, {BAD}}}[{RATE}])"
_RUN = f"rate({P}task_duration_seconds_sum{{{OF}}}[{RATE}])"
_MEMORY = f"sum by (pool) ({P}group_memory_bytes{{{OF}}})"
_LOAD = f"({P}queued_tasks{{{OF}}} + {P}running_tasks{{{OF}}}) / clamp_min({P}workers_wanted{{{OF}}}, 1)"


def _scalings(direction: str) -> str:
    return f'sum(increase({P}scaling_events_total{{{OF}, direction="{direction}"}}[$__range])) or vector(0)'


# fmt: off
ROWS: tuple[Row, ...] = (
    Row("Pool Overview", (
        _one("Total pools", "stat", f"sum({P}pools)"),
        _one("Active pools", "stat", f'sum({P}pools{{status="running"}})'),
        _one("Degraded pools", "stat", f'sum({P}pools{{status="degraded"}})'),
        _one("Failed pools", "stat", f'sum({P}pools{{status="failed"}})'),
        _one("Pool Overview", "table", f"{P}pool_info{{{OF}}}", width=24),
    )),
    Row("Worker Metrics", (
        _one("Total workers", "stat", f"sum({P}workers_wanted{{{OF}}})"),
        _one("Active workers", "stat", _BUSY),
        _one("Idle workers", "stat", f"clamp_min({_READY} - {_BUSY}, 0)"),
        _one("Worker utilization", "stat", _share(_BUSY, _READY), unit="percentunit"),
        Panel("Worker Metrics", "timeseries", (
            (f"sum({P}workers_wanted{{{OF}}})", "wanted"), (_READY, "ready"), (_BUSY, "busy")), width=24),
    )),
    Row("Task Execution", (
        _one("Task Execution Metrics", "timeseries", f'sum by (pool) (rate({P}tasks_total{{{OF}, status="completed"}}[{RATE}]))',
             "{{pool}} completed", unit="reqps"),
        _one("Tasks failed", "timeseries", f"sum by (pool) ({_FAILED})", "{{pool}} failed", unit="reqps"),
        _one("Task Success Rate", "timeseries", f"1 - sum by (pool) ({_FAILED} or {_DONE} * 0) / (sum by (pool) ({_DONE}) > 0)",
             "{{pool}}", unit="percentunit"),
        _one("Average task duration", "timeseries",
             f"sum by (pool) ({_RUN}) / (sum by (pool) (rate({P}task_duration_seconds_count{{{OF}}}[{RATE}])) > 0)", "{{pool}}", unit="s"),
    )),
    Row("Pool Health", (
        _one("Pool Health Status", "table", f"{P}pool_status{{{OF}}}"),
        _one("Worker health", "timeseries", f"sum by (status) ({P}worker_groups{{{OF}}})", "groups {{status}}"),
        _one("Memory usage", "timeseries", _MEMORY, "{{pool}}", unit="decbytes"),
        _one("CPU usage", "timeseries", f"sum by (pool) ({P}group_cpu_ratio{{{OF}}})", "{{pool}}", unit="percentunit"),
    )),
    Row("Task Distribution", (
        _one("Task Distribution by Pool", "piechart", f"sum by (pool) (increase({P}tasks_total{{{OF}}}[$__range]))", "{{pool}}"),
        _one("Task Distribution by Type", "piechart", f"sum by (task_type) (increase({P}tasks_total{{{OF}}}[$__range]))", "{{task_type}}"),
        _one("Tasks by status", "piechart", f"sum by (status) (increase({P}tasks_total{{{OF}}}[$__range]))", "{{status}}"),
        _one("Task Queue Size", "timeseries", f"sum by (pool) ({P}queued_tasks{{{OF}}})", "{{pool}}"),
    )),
    Row("System Throughput", (
        _one("Tasks per minute", "stat", f"60 * sum(rate({P}tasks_total{{{OF}}}[5m]))"),
        _one("Tasks per hour", "stat", f"sum(increase({P}tasks_total{{{OF}}}[1h]))"),
        _one("Peak throughput", "stat", f"max_over_time(sum(rate({P}tasks_total{{{OF}}}[1m]))[$__range:1m])", unit="reqps"),
        _one("System Throughput", "timeseries", f"sum({_DONE})", "tasks a second", unit="reqps"),
    )),
    Row("Pool Utilization", (
        _one("Pool Utilization Heatmap", "heatmap",
             f"{P}running_tasks{{{OF}}} / clamp_min({P}workers_ready{{{OF}}}, 1)", "{{pool}}", unit="percentunit", width=12),
        Panel("Pool capacity", "timeseries", (
            (f"sum by (pool) ({P}workers_ready{{{OF}}})", "{{pool}} ready"), (f"sum by (pool) ({P}workers_max{{{OF}}})", "{{pool}} most"))),
        _one("Pool efficiency", "timeseries", f"sum by (pool) ({_RUN}) / clamp_min(sum by (pool) ({P}workers_ready{{{OF}}}), 1)",
             "{{pool}} run time per worker", unit="percentunit"),
        _one("Resource allocation", "timeseries", f"sum by (node) ({P}group_cpu_ratio{{{OF}}})", "{{node}} processors", width=24),
    )),
    Row("Latency Metrics", (
        Panel("Task Execution Latency", "timeseries", (
            (_quantile(0.5, "task_duration_seconds"), "P50"), (_quantile(0.95, "task_duration_seconds"), "P95"),
            (_quantile(0.99, "task_duration_seconds"), "P99")), "s", 8),
        Panel("Queuing time", "timeseries", (
            (_quantile(0.5, "queue_wait_seconds"), "P50"), (_quantile(0.95, "queue_wait_seconds"), "P95"),
            (_quantile(0.99, "queue_wait_seconds"), "P99")), "s", 8),
        _one("Longest waiting", "timeseries", f"{P}oldest_queued_task_seconds{{{OF}}}", "{{pool}}", unit="s", width=8),
    )),
    Row("Error Tracking", (
        _one("Error Rate by Pool", "timeseries", f"sum by (pool) ({_FAILED} or {_DONE} * 0) / (sum by (pool) ({_DONE}) > 0)",
             "{{pool}}", unit="percentunit"),
        _one("Error types", "piechart", f"sum by (status) (increase({P}tasks_total{{{OF}, {BAD}}}[$__range]))", "{{status}}"),
        Panel("Error frequency", "timeseries", (
            (f"sum by (pool) (increase({P}task_retries_total{{{OF}}}[5m]))", "{{pool}} retries"),
            (f"sum by (pool) (increase({P}dead_letters_total{{{OF}}}[5m]))", "{{pool}} dead letters"),
            (f"sum by (pool, cause) (increase({P}requeued_tasks_total{{{OF}}}[5m]))", "{{pool}} lost to {{cause}}"))),
        _one("Error trends", "timeseries", f"sum(increase({P}tasks_total{{{OF}, {BAD}}}[1h])) or vector(0)", "errors in an hour"),
    )),
    Row("Memory Usage", (
        _one("Memory Usage by Pool", "timeseries", _MEMORY, "{{pool}}", unit="decbytes"),
        _one("Memory per worker", "timeseries", f"{_MEMORY} / clamp_min(sum by (pool) ({P}workers_ready{{{OF}}}), 1)",
             "{{pool}}", unit="decbytes"),
        Panel("Memory trend", "timeseries", (
            (f"sum({P}group_memory_bytes{{{OF}}})", "worker groups"), (f"{P}redis_memory_bytes", "Redis")), "decbytes"),
        _one("Memory alerts", "stat", 'count(ALERTS{alertname=~"Mahavishnu.*Memory.*", alertstate="firing"}) or vector(0)'),
    )),
    Row("Routing Statistics", (
        _one("Routing Strategy Distribution", "piechart", f"sum by (strategy) (increase({P}routed_tasks_total{{{OF}}}[$__range]))",
             "{{strategy}}"),
        Panel("Routing effectiveness", "timeseries", (
            (f"max({_LOAD})", "highest load"), (f"min({_LOAD})", "lowest load"))),
        _one("Pool selection distribution", "timeseries", f"sum by (pool) (rate({P}routed_tasks_total{{{OF}}}[{RATE}]))", "{{pool}}",
             unit="reqps"),
        _one("Routing latency", "timeseries", f"rate({P}redis_script_seconds_total[{RATE}]) / (rate({P}redis_scripts_total[{RATE}]) > 0)",
             "a script in Redis", unit="s"),
    )),
    Row("Scaling Events", (
        _one("Scale-up events", "stat", _scalings("up")),
        _one("Scale-down events", "stat", _scalings("down")),
        _one("Auto-scaling triggers", "piechart", f"sum by (by, direction) (increase({P}scaling_events_total{{{OF}}}[$__range]))",
             "{{by}} {{direction}}"),
        Panel("Scaling Events", "timeseries", (
            (f"sum by (pool) (increase({P}scaling_events_total{{{OF}}}[5m]))", "{{pool}} changes in 5 minutes"),
            (f"sum by (pool) ({P}workers_wanted{{{OF}}})", "{{pool}} workers"))),
    )),
    Row("Task History", (
        Panel("Recent tasks", "text", (), text="The last tasks with their output are on the [pool page]($server/); in a shell "
              "`mahavishnu pools tasks` and `mahavishnu pools events` list them."),
        _one("Task outcomes", "timeseries", f"sum by (status) (increase({P}tasks_total{{{OF}}}[5m]))", "{{status}}"),
        _one("Task duration trend", "timeseries",
             f"sum(rate({P}task_duration_seconds_sum{{{OF}}}[30m])) / (sum(rate({P}task_duration_seconds_count{{{OF}}}[30m])) > 0)",
             "mean of 30 minutes", unit="s"),
        _one("Task patterns", "timeseries", f"sum by (task_type) (increase({P}tasks_total{{{OF}}}[15m]))", "{{task_type}}"),
    )),
    Row("Pool Comparison", (
        _one("Performance by pool type", "bargauge", f"sum by (pool_type) (increase({P}tasks_total{{{OF}}}[$__range]))", "{{pool_type}}"),
        Panel("Cost per pool", "timeseries", (
            (f"sum by (pool) (increase({P}ai_cost_dollars_total{{{OF}}}[$__range])) or sum by (pool) ({P}pool_info{{{OF}}} * 0)", "{{pool}}"),
        ), "currencyUSD"),
        _one("Efficiency comparison", "bargauge",
             f"sum by (pool) ({_DONE}) / clamp_min(sum by (pool) ({P}workers_ready{{{OF}}}), 1)", "{{pool}} tasks a worker", unit="reqps"),
        _one("Pool rankings", "table", f"topk(10, sum by (pool) (increase({P}tasks_total{{{OF}}}[$__range])))", "{{pool}}"),
    )),
    Row("Alert Summary", (
        Panel("Active alerts", "alertlist", ()),
        _one("Alert severity", "bargauge", 'count by (severity) (ALERTS{alertname=~"Mahavishnu.*", alertstate="firing"})', "{{severity}}"),
        _one("Alert frequency", "timeseries", 'count by (alertname) (ALERTS{alertname=~"Mahavishnu.*"})', "{{alertname}}"),
        _one("Alert history", "table", 'max_over_time(ALERTS_FOR_STATE{alertname=~"Mahavishnu.*"}[$__range]) * 1000', "{{alertname}}",
             unit="dateTimeAsIso"),
    )),
)
# fmt: on
