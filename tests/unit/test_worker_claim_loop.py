"""The claim loop on a real server, with stand-ins for what runs the claims."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from mahavishnu_pools.store import leases, pools, tasks
from mahavishnu_pools.store.calls import script
from tests.fixtures.proxies import Proxy
from tests.store.world import World
from tests.unit.looping import Looping, Make, making
from tests.waiting import eventually
from workers import claim_loop, claim_request
from workers.bell import Bell
from workers.claims import Running
from workers.lease import Lease


@pytest.fixture
def make(world: World) -> Iterator[Make]:
    with making(world) as make:
        yield make


def test_it_claims_no_more_than_there_are_free_workers_and_more_when_one_is_free(world: World, make: Make) -> None:
    looping = make(slots=2)
    sent = world.to(looping.pool_id, 5)
    looping.loop.start()

    first = looping.wait(2)
    assert [running.held.task_id for running in first] == sent[:2]
    assert world.read_pool(looping.pool_id).queued == 3
    looping.finish(first[0])

    assert looping.wait(3)[2].held.task_id == sent[2]
    assert world.task(sent[0]).ok


def test_work_that_was_rung_for_is_seen_at_once(world: World, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point 3: far sooner than the loop would look by itself, which it does not do here any more."""
    monkeypatch.setattr("workers.claim_request.LOOK", 3600.0)
    looping = make()
    looping.loop.start()
    assert looping.loop.wait_ready(30)

    world.to(looping.pool_id)

    eventually(lambda: looping.started)


def with_a_short_task(world: World, make: Make) -> tuple[Looping, Running]:
    """Return a loop of two workers, one of which has begun a task that looks as if it ended in a moment."""
    looping = make(slots=2)
    looping.read_ahead(0, soon=True)
    looping.loop.start()
    world.to(looping.pool_id)
    (first,) = looping.wait(1)
    looping.loop.begin(first)
    return looping, first


def test_what_is_rung_for_while_a_short_task_runs_is_claimed_with_its_end(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((claim_loop, "REST"), (claim_request, "TICK"), (claim_request, "LOOK")):
        monkeypatch.setattr(module, name, 600.0)
    looping, first = with_a_short_task(world, make)

    world.to(looping.pool_id)
    eventually(lambda: looping.loop._claiming.requests.rung)
    assert len(looping.started) == 1
    looping.finish(first)

    looping.wait(2)


def test_what_is_rung_for_while_a_task_runs_is_claimed_soon_although_that_does_not_end(
    world: World, make: Make
) -> None:
    looping, _ = with_a_short_task(world, make)

    world.to(looping.pool_id)

    looping.wait(2)


def test_a_cancel_reaches_a_claim_even_while_the_group_drains(world: World, make: Make) -> None:
    looping = make()
    [task_id] = world.to(looping.pool_id)
    looping.loop.start()
    [running] = looping.wait(1)
    looping.begin()
    looping.loop.stop_claiming()

    world.run(tasks.cancel(task_id, reason="Enough.", result_ttl=60))

    eventually(lambda: running.cancellation.requested)
    assert running.reason == "It was cancelled."
    world.to(looping.pool_id)
    looping.finish(running)
    eventually(lambda: looping.verdicts == ["ok"])
    assert len(looping.started) == 1


def test_it_tells_what_the_pool_wants(world: World, make: Make) -> None:
    looping = make(slots=2)
    looping.loop.start()
    assert looping.loop.wait_ready(30)

    world.run(pools.change_pool(looping.pool_id, workers=7))

    eventually(lambda: looping.wanted[-1], until=lambda found: found == ("running", 7))


def test_a_paused_pool_is_not_claimed_from_until_it_is_resumed(world: World, make: Make) -> None:
    looping = make()
    world.run(pools.change_pool(looping.pool_id, status="paused"))
    looping.loop.start()
    assert looping.loop.wait_ready(30)
    world.to(looping.pool_id)
    eventually(lambda: looping.wanted[-1][0] == "paused")
    assert looping.started == []

    world.run(pools.change_pool(looping.pool_id, status="running"))

    looping.wait(1)


def test_a_lost_lease_is_told(world: World, make: Make) -> None:
    looping = make()
    looping.loop.start()
    assert looping.loop.wait_ready(30)

    world.reap(looping.lease)
    looping.loop.ring()

    assert looping.lost.wait(30)


def test_only_the_first_end_of_a_claim_counts(world: World, make: Make) -> None:
    looping = make()
    [task_id] = world.to(looping.pool_id)
    looping.loop.start()
    [running] = looping.wait(1)

    looping.finish(running)
    looping.loop.end(running.held, leases.hand_back(running.held))

    eventually(lambda: looping.verdicts == ["ok"])
    assert world.task(task_id).ok
    assert len(looping.table) == 0


def test_ends_and_claims_whose_replies_were_lost_are_repeated_without_a_second_effect(
    world: World, make_proxy: type[Proxy], make: Make
) -> None:
    """Point 1."""
    address, _, port = world.store.url.rpartition("/")[0].rpartition(":")
    proxy = make_proxy(int(port))
    looping = make(slots=3, url=f"{address}:{proxy.port}/0")
    world.to(looping.pool_id, 6)
    proxy.lose(script("claim").sha.encode(), times=2)
    looping.loop.start()
    for running in looping.wait(3):
        proxy.lose(script("finish").sha.encode(), times=1)
        looping.finish(running)

    assert len({running.held.task_id for running in looping.wait(6)}) == 6
    assert world.read_pool(looping.pool_id).counts["completed"] == 3
    assert world.read_pool(looping.pool_id).running == 3
    assert set(looping.verdicts) <= {"ok", "again"}


def test_it_ticks_while_nothing_happens(make: Make) -> None:
    looping = make()
    looping.loop.start()

    eventually(lambda: looping.ticks >= 3, within=30)


def test_stopping_sends_what_is_finished(world: World, make: Make) -> None:
    looping = make()
    [task_id] = world.to(looping.pool_id)
    looping.loop.start()
    [running] = looping.wait(1)

    looping.finish(running)
    looping.loop.stop(timeout=30)

    assert world.task(task_id).ok


@pytest.mark.parametrize("stopped", [True, False])
def test_a_bell_whose_client_is_closed_in_the_midst_of_its_wait_ends_quietly(stopped: bool) -> None:
    def closed(*_: Any, **__: Any) -> None:
        if stopped:
            bell.stop()
        raise TypeError("argument must be an int, or have a fileno() method.")

    store: Any = SimpleNamespace(prefix="", redis=SimpleNamespace(xread=closed))
    bell = Bell(store, "pool", ring=lambda: None)

    with nullcontext() if stopped else pytest.raises(TypeError):
        bell._listen()


def test_a_bell_that_rings_after_the_stop_asks_for_nothing(world: World, make: Make) -> None:
    """Closing the lease rings; an answer to who asked then would say that it was lost."""
    looping = make()
    looping.loop.start()
    assert looping.loop.wait_ready(30)
    looping.loop.stop(timeout=5)

    world.reap(looping.lease, cause="node")

    eventually(lambda: not looping.loop._bell._thread.is_alive(), within=30)
    assert not looping.lost.is_set()


@pytest.mark.parametrize("whose", ["bell", "claim-loop"])
def test_a_group_in_which_a_step_broke_ticks_no_more_so_that_it_is_replaced(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda raised: None)
    looping, broke = make(), threading.Event()
    looping.loop.start()
    assert looping.loop.wait_ready(30)

    def deliver(running: Running) -> bool:
        if threading.current_thread().name != whose:
            looping.loop.end(running.held, leases.hand_back(running.held))
            return True
        broke.set()
        raise ValueError("unforeseen")

    looping.deliver = deliver
    if whose == "bell":
        world.to(looping.pool_id)
    else:
        looping.loop._bell.stop()
        eventually(lambda: world.to(looping.pool_id) and broke.is_set(), within=30)

    broken = {"bell": looping.loop._bell._thread, "claim-loop": looping.loop._thread}[whose]
    eventually(lambda: not broken.is_alive() and not looping.loop._thread.is_alive(), within=30)
    looping.table.clear()


def test_a_lease_of_its_own_is_refreshed_until_it_is_reaped(world: World) -> None:
    pool_id = world.pool("p")
    lease, lost = Lease(world.store, "l1", pool_id=pool_id, node="n", ttl=0.4), threading.Event()
    lease.open()
    key = world.key("lease", "l1")
    world.redis.pexpire(key, 60)
    lease.keep_alive(lost.set)
    eventually(lambda: world.redis.pttl(key) > 250)

    world.reap("l1")

    assert lost.wait(30)


def test_a_closed_lease_hands_back_what_was_held(world: World) -> None:
    pool_id = world.pool("p")
    lease = Lease(world.store, "l1", pool_id=pool_id, node="n", ttl=60)
    lease.open()
    [task_id] = world.to(pool_id)
    world.claim("l1", pool_id)

    lease.close(result_ttl=60, within=5)

    assert world.task(task_id).status == "queued"
    assert world.run(leases.list_leases()) == []


def test_a_loop_whose_stop_nobody_waits_for_any_more_ends_although_redis_is_away(
    world: World, make: Make, make_proxy: Callable[[int], Proxy]
) -> None:
    address, _, port = world.store.url.rpartition("/")[0].rpartition(":")
    proxy = make_proxy(int(port))
    looping = make(url=f"{address}:{proxy.port}/0")
    world.to(looping.pool_id)
    looping.loop.start()
    [running] = looping.wait(1)
    proxy.close()

    looping.finish(running)
    looping.loop.stop(timeout=0.1)

    eventually(lambda: not looping.loop._thread.is_alive())
