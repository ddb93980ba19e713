"""Submitting and routing: what the scripts choose, and what they refuse."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.store import batches, pools, tasks
from mahavishnu_pools.store.client import AsyncStore, SyncStore
from tests.store.world import LEAST_LOADED, World


def targets(world: World, task_ids: list[str]) -> Counter[str]:
    found = world.run(tasks.read_tasks(task_ids))
    return Counter(str(one.pool_id) for one in found if one is not None)


async def go_on(steps: int) -> None:
    """Let the other coroutines take this many steps."""
    for _ in range(steps):
        await asyncio.sleep(0)


def test_least_loaded_from_four_producers_is_even(world: World) -> None:
    ids = [world.pool(f"p{i}") for i in range(3)]

    def produce(_: int) -> list[str]:
        with SyncStore(world.store.url, namespace=world.store.namespace) as store:
            calls = [tasks.submit(world.envelopes(5), LEAST_LOADED) for _ in range(15)]
            return [one.task_id for call in calls for one in store.run(call)]

    with ThreadPoolExecutor(4) as producers:
        sent = [task_id for some in producers.map(produce, range(4)) for task_id in some]

    assert targets(world, sent) == dict.fromkeys(ids, 100)
    assert world.index_is_true()


def test_load_counts_work_per_worker(world: World) -> None:
    small, big = world.pool("small", workers=1), world.pool("big", workers=4)

    sent = world.submit(50)

    assert targets(world, sent) == {small: 10, big: 40}


def test_idle_pools_take_turns_when_tasks_end_at_once(world: World) -> None:
    ids = [world.pool(f"p{i}") for i in range(3)]
    went = []
    for _ in range(9):
        (task_id,) = world.submit()
        pool_id = str(world.task(task_id).pool_id)
        lease = world.lease(pool_id)
        (claim,) = world.claim(lease, pool_id)
        world.run(world.finish_call(world.held(lease, pool_id, claim)))
        went.append(pool_id)

    assert went == ids * 3


def test_round_robin_ignores_load_and_goes_on_where_it_stopped(world: World) -> None:
    ids = [world.pool(f"p{i}") for i in range(4)]
    world.to(ids[0], 50)

    first = world.submit(6, choice=Choice("round_robin"))
    second = world.submit(6, choice=Choice("round_robin"))

    order = [world.task(task_id).pool_id for task_id in [*first, *second]]
    assert order == ids * 3


def test_random_chooses_anew_for_every_task_of_a_call(world: World) -> None:
    ids = [world.pool(f"p{i}") for i in range(3)]

    sent = world.submit(300, choice=Choice("random", random=0.4711))

    counts = targets(world, sent)
    assert set(counts) == set(ids)
    assert all(50 <= count <= 150 for count in counts.values())


@pytest.mark.parametrize("strategy", ["least_loaded", "round_robin", "random"])
def test_candidates_limit_the_choice(world: World, strategy: str) -> None:
    ids = [world.pool(f"p{i}") for i in range(4)]

    sent = world.submit(20, choice=Choice(strategy, candidates=(ids[1], ids[3]), random=0.3))

    assert set(targets(world, sent)) == {ids[1], ids[3]}


@pytest.mark.parametrize("strategy", ["least_loaded", "round_robin", "random", "affinity"])
def test_a_degraded_pool_is_the_last_resort(world: World, strategy: str) -> None:
    bad = world.pool("bad", status=PoolStatus.DEGRADED)
    good = world.pool("good")

    before = world.submit(10, choice=Choice(strategy, affinity="a"))
    world.run(pools.change_pool(good, status=PoolStatus.STOPPED))
    after = world.submit(10, choice=Choice(strategy, affinity="b"))

    assert targets(world, before) == {good: 10}
    assert targets(world, after) == {bad: 10}


@pytest.mark.parametrize("strategy", ["least_loaded", "round_robin", "random", "affinity"])
def test_without_an_active_pool_nothing_is_written(world: World, strategy: str) -> None:
    world.pool("paused", status=PoolStatus.PAUSED)
    envelopes = world.envelopes(2, idempotency_key="k")

    with pytest.raises(errors.NoPoolAvailable):
        world.run(tasks.submit(envelopes, Choice(strategy, affinity="a", candidates=()), batch="b"))

    assert world.run(tasks.read_tasks([one.task_id for one in envelopes])) == [None, None]
    assert world.run(batches.read_batch("b")) is None


def test_an_affinity_key_sticks_while_other_pools_come_and_go(world: World) -> None:
    ids = [world.pool(f"p{i}") for i in range(3)]
    keys = [f"key {i}" for i in range(9)]

    def place(key: str) -> str | None:
        return world.task(world.submit(choice=Choice("affinity", affinity=key))[0]).pool_id

    bound = {key: place(key) for key in keys}
    world.pool("new")
    moved = ids[0]
    while world.run(pools.empty_pool(moved, reason="gone", result_ttl=60)):
        pass
    assert world.run(pools.remove_pool(moved)) is None
    after = {key: place(key) for key in keys}

    assert Counter(bound.values()) == dict.fromkeys(ids, 3)
    assert {key for key in keys if after[key] != bound[key]} == {key for key in keys if bound[key] == moved}
    assert moved not in after.values()
    assert {key: place(key) for key in keys} == after


def test_a_bound_key_waits_for_its_paused_pool(world: World) -> None:
    world.pool("other")
    choice = Choice("affinity", affinity="k")
    home = str(world.task(world.submit(choice=choice)[0]).pool_id)

    world.run(pools.change_pool(home, status=PoolStatus.PAUSED))

    assert world.task(world.submit(choice=choice)[0]).pool_id == home


def test_a_task_its_bound_pool_cannot_run_does_not_move_the_key(world: World) -> None:
    ids = [world.pool(f"p{i}") for i in range(4)]
    home = str(world.task(world.submit(choice=Choice("affinity", affinity="k"))[0]).pool_id)
    others = tuple(one for one in ids if one != home)

    elsewhere = world.submit(5, choice=Choice("affinity", affinity="k", candidates=others, keep=others))
    back = world.submit(choice=Choice("affinity", affinity="k"))

    assert len(targets(world, elsewhere)) == 1
    assert home not in targets(world, elsewhere)
    assert world.task(back[0]).pool_id == home


def test_an_affinity_key_that_named_a_closed_pool_is_refused(world: World) -> None:
    world.pool("alive")
    closed = world.pool("closed")
    world.run(pools.remove_pool(closed))

    for key in (closed, "closed"):
        with pytest.raises(errors.PoolGone):
            world.submit(choice=Choice("affinity", affinity=key))


def test_a_choice_from_an_older_registry_is_refused(world: World) -> None:
    world.pool("a")
    version = world.run(pools.registry_version())
    world.pool("b")

    for call in (
        tasks.submit(world.envelopes(), Choice("random", version=version)),
        tasks.route(Choice("random", version=version)),
    ):
        with pytest.raises(tasks.StaleRegistry):
            world.run(call)


def test_a_named_pool_must_live(world: World) -> None:
    stopped = world.pool("stopped", status=PoolStatus.STOPPED)
    gone = world.pool("gone")
    world.run(pools.remove_pool(gone))

    with pytest.raises(errors.PoolNotFound):
        world.to("pool_000000000000")
    with pytest.raises(errors.PoolGone):
        world.to(gone)
    with pytest.raises(errors.InvalidField, match="stopped"):
        world.to(stopped)


def test_one_closed_target_refuses_the_whole_call(world: World) -> None:
    good, bad = world.pool("good"), world.pool("bad", status=PoolStatus.DRAINING)

    with pytest.raises(errors.InvalidField):
        world.run(tasks.submit(world.envelopes(2), Choice("pool", targets=(good, bad))))

    assert not world.places([good, bad])


@pytest.mark.parametrize("strategy", ["least_loaded", "round_robin", "random", "affinity"])
def test_submitting_again_changes_nothing(world: World, strategy: str) -> None:
    ids = [world.pool(f"p{i}") for i in range(3)]
    call = tasks.submit(world.envelopes(10), Choice(strategy, affinity="k", random=0.5), batch="b")

    first = world.run(call)
    loads = world.loads()
    again = world.run(call)

    assert [(one.task_id, one.pool_id) for one in again] == [(one.task_id, one.pool_id) for one in first]
    assert not any(one.new for one in again)
    assert set(world.places(ids).values()) == {1}
    assert world.loads() == loads
    batch = world.run(batches.read_batch("b"))
    assert batch is not None
    assert (batch.total, len(batch.task_ids)) == (10, 10)


def test_an_idempotency_key_finds_the_task_it_made(world: World) -> None:
    pool = world.pool("p")
    first = world.submit(idempotency_key="one")

    (again,) = world.run(tasks.submit(world.envelopes(idempotency_key="one"), LEAST_LOADED))

    assert (again.task_id, again.new) == (first[0], False)
    assert world.places([pool]) == {first[0]: 1}


def test_route_counts_its_choice_until_the_message_is_there(world: World) -> None:
    ids = [world.pool(f"p{i}") for i in range(3)]

    went = [world.run(tasks.route(LEAST_LOADED)) for _ in range(6)]

    assert went == ids * 2


def test_messages_say_which_queue_they_are_in(world: World) -> None:
    pool = world.pool("p")
    world.to(pool)
    lease = world.lease(pool)

    (claim,) = world.claim(lease, pool)

    assert f'"routing_key":"pool.{pool}"' in claim.message


def test_registering_a_pool_again_finds_it(world: World) -> None:
    first = world.pool("same")

    found = world.run(pools.create_pool("pool_" + secrets.token_hex(6), world.read_pool("same").config))

    assert found is not None
    assert found[0] == first


def test_a_removed_pool_leaves_no_key(world: World) -> None:
    pool = world.pool("p")
    world.to(pool, 2)
    lease = world.lease(pool)
    world.claim(lease, pool, 1)
    assert world.run(pools.remove_pool(pool)) is not None

    world.reap(lease)
    while world.run(pools.empty_pool(pool, reason="it was closed", result_ttl=60)):
        pass
    assert world.run(pools.remove_pool(pool)) is None

    left = [
        key
        for key in world.redis.scan_iter(world.store.prefix + "*", count=1000)
        if pool in key and ":gone:" not in key
    ]
    assert left == []


def test_a_cancelled_task_never_runs(world: World) -> None:
    pool = world.pool("p")
    first, second = world.to(pool, 2)

    assert world.run(tasks.cancel(first, reason="no", result_ttl=60)) == "cancelled"
    assert world.run(tasks.cancel(first, reason="no", result_ttl=60)) == "cancelled"
    lease = world.lease(pool)
    claimed = [claim.task_id for claim in world.claim(lease, pool, 5)]

    assert claimed == [second]
    assert world.task(first).status is TaskStatus.CANCELLED


async def test_a_cancellation_that_comes_with_the_answer_is_not_lost(world: World) -> None:
    """Cancel at many moments: whichever step of the client it meets, the caller ends."""
    async with AsyncStore(world.store.url, namespace=world.store.namespace) as store:
        await store.run(pools.registry_version())

        async def ask_for_ever(asked: list[int]) -> None:
            while True:
                asked.append(await store.run(pools.registry_version()))

        for steps in range(60):
            asked: list[int] = []
            task = asyncio.create_task(ask_for_ever(asked))
            await go_on(steps)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=5)
            task.cancel()

            assert done, f"not cancelled at step {steps}"
