"""How much is read ahead, learned from the tasks that have ended."""

from __future__ import annotations

import time

import pytest

from workers.read_ahead import ANSWERS, FRESH, HAND_OVER, MOST, PATIENCE, QUICK, ROW, SPAN, ReadAhead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def _learned(seconds: float, tasks: int = ROW) -> ReadAhead:
    ahead = ReadAhead()
    for _ in range(tasks):
        ahead.ran(seconds)
    return ahead


def test_no_more_is_read_ahead_than_workers_do_in_a_moment(clock: list[float]) -> None:
    assert ReadAhead().size(100) == 0

    ahead = _learned(SPAN / 2)
    assert [ahead.size(workers) for workers in (0, 1, 10, 1000)] == [0, 2, 20, MOST]

    ahead.ran(60)
    assert ahead.size(10) == 0


def test_the_end_of_a_task_is_near_when_those_before_it_were_short(clock: list[float]) -> None:
    assert not ReadAhead().quick
    assert not _learned(QUICK, ROW - 1).quick
    assert not _learned(2 * QUICK).quick

    ahead = _learned(QUICK)
    assert ahead.quick

    clock[0] += 60
    assert not ahead.quick


def test_a_few_tasks_say_nothing_of_the_next(clock: list[float]) -> None:
    ahead = _learned(SPAN, ROW - 1)
    assert ahead.size(10) == 0

    ahead.ran(SPAN)
    assert ahead.size(10) == 10


def test_more_is_read_ahead_where_the_server_is_slow(clock: list[float]) -> None:
    ahead = _learned(SPAN)
    assert ahead.size(10) == 10
    for _ in range(100):
        ahead.answered(SPAN * 2 / ANSWERS)

    assert ahead.size(10) in (19, 20)
    for _ in range(100):
        ahead.answered(60)
    assert ahead.size(10) == int(10 * PATIENCE / SPAN)


def test_nothing_is_read_ahead_after_a_stall_until_tasks_have_ended(clock: list[float]) -> None:
    ahead = _learned(SPAN)
    ahead.stalled()
    assert ahead.size(10) == 0

    for _ in range(ROW):
        ahead.ran(SPAN)
    assert ahead.size(10) == 10


def test_what_was_learned_is_forgotten_when_no_task_has_ended_for_a_while(clock: list[float]) -> None:
    ahead = _learned(SPAN)
    assert ahead.size(10) == 10

    clock[0] += FRESH * SPAN + 0.01
    assert ahead.size(10) == 0

    ahead.ran(SPAN)
    assert ahead.size(10) == 0


def test_patience_is_no_shorter_than_it_takes_somebody_else_to_have_the_task(clock: list[float]) -> None:
    ahead = ReadAhead()
    assert ahead.patience == PATIENCE

    for _ in range(100):
        ahead.answered(PATIENCE)

    assert ahead.patience == pytest.approx(HAND_OVER * PATIENCE)
