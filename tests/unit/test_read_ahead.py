"""Groups whose tasks are short claim a few more than they have workers for; nothing is held up by that."""

from __future__ import annotations

import json
import secrets
import threading
from base64 import b64encode
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mahavishnu_pools.names import RUN_TASK
from mahavishnu_pools.store import leases, pools, tasks
from tests.store.nodes import Node
from tests.store.world import World
from tests.unit.looping import Make, making
from tests.waiting import eventually
from workers.claims import Running
from workers.concurrency import SlotThreads
from workers.dispatching import Dispatcher


@pytest.fixture
def make(world: World) -> Iterator[Make]:
    with making(world) as make:
        yield make


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read ahead waits for as long as the test takes."""
    monkeypatch.setattr("workers.read_ahead.PATIENCE", 3600.0)


def test_the_round_trip_that_writes_an_end_is_no_part_of_what_a_task_takes(
    make: Make, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looping, order = make(slots=1), list[str]()
    step = looping.loop._exchange.step

    def seen_step() -> bool:
        if looping.loop._ended:
            order.append("sent")
        return step()

    monkeypatch.setattr(looping.loop._exchange, "step", seen_step)
    monkeypatch.setattr(looping.loop.ahead, "ran", lambda seconds: order.append(f"took {seconds}"))
    world.to(looping.pool_id)
    looping.loop.start()
    [running] = looping.wait(1)

    running.clock = cast(Any, SimpleNamespace(seconds=lambda: 0.5))
    looping.finish(running)

    eventually(lambda: "sent" in order)
    assert order[:2] == ["took 0.5", "sent"]


@pytest.mark.usefixtures("patient")
def test_short_tasks_are_claimed_ahead_and_begin_in_their_order(world: World, make: Make) -> None:
    looping = make(slots=2)
    looping.read_ahead(4)
    sent = world.to(looping.pool_id, 9)

    looping.loop.start()

    claims = looping.wait(6)
    assert [one.held.task_id for one in claims] == sent[:6]
    assert [one.ahead for one in claims] == [False] * 2 + [True] * 4
    assert [one.held.task_id for one in looping.begin()] == sent[:2]


def test_what_was_read_ahead_goes_back_to_its_place_when_no_worker_is_free_for_it(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.read_ahead.PATIENCE", 2.0)  # the first two have begun by then
    looping = make(slots=2)
    looping.read_ahead(4)
    sent = world.to(looping.pool_id, 9)
    looping.loop.start()
    looping.wait(6)

    looping.begin()  # and none of them ends

    eventually(lambda: world.read_pool(looping.pool_id).queued == 7)
    other = world.lease(looping.pool_id)
    again = world.claim(other, looping.pool_id, 7)
    assert [(one.task_id, one.attempt) for one in again] == [(one, 1) for one in sent[2:]]
    assert not any(looping.loop.begin(one) for one in looping.started[2:])


@pytest.mark.usefixtures("patient")
def test_a_pool_that_is_paused_begins_nothing_that_was_read_ahead(world: World, make: Make) -> None:
    looping = make(slots=1)
    looping.read_ahead(4)
    world.to(looping.pool_id, 3)
    looping.loop.start()
    looping.wait(3)
    looping.begin()

    world.run(pools.change_pool(looping.pool_id, status="paused"))

    eventually(lambda: world.read_pool(looping.pool_id).queued == 2)
    assert looping.begin() == []


@pytest.mark.usefixtures("patient")
def test_a_group_that_stops_hands_back_what_it_read_ahead_at_once(world: World, make: Make) -> None:
    looping = make(slots=1)
    looping.read_ahead(4)
    world.to(looping.pool_id, 3)
    looping.loop.start()
    [first, *_] = looping.wait(3)
    looping.begin()

    looping.loop.stop_claiming()

    eventually(lambda: len(looping.table) == 1)
    assert world.read_pool(looping.pool_id).queued == 2
    looping.finish(first)
    eventually(lambda: world.task(first.held.task_id).ok)


def test_what_a_worker_begins_while_it_is_about_to_go_back_is_its_own(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    looping = make(slots=1)
    [task_id] = world.to(looping.pool_id)
    looping.loop.start()
    [running] = looping.wait(1)

    def begun_meanwhile() -> list[Running]:
        looping.loop.begin(running)
        return [running]

    monkeypatch.setattr(looping.table, "not_begun", begun_meanwhile)
    looping.loop.stop_claiming()

    assert not running.ending
    looping.finish(running)
    ended = eventually(lambda: world.task(task_id), until=lambda task: task.done)
    assert (ended.ok, ended.attempts) == (True, 1)


@pytest.mark.usefixtures("patient")
def test_a_task_that_was_read_ahead_can_be_cancelled_before_it_begins(world: World, make: Make) -> None:
    looping = make(slots=1)
    looping.read_ahead(4)
    _, second = world.to(looping.pool_id, 2)
    looping.loop.start()
    claims = looping.wait(2)
    looping.begin()

    world.run(tasks.cancel(second, reason="Enough.", result_ttl=60))

    ended = eventually(lambda: world.task(second), until=lambda task: task.done)
    assert (ended.status, ended.attempts) == ("cancelled", 0)
    assert not looping.loop.begin(claims[1])


def test_tasks_that_celery_hands_over_have_nothing_before_them_that_came_later(world: World, make: Make) -> None:
    looping = make(slots=1)
    looping.direct = False
    looping.read_ahead(4)
    first, *others = world.to(looping.pool_id, 3)

    looping.loop.start()

    eventually(lambda: world.read_pool(looping.pool_id).queued == 2)
    assert [one.held.task_id for one in looping.started] == [first]
    assert world.read_pool(looping.pool_id).running == 1
    assert [world.task(one).status for one in others] == ["queued", "queued"]


def _followed(world: World, pool_id: str) -> str:
    """Put a task of ours on a queue that is part of a chord, as Celery does it, and return its id."""
    message = json.loads(world.stock_message("followed", task=RUN_TASK, group="g"))
    body = json.dumps([[{"prompt": "x"}], {}, {}])
    message["body"], message["properties"]["body_encoding"] = b64encode(body.encode()).decode(), "base64"
    world.push_raw(pool_id, json.dumps(message), bucket=4)
    return "followed"


def test_a_task_of_a_chord_is_not_overtaken_by_those_that_were_read_ahead_with_it(world: World, make: Make) -> None:
    looping, threads, gate = make(slots=1), SlotThreads(1), threading.Event()
    runner: Any = SimpleNamespace(received=lambda *_: None, run=lambda *_: gate.wait(30))
    context: Any = SimpleNamespace(may_run=lambda message: True, result_ttl=60.0)
    dispatcher = Dispatcher(context, looping.loop, runner=runner, celery=cast(Any, None))
    looping.deliver = lambda running: dispatcher.start(running, threads)
    looping.read_ahead(4)
    world.to(looping.pool_id)
    sent = [_followed(world, looping.pool_id), *world.to(looping.pool_id, 2)]

    looping.loop.start()

    eventually(lambda: (len(looping.started), world.read_pool(looping.pool_id).queued) == (2, 3))
    again = world.claim(world.lease(looping.pool_id), looping.pool_id, 3)
    assert [one.task_id for one in again] == sent
    gate.set()


def test_a_task_that_breaks_what_runs_it_is_given_up_and_keeps_no_worker(world: World, make: Make) -> None:
    looping, threads = make(slots=1), SlotThreads(1)

    def broken(*_: Any) -> None:
        raise ValueError("a header that nobody foresaw")

    runner: Any = SimpleNamespace(received=lambda *_: None, run=broken)
    context: Any = SimpleNamespace(may_run=lambda message: True, result_ttl=60.0)
    dispatcher = Dispatcher(context, looping.loop, runner=runner, celery=cast(Any, None))
    looping.deliver = lambda running: dispatcher.start(running, threads)
    sent = world.to(looping.pool_id, 2)

    looping.loop.start()

    eventually(lambda: [world.task(one).status for one in sent], until=lambda found: found == ["dead", "dead"])
    eventually(lambda: len(looping.table) == 0)


@pytest.mark.parametrize("kept", ["celery", "fails"])
def test_a_claim_reads_no_task_ahead_that_does_not_bear_it(world: World, kept: str) -> None:
    """Users' Celery tasks cannot be handed back, and a task that fails with its worker would without having begun."""
    pool_id = world.pool("p", workers=1)
    sent = world.to(pool_id, 3)
    if kept == "celery":
        world.push_raw(pool_id, world.stock_message("c1"), bucket=4)
    else:
        world.to(pool_id, on_worker_lost="fail")
    world.to(pool_id)
    lease = world.lease(pool_id)
    by = leases.Claimant(lease, pool_id, "w@n")

    found = world.run(leases.claim(by, most=5, free=1, request="r1", result_ttl=60))
    assert found is not None
    assert [one.task_id for one in found.claims] == sent
    assert found.more

    found = world.run(leases.claim(by, most=5, free=1, request="r2", result_ttl=60))
    assert found is not None
    assert len(found.claims) == 2


def test_a_rate_limit_lets_nothing_be_read_ahead(world: World) -> None:
    pool_id = world.pool("p", workers=1)
    world.redis.hset(world.key("pool", pool_id), "rate", "100")
    world.to(pool_id, 5)
    by = leases.Claimant(world.lease(pool_id), pool_id, "w@n")

    found = world.run(leases.claim(by, most=5, free=2, request="r1", result_ttl=60))

    assert found is not None
    assert len(found.claims) == 2
    assert found.more

    found = world.run(leases.claim(by, most=5, free=0, request="r2", result_ttl=60))
    assert found is not None
    assert (found.claims, found.more) == ((), True)  # or nobody would ask when a worker is free


def test_what_waits_for_its_resources_is_not_passed_over_when_it_can_start(world: World) -> None:
    """Groups that read ahead have hardly ever a free worker when they ask."""
    pool_id = world.pool("p", workers=1)
    group = Node(world, "n", [pool_id], gpu=1).group(pool_id)
    first, second = world.to(pool_id, 2, needs=["gpu=1"])
    assert group.claim(5) == [first]
    world.to(pool_id, 2)
    by = leases.Claimant(group.lease, pool_id, "w@n")

    def claim(free: int) -> leases.Claimed:
        found = world.run(leases.claim(by, most=3, free=free, request=secrets.token_hex(8), result_ttl=60))
        assert found is not None
        return found

    assert len(claim(free=0).claims) == 2
    group.finish(first)
    others = world.to(pool_id, 2)
    again = claim(free=0)
    assert (again.claims, again.more) == ((), True)
    assert [one.task_id for one in claim(free=1).claims] == [second, *others]


def test_periodic_work_is_not_read_ahead(world: World) -> None:
    pool_id = world.pool("p", workers=1)
    world.to(pool_id)
    world.redis.lpush(world.key("periodic"), world.stock_message("beat"))
    by = leases.Claimant(world.lease(pool_id), pool_id, "w@n")

    found = world.run(leases.claim(by, most=5, free=1, request="r1", result_ttl=60))

    assert found is not None
    assert len(found.claims) == 1
    assert world.redis.llen(world.key("periodic")) == 1


def test_no_more_threads_work_than_there_are_workers_however_much_waits() -> None:
    threads, gate = SlotThreads(2), threading.Event()
    entered, through = threading.Semaphore(0), threading.Semaphore(0)

    def work() -> None:
        entered.release()
        assert gate.wait(30)
        through.release()

    for _ in range(5):
        threads.submit(work)
    for _ in range(2):
        assert entered.acquire(timeout=30)
    assert (len(threads), entered.acquire(blocking=False)) == (2, False)
    threads.trim(1)
    gate.set()

    for _ in range(5):
        assert through.acquire(timeout=30)
    eventually(lambda: (len(threads), threads.busy), until=lambda found: found == (1, 0))
