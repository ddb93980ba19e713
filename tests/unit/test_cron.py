"""Cron expressions and what becomes of missed runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mahavishnu_pools import errors
from mahavishnu_pools.schedules.cron import Cron, parse
from mahavishnu_pools.schedules.timing import GRACE, Every, due, seconds_of, zone_of
from mahavishnu_pools.schemas.schedule import Schedule

VIENNA = ZoneInfo("Europe/Vienna")


def cron(text: str, zone: ZoneInfo | str = "UTC") -> Cron:
    return parse(text, zone=ZoneInfo(zone) if isinstance(zone, str) else zone)


def at(text: str, zone: ZoneInfo | None = None) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone or UTC).timestamp()


def upcoming(text: str, after: str, *, count: int = 3, zone: ZoneInfo | None = None) -> list[str]:
    found = islice(cron(text, zone or "UTC").upcoming(at(after, zone)), count)
    return [datetime.fromtimestamp(one, zone or UTC).isoformat(timespec="minutes")[:16] for one in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/20 * * * *", ["2026-03-01T00:20", "2026-03-01T00:40", "2026-03-01T01:00"]),
        ("30 4 * * *", ["2026-03-01T04:30", "2026-03-02T04:30", "2026-03-03T04:30"]),
        ("0 9-17/4 * * mon", ["2026-03-02T09:00", "2026-03-02T13:00", "2026-03-02T17:00"]),
        ("5,1 0 1 JAN,jul *", ["2026-07-01T00:01", "2026-07-01T00:05", "2027-01-01T00:01"]),
        ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]),
        ("0 0 * * 7", ["2026-03-08T00:00", "2026-03-15T00:00", "2026-03-22T00:00"]),
        ("0 0 13 * fri", ["2026-03-06T00:00", "2026-03-13T00:00", "2026-03-20T00:00"]),
        ("0 0 */10 * mon", ["2026-05-11T00:00", "2026-06-01T00:00", "2026-08-31T00:00"]),
        ("@weekly", ["2026-03-08T00:00", "2026-03-15T00:00", "2026-03-22T00:00"]),
    ],
)
def test_an_expression_is_due_when_cron_says(text: str, expected: list[str]) -> None:
    assert upcoming(text, "2026-03-01T00:00") == expected


def test_a_time_that_does_not_exist_comes_later_and_one_that_exists_twice_comes_once() -> None:
    forward = upcoming("30 2 * * *", "2026-03-28T12:00", count=2, zone=VIENNA)
    back = upcoming("30 2 * * *", "2026-10-24T12:00", count=2, zone=VIENNA)

    assert forward == ["2026-03-29T03:30", "2026-03-30T02:30"]
    assert back == ["2026-10-25T02:30", "2026-10-26T02:30"]


def test_what_is_due_every_hour_is_due_in_both_hours_of_the_same_name() -> None:
    found = list(islice(cron("0 * * * *", VIENNA).upcoming(at("2026-10-25T00:30", VIENNA)), 4))

    assert [later - earlier for earlier, later in pairwise(found)] == [3600.0] * 3


def test_a_clock_that_is_put_forward_half_an_hour_has_no_time_too_many() -> None:
    found = upcoming("15 * * * *", "2026-10-04T00:00", count=5, zone=ZoneInfo("Australia/Lord_Howe"))

    assert found == [f"2026-10-04T{one}" for one in ("00:15", "01:15", "02:45", "03:15", "04:15")]


@settings(max_examples=60, deadline=None)
@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    zone=st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
    start=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 - naive ones are asked for
)
def test_every_day_has_its_time_once_whatever_the_zone(minute: int, hour: int, zone: str, start: datetime) -> None:
    found = list(islice(cron(f"{minute} {hour} * * *", zone).upcoming(start.replace(tzinfo=UTC).timestamp()), 400))

    days = [datetime.fromtimestamp(one, ZoneInfo(zone)).date() for one in found]
    assert days == [days[0] + timedelta(days=n) for n in range(400)]
    assert found == sorted(set(found))
    middle = found[200]
    assert cron(f"{minute} {hour} * * *", zone).last_until(middle + 5, since=found[0]) == middle


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("61 * * * *", "minute: '61' is not 0 to 59"),
        ("* 24 * * *", "hour: '24' is not 0 to 23"),
        ("* * 0 * *", "day of month: '0' is not 1 to 31"),
        ("* * * 13 *", "month: '13' is not 1 to 12"),
        ("* * * * fri-", "day of week: 'fri-' cannot be read"),
        ("* * * * fry", "day of week: 'fry' is not 0 to 7"),
        ("*/0 * * * *", "step of 0"),
        ("5-1 * * * *", "goes backwards"),
        ("*-5 * * * *", "cannot be read"),
        ("1,,2 * * * *", "cannot be read"),
        ("-1 * * * *", "cannot be read"),
        ("0 0 31 2 *", "is never due"),
        ("* * * *", "has 4 fields instead of five"),
        ("", "has 0 fields"),
        ("@sometimes", "has 1 fields"),
        ("² * * * *", "minute"),
        ("* * * * * *", "has 6 fields"),
    ],
)
def test_what_is_wrong_with_an_expression_is_named(text: str, wrong: str) -> None:
    with pytest.raises(errors.InvalidField) as caught:
        cron(text)

    assert caught.value.field == "cron"
    assert wrong in caught.value.message


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789*/,- monjan@", max_size=30))
def test_whatever_is_given_is_read_or_refused(text: str) -> None:
    try:
        found = next(cron(text).upcoming(at("2026-01-01T00:00")))
    except errors.InvalidField:
        return
    assert found > at("2026-01-01T00:00")


def test_spans_and_zones_are_read_or_refused_with_the_nearest_name() -> None:
    assert [seconds_of(text) for text in ("90", "90s", "15m", "1.5h", "1d")] == [90, 90, 900, 5400, 86400]
    assert str(zone_of("Europe/Vienna")) == "Europe/Vienna"
    for refused in ("5s", "400d", "soon", "-5m", "1w", ""):
        with pytest.raises(errors.InvalidField, match="every"):
            seconds_of(refused)
    with pytest.raises(errors.InvalidField, match="Europe/Vienna"):
        zone_of("Europe/Wien")
    with pytest.raises(errors.InvalidField, match="unknown"):
        zone_of("../../etc/passwd")


def schedule(missed: str, **when: object) -> Schedule:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return Schedule.model_validate({"name": "s", "task": {"prompt": "x"}, "missed": missed, "created_at": made, **when})


@pytest.mark.parametrize("missed", ["run", "skip"])
def test_a_run_that_is_hardly_late_is_no_missed_one(missed: str) -> None:
    planned = at("2026-02-01T04:30")

    found = due(schedule(missed, cron="30 4 * * *"), planned, planned + GRACE - 1)

    assert (found.run, found.missed, found.next) == (planned, 0, at("2026-02-02T04:30"))


def test_of_missed_runs_the_last_one_is_made_up_for_or_none() -> None:
    planned, now = at("2026-02-01T04:30"), at("2026-02-04T12:00")

    late = due(schedule("run", cron="30 4 * * *"), planned, now)
    never = due(schedule("skip", cron="30 4 * * *"), planned, now)

    assert (late.run, late.missed, late.next) == (at("2026-02-04T04:30"), 3, at("2026-02-05T04:30"))
    assert (never.run, never.planned, never.missed, never.next) == (None, late.run, 4, late.next)


def test_what_is_due_every_so_long_keeps_its_beat() -> None:
    found = schedule("skip", every=600.0)
    start = found.created_at.timestamp()

    assert list(islice(Every(600.0, start).upcoming(start), 2)) == [start + 600, start + 1200]
    late = due(found, start + 600, start + 6000.5)
    assert (late.run, late.missed, late.next) == (start + 6000, 9, start + 6600)
