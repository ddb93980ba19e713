"""The tasks around one in its graph: which they are and what they are now, also when they have ended."""

from __future__ import annotations

from mahavishnu_pools.schemas.dependency import Relatives
from mahavishnu_pools.store import dependencies
from tests.store.world import RESULT_TTL, World


def around(world: World, task_id: str) -> Relatives | None:
    return world.run(dependencies.read_relatives(task_id))


def release(world: World) -> None:
    while not world.run(dependencies.release("r", result_ttl=RESULT_TTL)).idle:
        pass


def test_in_a_batch_both_sides_are_known_also_when_all_have_ended(world: World) -> None:
    pool = world.pool()
    (first,) = world.submit(batch="b", name="first")
    (second,) = world.submit(batch="b", name="second", after=[first])
    (third,) = world.submit(batch="b", after=[second])
    (alone,) = world.submit(batch="b")

    lease = world.lease(pool)
    for claim in world.claim(lease, pool, 5):
        world.run(world.finish_call(world.held(lease, pool, claim), status="failed"))
    release(world)

    found = around(world, second)
    assert found is not None
    assert [(one.task_id, one.name, one.status) for one in found.parents] == [(first, "first", "failed")]
    assert [(one.task_id, one.name, one.status) for one in found.children] == [(third, None, "cancelled")]
    assert (found.parents_total, found.more_children) == (1, False)
    assert around(world, alone) is None
    assert around(world, "task_nobody") is None


def test_without_a_batch_those_are_known_that_still_wait_and_of_gone_ones_how_they_ended(world: World) -> None:
    pool = world.pool()
    first, second = world.to(pool, 2)
    (child,) = world.to(pool, after=[first, second], on_parent_failure="run")
    before = around(world, first)
    assert before is not None
    assert [(one.task_id, one.status) for one in before.children] == [(child, "waiting")]

    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    world.run(world.finish_call(world.held(lease, pool, claim)))
    release(world)
    world.redis.delete(world.key("task", claim.task_id))

    found = around(world, child)
    assert found is not None
    assert [(one.task_id, one.status) for one in found.parents] == [(second, "queued"), (first, "completed")]


def test_of_very_many_some_are_told_with_how_many_there_are(world: World) -> None:
    pool = world.pool()
    many = dependencies.RELATIVES_MOST + 5
    parents = world.to(pool, many)
    (middle,) = world.to(pool, after=parents)
    world.to(pool, many, after=[middle])

    found = around(world, middle)

    assert found is not None
    assert (len(found.parents), found.parents_total) == (dependencies.RELATIVES_MOST, many)
    assert (len(found.children), found.more_children) == (dependencies.RELATIVES_MOST, True)
