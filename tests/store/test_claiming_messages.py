"""Messages as others leave them in a queue: copies, large ones, expired members of a group."""

from __future__ import annotations

import json
import secrets

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.store import leases
from tests.store.world import World


@pytest.fixture
def pool(world: World) -> str:
    return world.pool("p")


@pytest.fixture
def lease(world: World, pool: str) -> str:
    return world.lease(pool)


def test_a_copy_of_a_message_that_is_being_run_is_dropped(world: World, pool: str, lease: str) -> None:
    """A producer that repeats its publish after a lost reply leaves two."""
    text = world.stock_message(task_id := names.new_task_id())
    world.push_raw(pool, text)
    world.push_raw(pool, text)

    first = world.claim(lease, pool, 5)
    again = world.claim(world.lease(pool), pool, 5)

    assert [one.task_id for one in first] == [task_id]
    assert again == []
    world.run(world.finish_call(world.held(lease, pool, first[0])))
    assert (world.read_pool(pool).running, world.read_pool(pool).queued) == (0, 0)
    assert world.index_is_true()


def test_a_message_whose_run_was_handed_back_is_no_copy(world: World, pool: str, lease: str) -> None:
    (task_id,) = world.to(pool)
    (claim,) = world.claim(lease, pool)

    world.run(leases.hand_back(world.held(lease, pool, claim)))

    assert [one.task_id for one in world.claim(world.lease(pool), pool)] == [task_id]


def test_large_messages_are_claimed_a_few_at_a_time(world: World, pool: str, lease: str) -> None:
    for _ in range(8):
        message = json.loads(world.stock_message(names.new_task_id()))
        message["headers"]["argsrepr"] = secrets.token_hex(512 * 1024)
        world.push_raw(pool, json.dumps(message))

    first = world.run(world.claim_call(lease, pool, 100))
    second = world.run(world.claim_call(lease, pool, 100))

    assert first is not None
    assert second is not None
    assert (len(first.claims), first.more) == (4, True)
    assert len(second.claims) == 4


def test_an_expired_member_of_a_group_is_left_to_celery_which_tells_the_chord(
    world: World, pool: str, lease: str
) -> None:
    past = "2020-01-01T00:00:00+00:00"
    alone, member = names.new_task_id(), names.new_task_id()
    world.push_raw(pool, world.stock_message(alone, expires=past))
    world.push_raw(pool, world.stock_message(member, expires=past, group="g"))

    claims = world.claim(lease, pool, 5)

    assert [one.task_id for one in claims] == [member]
    assert world.task(alone).status == "cancelled"
