"""Figures of all pools together, and of each group of tasks. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from mahavishnu_pools.akosha import patterns
from mahavishnu_pools.akosha.executions import Execution
from mahavishnu_pools.akosha.statistics import quantile

GroupBy = Literal["pool_id", "pool_type", "status", "system_id", "repository"]


def figures(executions: Sequence[Execution]) -> dict[str, Any]:
    """Return counts by status, the failure rate with its 95 % interval (Wilson 1927), and quantiles of durations."""
    seconds = [one.seconds for one in executions if one.seconds is not None]
    return {
        "count": len(executions),
        "by_status": dict(Counter(one.status or "unknown" for one in executions).most_common()),
        "failure_rate": patterns.failure_rate(executions),
        "duration_seconds": {
            "known": len(seconds),
            "sum": sum(seconds),
            "median": quantile(seconds, 0.5),
            "p95": quantile(seconds, 0.95),
            "max": max(seconds, default=0.0),
        },
    }


def metrics(executions: Sequence[Execution], *, group_by: GroupBy) -> dict[str, Any]:
    """Return the figures of each group, the largest group first; tasks without such a value are in the group ``""``."""
    groups: defaultdict[str, list[Execution]] = defaultdict(list)
    for one in executions:
        groups[getattr(one, group_by)].append(one)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return {name: figures(group) for name, group in ordered}


def found_patterns(
    executions: Sequence[Execution], *, since: datetime, recent_since: datetime, until: datetime
) -> dict[str, Any]:
    """Return all patterns of a time; pools are compared before and after ``recent_since``."""
    return {
        "recurring_errors": patterns.recurring_errors(executions),
        "slow_pools": patterns.slow_pools(executions, recent_since=recent_since),
        "failing_pools": patterns.failing_pools(executions, recent_since=recent_since),
        "hot_repositories": patterns.hot_repositories(executions),
        **patterns.developments(executions, since=since, until=until),
    }
