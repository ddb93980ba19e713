"""Patterns across pools: what is found, and that nothing is found in quiet times."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools.akosha import analytics, patterns
from mahavishnu_pools.akosha.executions import Execution, execution_of

NOW = datetime(2026, 1, 8, tzinfo=UTC)
SINCE = NOW - timedelta(days=7)
RECENT = NOW - timedelta(days=1)
TASK = Execution(SINCE, "pool_a", "mahavishnu", "completed", 10.0, "", "")


def week(pool: str = "pool_a", *, seed: int = 1, per_hour: int = 3) -> list[Execution]:
    """Return a quiet week of one pool: durations about 10 s, one task in twenty fails."""
    chance = random.Random(seed)
    moments = [SINCE + timedelta(minutes=60 * n / per_hour + 1) for n in range(7 * 24 * per_hour)]
    return [
        replace(
            TASK,
            moment=moment,
            pool_id=pool,
            seconds=chance.lognormvariate(2.3, 0.3),
            status="failed" if chance.random() < 0.05 else "completed",
        )
        for moment in moments
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("Timeout after 30.5 s on port 8080", "Timeout after <n> s on port <n>"),
        ("No such file: '/home/me/shop/app.py', line 12", "No such file: '<path>', line <n>"),
        ("src/app.py:12: E501", "<path>:<n>: E<n>"),
        (r"cannot open C:\Users\me\x.txt", "cannot open <path>"),
        ("task_01ab23cd failed on pool_0123456789ab", "<id> failed on <id>"),
        ("id 123e4567-e89b-12d3-a456-426614174000 gone", "id <id> gone"),
        ("commit 4e8dd42f0 at 0x7f00AB", "commit <id> at <n>"),
        ("GET https://api.example.com/v1/x?y=2 failed", "GET <url> failed"),
        ("2026-01-08T10:00:00.123Z\n  rate   limit", "<time> rate limit"),
        ("KeyError: 'task_type'", "KeyError: 'task_type'"),
        ("\x1b[31mred\x1b[0m", "red"),
    ],
)
def test_a_signature_is_what_recurs(error: str, expected: str) -> None:
    assert patterns.signature(error) == expected


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_errors_that_differ_in_numbers_have_one_signature(first: int, second: int) -> None:
    one, other = (f"exit code {number} in /tmp/run{number}/a.py" for number in (first, second))

    assert patterns.signature(one) == patterns.signature(other)


@given(st.text(max_size=3000))
def test_any_text_has_a_short_signature(error: str) -> None:
    assert len(patterns.signature(error)) <= patterns.MAX_SIGNATURE


def test_errors_of_many_pools_come_first() -> None:
    failed = replace(TASK, status="failed")
    seen = [
        *[replace(failed, error=f"disk {n} full") for n in range(5)],
        *[replace(failed, pool_id=pool, error="rate limit") for pool in ("a", "b", "c")],
        replace(failed, error="only once"),
        replace(TASK, error="a warning of a task that completed"),
    ]

    found = patterns.recurring_errors(seen)

    assert [(one["signature"], one["count"]) for one in found] == [("rate limit", 3), ("disk <n> full", 5)]


def test_a_quiet_week_has_no_patterns() -> None:
    tasks = [*week("pool_a", seed=1), *week("pool_b", seed=2)]

    found = analytics.found_patterns(tasks, since=SINCE, recent_since=RECENT, until=NOW)

    assert {name: value for name, value in found.items() if value and name != "anomalies"} == {}
    assert len(found["anomalies"]) <= 2  # of 96 values looked at


def test_a_pool_that_got_slower_is_named_and_the_others_are_not() -> None:
    slower = [replace(one, seconds=(one.seconds or 0) * 2) if one.moment >= RECENT else one for one in week("pool_b")]

    found = patterns.slow_pools([*week("pool_a"), *slower], recent_since=RECENT)

    assert [one["pool_id"] for one in found] == ["pool_b"]
    assert found[0]["median_recent"] > 1.5 * found[0]["median_before"]


def test_a_pool_that_fails_more_often_is_named() -> None:
    broken = [replace(one, status="dead") if one.moment >= RECENT else one for one in week("pool_b")]

    found = patterns.failing_pools([*week("pool_a"), *broken], recent_since=RECENT)

    assert [(one["pool_id"], one["recent"]["rate"]) for one in found] == [("pool_b", 1.0)]


def test_few_tasks_accuse_no_pool() -> None:
    few = [replace(TASK, moment=moment, status="failed", seconds=99.0) for moment in (RECENT, NOW)]

    assert patterns.slow_pools([TASK, *few], recent_since=RECENT) == []
    assert patterns.failing_pools([TASK, *few], recent_since=RECENT) == []


def test_growing_durations_are_a_trend() -> None:
    growing = [replace(one, seconds=(one.seconds or 0) + (one.moment - SINCE).days * 5) for one in week()]

    [trend] = patterns.developments(growing, since=SINCE, until=NOW)["trends"]

    assert (trend["pool_id"], trend["measure"]) == ("pool_a", "duration_seconds")
    assert trend["slope"] == pytest.approx(5 * 7 / 24, rel=0.3)


def test_one_bad_time_is_an_anomaly_with_its_time() -> None:
    start, end = SINCE + timedelta(hours=70), SINCE + timedelta(hours=77)  # one of the 24 parts
    tasks = [replace(one, seconds=500.0) if start <= one.moment < end else one for one in week()]

    found = patterns.developments(tasks, since=SINCE, until=NOW)["anomalies"]

    [worst] = [one for one in found if one["value"] == 500.0]
    assert (worst["from"], worst["to"]) == (start.isoformat(), end.isoformat())


def test_hot_repositories_are_those_with_most_tasks() -> None:
    tasks = [replace(TASK, repository=name, pool_id=pool) for name, pool in [("/a", "x"), ("/b", "x"), ("/b", "y")]]

    found = patterns.hot_repositories([*tasks, TASK])

    assert [(one["repository"], one["count"], one["pools"]) for one in found] == [
        ("/b", 2, ["x", "y"]),
        ("/a", 1, ["x"]),
    ]


def test_what_metadata_lack_is_read_from_the_text() -> None:
    read = execution_of("Fixed it. pool_id:local status:failed duration_seconds:2.5 cwd:/src/shop/", {}, NOW)

    assert (read.pool_id, read.status, read.seconds, read.repository) == ("local", "failed", 2.5, "/src/shop")


@pytest.mark.parametrize("value", ["soon", -1, float("inf"), True, [], 10**400])
def test_durations_that_are_none_are_unknown(value: object) -> None:
    assert execution_of("", {"duration_seconds": value}, NOW).seconds is None  # type: ignore[dict-item]


def test_metrics_are_grouped_and_the_largest_group_comes_first() -> None:
    tasks = [TASK, replace(TASK, pool_id="pool_b", status="failed"), replace(TASK, seconds=30.0)]

    groups = analytics.metrics(tasks, group_by="pool_id")

    assert list(groups) == ["pool_a", "pool_b"]
    assert groups["pool_a"]["duration_seconds"]["median"] == 20.0
    assert groups["pool_b"]["failure_rate"]["rate"] == 1.0
