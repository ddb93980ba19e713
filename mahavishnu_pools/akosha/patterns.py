"""Patterns across pools: errors that recur, pools that got worse, hot repositories, trends, anomalies. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from mahavishnu_pools.akosha import statistics
from mahavishnu_pools.akosha.executions import Execution

#: Executions a pool needs on each side before its present is judged by its past.
ENOUGH = 8

#: Chance of a false alarm that is accepted, for each pool and question.
SIGNIFICANCE = 0.01

#: A pool is slow when its median duration grew by this factor, besides being significantly longer.
SLOWER = 1.5

#: Robust standard deviations from which on a value is an anomaly (Iglewicz and Hoaglin).
ANOMALY = 3.5

#: Parts a time is cut into when trends and anomalies are looked for, and those that must hold executions.
PARTS, PARTS_NEEDED = 24, 6

#: Characters of an error that make its signature.
MAX_SIGNATURE = 200

# In this order: what is longer and more telling first.
_NORMALIZED = (
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),
    (re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>)]+", re.IGNORECASE), "<url>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b(?:task|pool|worker|wf|batch)_(?=[a-z]*\d)[0-9a-z]+\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"(?<![\w<>])(?:[A-Za-z]:\\|\\\\)[^\s'\":,;)]+"), "<path>"),
    (re.compile(r"(?<![\w<>])(?:\.{0,2}|~|[\w.-]+)(?:/[\w.@+-]+)+/?"), "<path>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<n>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)


def signature(error: str) -> str:
    """Return what is the same in an error each time it happens: numbers, ids, times, URLs and paths are replaced."""
    text = error[: 5 * MAX_SIGNATURE]
    for pattern, replacement in _NORMALIZED:
        text = pattern.sub(replacement, text)
    return text.strip()[:MAX_SIGNATURE]


def recurring_errors(executions: Iterable[Execution], *, at_least: int = 2) -> list[dict[str, Any]]:
    """Return the error signatures seen at least so often, those in most pools and then the most frequent first."""
    groups: defaultdict[str, list[Execution]] = defaultdict(list)
    for one in executions:
        if one.error and one.failed:
            groups[signature(one.error)].append(one)
    found = [_recurring(name, group) for name, group in groups.items() if len(group) >= at_least]
    return sorted(found, key=lambda one: (-len(one["pools"]), -one["count"], one["signature"]))


def _recurring(name: str, group: Sequence[Execution]) -> dict[str, Any]:
    pools = Counter(one.pool_id for one in group)
    moments = [one.moment for one in group]
    return {
        "signature": name,
        "count": len(group),
        "pools": dict(pools.most_common()),
        "first_seen": min(moments).isoformat(),
        "last_seen": max(moments).isoformat(),
        "example": max(group, key=lambda one: one.moment).error[:500],
    }


def slow_pools(executions: Iterable[Execution], *, recent_since: datetime) -> list[dict[str, Any]]:
    """Return the pools whose recent tasks take longer than their own earlier ones.

    Longer means: a Mann-Whitney test (1947) finds it at p < 0.01, and the median is at least 1.5 times the earlier one.
    """
    found = []
    for pool, earlier, recent in _before_and_after(executions, recent_since):
        before, after = _seconds(earlier), _seconds(recent)
        if min(len(before), len(after)) < ENOUGH:
            continue
        was, now = median(before), median(after)
        p_value = statistics.mann_whitney(before, after)
        if now >= SLOWER * was and now > was and p_value < SIGNIFICANCE:
            found.append({"pool_id": pool, "median_before": was, "median_recent": now, "p_value": p_value})
    return sorted(found, key=lambda one: one["p_value"])


def failing_pools(executions: Iterable[Execution], *, recent_since: datetime) -> list[dict[str, Any]]:
    """Return the pools that fail more often recently than earlier: Wilson's 95 % intervals (1927) do not meet."""
    found = []
    for pool, earlier, recent in _before_and_after(executions, recent_since):
        if min(len(earlier), len(recent)) < ENOUGH:
            continue
        before, after = failure_rate(earlier), failure_rate(recent)
        if after["interval"][0] > before["interval"][1]:
            found.append({"pool_id": pool, "before": before, "recent": after})
    return sorted(found, key=lambda one: -one["recent"]["rate"])


def failure_rate(executions: Sequence[Execution]) -> dict[str, Any]:
    """Return the share of failures with Wilson's 95 % interval."""
    failed = sum(one.failed for one in executions)
    low, high = statistics.wilson_interval(failed, len(executions))
    rate = failed / len(executions) if executions else 0.0
    return {"rate": rate, "interval": [low, high], "failed": failed, "total": len(executions)}


def hot_repositories(executions: Iterable[Execution], *, limit: int = 10) -> list[dict[str, Any]]:
    """Return the repositories most tasks work on, with the pools they come from."""
    groups: defaultdict[str, list[Execution]] = defaultdict(list)
    for one in executions:
        if one.repository:
            groups[one.repository].append(one)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:limit]
    return [
        {
            "repository": name,
            "count": len(group),
            "pools": sorted({one.pool_id for one in group}),
            "failure_rate": failure_rate(group),
            "seconds": sum(_seconds(group)),
        }
        for name, group in ordered
    ]


def developments(executions: Iterable[Execution], *, since: datetime, until: datetime) -> dict[str, list[Any]]:
    """Return trends and anomalies of every pool's median duration and failure rate, over 24 equal parts of the time.

    A trend is one that the Mann-Kendall test (1945, 1975) finds at p < 0.01; its slope, per part, is Theil and Sen's.
    An anomaly is a part whose value is more than 3.5 robust standard deviations (median absolute deviation, Iglewicz
    and Hoaglin 1993) from the pool's median part.
    """
    found: dict[str, list[Any]] = {"trends": [], "anomalies": []}
    step = (until - since) / PARTS
    for pool, group in sorted(_by_pool(executions).items()):
        parts = _cut(group, since=since, step=step)
        for measure, of in _MEASURES.items():
            series = [(number, value) for number, part in parts.items() if (value := of(part)) is not None]
            if len(series) < PARTS_NEEDED:
                continue
            values = [value for _, value in series]
            about = {"pool_id": pool, "measure": measure}
            trend = statistics.mann_kendall(values)
            if trend.p_value < SIGNIFICANCE and trend.slope:
                found["trends"].append({**about, "slope": trend.slope, "p_value": trend.p_value, "parts": len(values)})
            for (number, value), score in zip(series, statistics.modified_z_scores(values), strict=True):
                if abs(score) > ANOMALY:
                    place = {
                        "from": (since + number * step).isoformat(),
                        "to": (since + (number + 1) * step).isoformat(),
                    }
                    found["anomalies"].append({**about, **place, "value": value, "score": score})
    return found


def _median_seconds(part: Sequence[Execution]) -> float | None:
    seconds = _seconds(part)
    return median(seconds) if seconds else None


def _share_failed(part: Sequence[Execution]) -> float | None:
    return sum(one.failed for one in part) / len(part)


_MEASURES: Mapping[str, Callable[[Sequence[Execution]], float | None]] = {
    "duration_seconds": _median_seconds,
    "failure_rate": _share_failed,
}


def _seconds(executions: Iterable[Execution]) -> list[float]:
    return [one.seconds for one in executions if one.seconds is not None]


def _by_pool(executions: Iterable[Execution]) -> dict[str, list[Execution]]:
    groups: defaultdict[str, list[Execution]] = defaultdict(list)
    for one in executions:
        if one.pool_id:
            groups[one.pool_id].append(one)
    return groups


def _before_and_after(
    executions: Iterable[Execution], moment: datetime
) -> Iterable[tuple[str, list[Execution], list[Execution]]]:
    for pool, group in sorted(_by_pool(executions).items()):
        yield pool, [one for one in group if one.moment < moment], [one for one in group if one.moment >= moment]


def _cut(group: Iterable[Execution], *, since: datetime, step: timedelta) -> dict[int, list[Execution]]:
    parts: defaultdict[int, list[Execution]] = defaultdict(list)
    for one in group:
        number = (one.moment - since) // step
        if 0 <= number < PARTS:
            parts[number].append(one)
    return dict(sorted(parts.items()))
