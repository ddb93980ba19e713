"""Ends of claims wait a little for others, but never while a worker waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from mahavishnu_pools.store import leases
from workers import endings
from workers.endings import ENOUGH, Endings


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Callable[[Endings, bool], threading.Thread]:
    """Begin a wait for others in a thread; left alone it would not end while a test runs."""
    monkeypatch.setattr(endings, "LINGER", 600.0)

    def wait(ended: Endings, busy: bool) -> threading.Thread:
        asked = threading.Event()

        def is_busy() -> bool:
            asked.set()
            return busy

        thread = threading.Thread(target=ended.linger, args=(is_busy,), daemon=True)
        thread.start()
        assert asked.wait(30)
        return thread

    return wait


def _put(ended: Endings, number: int) -> None:
    for _ in range(number):
        held = leases.Held("l", "1", "t", "p")
        ended.add(held, leases.hand_back(held))


def test_ends_wait_for_nobody_when_a_worker_waits_for_them(
    patient: Callable[[Endings, bool], threading.Thread],
) -> None:
    ended = Endings()
    _put(ended, 1)

    waiting = patient(ended, False)

    waiting.join(30)
    assert not waiting.is_alive()


@pytest.mark.parametrize("how", ["enough of them", "a worker that runs dry"])
def test_ends_wait_for_others_while_workers_have_something_to_do(
    patient: Callable[[Endings, bool], threading.Thread], how: str
) -> None:
    ended = Endings()
    _put(ended, 1)
    waiting = patient(ended, True)
    waiting.join(0.1)
    assert waiting.is_alive()

    if how == "enough of them":
        _put(ended, ENOUGH - 1)
    else:
        ended.hurry()

    waiting.join(30)
    assert not waiting.is_alive()
