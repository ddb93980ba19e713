"""How long a task is taken to run: by the clock, but not for time in which other processes had the processor."""

from __future__ import annotations

import threading
import time

import pytest

from workers import run_clock
from workers.run_clock import RunClock


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which the clock runs ahead, as it does for a thread that others take the processor from."""
    ahead = [0.0]
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + ahead[0])
    return ahead


def waited(monkeypatch: pytest.MonkeyPatch, times: list[int]) -> None:
    """Have the system tell that this thread waited so often; only its counter is a stand-in."""
    monkeypatch.setattr(run_clock, "_waits", lambda: times[0])


def test_a_thread_that_never_waited_took_its_processor_time(
    elsewhere: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited(monkeypatch, [7])
    clock = RunClock()

    elsewhere[0] = 60.0

    assert 0.0 < clock.seconds() < 60.0


def test_a_thread_that_waited_took_what_the_clock_says(elsewhere: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    times = [7]
    waited(monkeypatch, times)
    clock = RunClock()

    elsewhere[0], times[0] = 60.0, 8

    assert clock.seconds() >= 60.0


def test_a_nap_is_a_wait() -> None:
    clock = RunClock()

    threading.Event().wait(0.05)

    assert clock.seconds() >= 0.05


def test_where_waits_are_not_told_the_clock_counts(elsewhere: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_clock, "_THREAD", None)
    clock = RunClock()

    elsewhere[0] = 60.0

    assert clock.seconds() >= 60.0
