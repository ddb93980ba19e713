"""The table of claims, the concurrency pool's threads, the channel of claims."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from mahavishnu_pools.store.leases import Claim, Held
from tests.waiting import eventually
from workers.channel import ClaimChannel
from workers.claims import ClaimTable, Running
from workers.concurrency import SlotThreads, ThreadPool


def _running(number: str = "1", task_id: str = "t") -> Running:
    return Running(Held("lease", number, task_id, "pool_1"), Claim(number, 1, task_id, "{}"))


def test_a_claim_that_is_delivered_again_is_not_taken_twice() -> None:
    table = ClaimTable()

    assert table.add(_running())
    assert not table.add(_running())
    assert len(table) == 1


def test_only_one_caller_ends_a_claim_and_it_is_held_until_that_is_confirmed() -> None:
    table = ClaimTable()
    table.add(_running())
    held = _running().held

    assert table.end(held) is not None
    assert table.end(held) is None
    assert len(table) == 1
    table.remove(held)
    assert len(table) == 0


def test_an_older_claim_of_a_task_neither_ends_nor_removes_the_newer() -> None:
    table = ClaimTable()
    table.add(_running("2"))

    assert table.end(_running("1").held) is None
    table.remove(_running("1").held)

    assert table.get("t") is not None


def test_an_older_claim_whose_turn_comes_late_leaves_the_newer_to_begin() -> None:
    """What was handed back and claimed again is still among a worker's work, with both claims."""
    table = ClaimTable()
    before, now = _running("1"), _running("2")
    table.add(before)
    table.end(before.held)
    table.remove(before.held)
    table.add(now)

    assert not table.begin(before)

    assert table.waiting == 1
    assert table.begin(now)
    assert not table.begin(now)


def test_a_lost_lease_empties_the_table_so_that_late_results_find_nothing() -> None:
    table = ClaimTable()
    table.add(_running())

    [gone] = table.clear()

    assert gone.held.task_id == "t"
    assert table.end(gone.held) is None


class _Gate:
    """Work that waits until it is let through."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self) -> None:
        self.entered.release()
        assert self.open.wait(30)


def test_threads_start_when_there_is_work_and_are_used_again() -> None:
    threads, gate = SlotThreads(), _Gate()
    assert len(threads) == 0
    for _ in range(3):
        threads.submit(gate)
    for _ in range(3):
        assert gate.entered.acquire(timeout=30)
    gate.open.set()
    eventually(lambda: threads.busy == 0)

    threads.submit(gate)

    assert gate.entered.acquire(timeout=30)
    assert len(threads) == 3


def test_trimming_ends_idle_threads_only() -> None:
    threads, gate, through = SlotThreads(), _Gate(), threading.Event()
    threads.submit(gate)
    threads.submit(through.set)
    assert through.wait(30)
    eventually(lambda: threads.busy == 1)

    threads.trim(0)

    assert len(threads) == 1
    gate.open.set()
    eventually(lambda: threads.busy == 0)


def test_work_that_waits_gets_the_threads_that_are_added() -> None:
    threads, gate = SlotThreads(1), _Gate()
    for _ in range(3):
        threads.submit(gate)
    assert gate.entered.acquire(timeout=30)

    threads.trim(5)

    for _ in range(2):
        assert gate.entered.acquire(timeout=30)
    assert (len(threads), threads.busy) == (3, 3)
    gate.open.set()
    eventually(lambda: threads.busy == 0)


def test_work_that_raises_does_not_cost_its_thread(caplog: pytest.LogCaptureFixture) -> None:
    threads, through = SlotThreads(), threading.Event()

    def broken() -> None:
        raise ValueError("bad work")

    threads.submit(broken)
    eventually(lambda: threads.busy == 0)
    threads.submit(through.set)

    assert through.wait(30)
    assert len(threads) == 1
    assert "bad work" in caplog.text


def test_a_hundred_idle_workers_have_no_threads() -> None:
    """Point 7: workers are a number; threads come with the work."""
    before = threading.active_count()

    pool = ThreadPool(limit=100)

    assert (pool.num_processes, len(pool.threads), threading.active_count()) == (100, 0, before)


def test_growing_and_shrinking_set_the_limit_at_once_unless_refused() -> None:
    """Point 7: Celery reads ``num_processes`` right after the call."""
    pool = ThreadPool(limit=2)

    pool.grow(3)
    assert pool.num_processes == 5
    pool.shrink(9)
    assert pool.num_processes == 0

    def refuse(change: int) -> int:
        raise ValueError("too many")

    pool.on_resize = refuse
    with pytest.raises(ValueError, match="too many"):
        pool.grow()
    assert pool.num_processes == 0


def test_terminating_a_slot_asks_for_the_end_of_its_task_alone() -> None:
    """Point 6: the process id is the same for all threads, so a slot's number stands for it."""
    pool, gate = ThreadPool(limit=2), _Gate()
    asked: list[str] = []
    accepted: list[int] = []
    pool.on_terminate_job = asked.append

    def target(*_: Any) -> None:
        gate()

    jobs = [
        pool.on_apply(target, ("name", task), accept_callback=lambda pid, *_: accepted.append(pid))
        for task in ("first", "second")
    ]
    eventually(lambda: len(accepted) == 2)

    pool.terminate_job(sorted(accepted)[1])
    pool.terminate_job(999)

    assert asked == ["second"]
    gate.open.set()
    assert len(jobs) == 2


def test_a_job_is_done_when_everything_about_it_is_even_if_it_raised() -> None:
    pool = ThreadPool(limit=1)
    done: list[str] = []
    order: list[str] = []
    pool.on_job_done = lambda task_id: done.append(task_id) or order.append("done")  # type: ignore[func-returns-value]

    def raising(*_: Any) -> None:
        raise ValueError

    pool.on_apply(lambda *_: "value", ("n", "good"), callback=lambda *_: order.append("callback"))
    eventually(lambda: done == ["good"])
    pool.on_apply(raising, ("n", "bad"))

    eventually(lambda: done == ["good", "bad"])
    assert order[:2] == ["callback", "done"]


def _raw(**changes: Any) -> dict[str, Any]:
    headers = {"id": "t", "task": "x", "eta": "2030-01-01T00:00:00", "expires": "2020-01-01T00:00:00"}
    properties = {"body_encoding": "base64", "delivery_tag": "old", "delivery_info": {"priority": 3}}
    raw = {"body": "W10=", "content-type": "application/json", "content-encoding": "utf-8"}
    return {**raw, "headers": headers, "properties": properties, **changes}


def test_a_claims_message_is_due_and_knows_its_claim_and_queue() -> None:
    """Point 2: what waited in the store must not wait again in a timer of Celery. A retry keeps ``expires``."""
    message = ClaimChannel("pool_1", on_reject=lambda *_: None).message(_raw(), task_id="t")

    assert (message.headers["eta"], message.headers["expires"]) == (None, _raw()["headers"]["expires"])
    assert message.delivery_tag == "t"
    assert message.delivery_info["routing_key"] == "pool.pool_1"
    assert message.delivery_info["priority"] == 3
    assert json.loads(message.body) == []


def test_acknowledging_ends_nothing_and_rejecting_is_told() -> None:
    rejected: list[tuple[str, bool]] = []
    channel = ClaimChannel("pool_1", on_reject=lambda *found: rejected.append(found))

    channel.message(_raw(), task_id="a").ack()
    channel.message(_raw(), task_id="b").reject()
    channel.message(_raw(), task_id="c").requeue()

    assert rejected == [("b", False), ("c", True)]


def test_what_celery_cannot_record_of_a_task_that_left_is_no_failure_yet() -> None:
    pool = ThreadPool(limit=1)
    ended, failures = threading.Event(), []
    pool.on_job_failed = lambda task_id, failure: failures.append(failure)
    pool.on_job_done = lambda task_id: ended.set()

    def leave(*_: object) -> None:
        raise SystemExit(3)

    def away(info: object) -> None:
        raise ConnectionError("the backend is away")

    pool.on_apply(leave, ("task", "t"), {}, error_callback=away)

    assert ended.wait(30)
    assert failures == []
