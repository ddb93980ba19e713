"""The event loop that bridges keep in a thread: calls, cancels, and an end that leaves nobody waiting."""

from __future__ import annotations

import asyncio
import multiprocessing.pool
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, wait

import pytest

from tests.waiting import eventually
from workers.executors.loop_thread import LoopThread, lasting

DEADLINE = 30.0


async def nothing() -> None:
    pass


async def forever() -> None:
    await asyncio.Event().wait()


async def seven() -> int:
    return 7


@pytest.fixture
def loop(request: pytest.FixtureRequest) -> Iterator[LoopThread]:
    name = f"loop of {request.node.name}"
    made = LoopThread(name)
    yield made
    made.close(nothing, within=DEADLINE)
    assert name not in [thread.name for thread in threading.enumerate()]


@pytest.fixture
def opened(loop: LoopThread) -> LoopThread:
    loop.start(nothing(), within=DEADLINE, late=None)
    return loop


def test_calls_of_many_threads_run_in_one_other_thread(opened: LoopThread) -> None:
    async def where() -> int:
        return threading.get_ident()

    with multiprocessing.pool.ThreadPool(4) as threads:
        seen = threads.map(lambda _: opened.call(where()).result(DEADLINE), range(40))

    assert len(set(seen)) == 1
    assert threading.get_ident() not in seen


def test_close_cancels_what_runs_and_only_then_awaits_the_last(opened: LoopThread) -> None:
    seen: list[str] = []

    async def tidy() -> None:
        try:
            await forever()
        finally:
            seen.append("cancelled")

    async def last() -> None:
        seen.append("last")

    running = [opened.call(tidy()) for _ in range(3)]
    opened.call(seven()).result(DEADLINE)  # by now they run
    opened.close(last, within=DEADLINE)

    assert all(one.cancelled() for one in running)
    assert seen == ["cancelled"] * 3 + ["last"]


def test_calls_that_are_begun_while_it_closes_end_with_the_rest(opened: LoopThread) -> None:
    def begin(_: int) -> list[Future[None]]:
        return [opened.call(forever()) for _ in range(500)]

    with multiprocessing.pool.ThreadPool(3) as threads:
        answer = threads.map_async(begin, range(3))
        opened.call(seven()).result(DEADLINE)
        opened.close(nothing, within=DEADLINE)
        begun = [one for part in answer.get(DEADLINE) for one in part]

    assert not wait(begun, DEADLINE).not_done
    assert all(one.cancelled() for one in begun)


def test_work_that_goes_on_while_it_is_cancelled_leaves_nobody_waiting(opened: LoopThread) -> None:
    async def stubborn() -> None:
        try:
            await forever()
        finally:
            left.append(opened_loop.create_task(forever()))

    async def known() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    left: list[asyncio.Task[None]] = []
    opened_loop = opened.call(known()).result(DEADLINE)
    opened.call(stubborn())
    opened.call(seven()).result(DEADLINE)
    opened.close(nothing, within=DEADLINE)

    assert [one.cancelled() for one in left] == [True]


def test_a_call_after_close_is_cancelled_at_once_and_a_callback_is_dropped(opened: LoopThread) -> None:
    opened.close(nothing, within=DEADLINE)

    after = opened.call(seven())
    opened.tell(lambda: pytest.fail("it was called"))

    assert after.cancelled()
    with pytest.raises(CancelledError):
        after.result(DEADLINE)


def test_a_second_close_only_waits_also_while_the_first_goes_on(opened: LoopThread) -> None:
    ends: list[int] = []

    async def last() -> None:
        ends.append(1)

    closing = [threading.Thread(target=lambda: opened.close(last, within=DEADLINE)) for _ in range(4)]
    for one in closing:
        one.start()
    for one in closing:
        one.join(DEADLINE)
    opened.close(last, within=DEADLINE)

    assert ends == [1]


def test_a_loop_that_was_never_started_can_be_closed(loop: LoopThread) -> None:
    loop.close(nothing, within=DEADLINE)

    assert loop.call(seven()).cancelled()


def test_a_worker_thread_cancels_its_call_and_no_other(opened: LoopThread) -> None:
    ended = threading.Event()

    async def tidy() -> None:
        try:
            await forever()
        finally:
            ended.set()

    mine, other = opened.call(tidy()), opened.call(forever())
    opened.call(seven()).result(DEADLINE)
    mine.cancel()

    assert ended.wait(DEADLINE)
    assert not other.done()


def test_a_callback_reaches_what_waits_in_the_loop(opened: LoopThread) -> None:
    asked = asyncio.Event()
    waiting = opened.call(asked.wait())

    opened.tell(asked.set)

    assert waiting.result(DEADLINE)


def test_what_a_call_or_a_callback_raises_does_not_end_the_loop(opened: LoopThread) -> None:
    async def wrong() -> None:
        raise ValueError("rubbish")

    opened.tell(lambda: 1 // 0)
    with pytest.raises(ValueError, match="rubbish"):
        opened.call(wrong()).result(DEADLINE)

    assert opened.call(seven()).result(DEADLINE) == 7


def test_a_loop_that_somebody_ends_leaves_nobody_waiting(opened: LoopThread, caplog: pytest.LogCaptureFixture) -> None:
    async def leave() -> None:
        sys.exit(3)

    waiting = opened.call(forever())
    opened.call(leave())

    assert wait([waiting], DEADLINE).done
    assert waiting.cancelled()
    eventually(lambda: opened.call(seven()).cancelled(), within=DEADLINE)
    eventually(lambda: "was ended by a call" in caplog.text, within=DEADLINE)


def test_the_last_may_fail(opened: LoopThread, caplog: pytest.LogCaptureFixture) -> None:
    async def last() -> None:
        raise ValueError("rubbish")

    opened.close(last, within=DEADLINE)

    assert "failed" in caplog.text
    assert "rubbish" in caplog.text


def test_what_the_first_raises_comes_back_and_the_loop_can_be_closed(loop: LoopThread) -> None:
    async def first() -> None:
        raise ValueError("rubbish")

    with pytest.raises(ValueError, match="rubbish"):
        loop.start(first(), within=DEADLINE, late=None)


@pytest.mark.parametrize("late", [KeyError("late"), None])
def test_a_first_that_takes_long_goes_on(loop: LoopThread, late: Exception | None) -> None:
    going = threading.Event()

    async def first() -> None:
        going.set()
        await forever()

    if late is None:
        loop.start(first(), within=0.01, late=None)
    else:
        with pytest.raises(KeyError, match="late"):
            loop.start(first(), within=0.01, late=late)

    assert going.wait(DEADLINE)
    assert loop.call(seven()).result(DEADLINE) == 7


def in_fork(loop: LoopThread, *, opened: bool, told: object) -> None:
    if not opened:
        loop.start(nothing(), within=DEADLINE, late=None)
    future = loop.call(seven())
    loop.tell(lambda: None)
    told.put("cancelled" if future.cancelled() else future.result(DEADLINE))  # type: ignore[attr-defined]
    loop.close(nothing, within=DEADLINE)


@pytest.mark.parametrize("before", [False, True], ids=["opened after the fork", "opened before the fork"])
def test_a_fork_opens_a_loop_of_its_own_and_finds_that_of_its_parent_closed(loop: LoopThread, before: bool) -> None:
    if before:
        loop.start(nothing(), within=DEADLINE, late=None)
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    child = context.Process(target=in_fork, args=(loop,), kwargs={"opened": before, "told": told})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of a fork beside threads
        child.start()
    child.join(DEADLINE)

    assert child.exitcode == 0
    assert told.get() == ("cancelled" if before else 7)
    if before:
        assert loop.call(seven()).result(DEADLINE) == 7


def test_work_without_end_is_begun_again_after_what_nobody_thought_of(opened: LoopThread) -> None:
    begun = threading.Semaphore(0)

    async def work() -> None:
        begun.release()
        raise ValueError("rubbish")

    opened.call(lasting(work, pause=0.001))

    assert all(begun.acquire(timeout=DEADLINE) for _ in range(3))
