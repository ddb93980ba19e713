"""Tasks that need something of their node start when it is free there, and in a fair order."""

from __future__ import annotations

import json

import pytest

from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.store import approvals, dead, leases, moves, pools, tasks
from tests.store.inspection import Check
from tests.store.nodes import Node, leftovers
from tests.store.world import RESULT_TTL, World


@pytest.fixture
def pool(world: World) -> str:
    return world.pool("p")


def test_a_task_starts_when_what_it_needs_is_free_and_not_before(world: World, pool: str) -> None:
    node = Node(world, "n", [pool], gpu=2, memory=8)
    group = node.group(pool)
    first, second, third = world.to(pool, 3, needs=["gpu=1", "memory=3"])

    assert group.claim(9) == [first, second]
    assert node.used() == {"gpu": 2, "memory": 6}
    assert group.claim(9) == []
    group.finish(first)
    assert group.claim(9) == [third]
    assert group.held[third].got == group.held[second].got.replace('["1"]', '["0"]')
    for one in (second, third):
        group.finish(one)
    assert node.used() == {}


def test_a_smaller_task_passes_one_that_does_not_fit(world: World, pool: str) -> None:
    group = Node(world, "n", [pool], gpu=2).group(pool)
    small = world.to(pool, needs=["gpu=1"])
    big = world.to(pool, needs=["gpu=2"])
    others = [*world.to(pool, needs=["gpu=1"]), *world.to(pool)]

    assert group.claim(9) == small + others
    assert group.claim(9) == []
    assert world.read_pool(pool).queued == 1
    for one in (*small, *others):
        group.finish(one)
    assert group.claim(9) == big


def test_tasks_of_equal_needs_keep_their_order_also_those_that_are_handed_back(world: World, pool: str) -> None:
    group = Node(world, "n", [pool], gpu=1).group(pool)
    ids = world.to(pool, 4, needs=["gpu=1"])
    assert group.claim(9) == ids[:1]
    assert group.claim(9) == []

    world.run(leases.hand_back(group.holder(ids[0]), result_ttl=RESULT_TTL))

    order = []
    while claimed := group.claim(9):
        order += claimed
        group.finish(claimed[0])
    assert order == ids


def test_a_higher_priority_comes_first_among_those_that_wait(world: World, pool: str) -> None:
    group = Node(world, "n", [pool], gpu=1).group(pool)
    (running,) = world.to(pool, needs=["gpu=1"])
    low = world.to(pool, needs=["gpu=1"], priority=1)
    assert group.claim(9) == [running]
    high = world.to(pool, needs=["gpu=1"], priority=8)
    assert group.claim(9) == []

    group.finish(running)

    assert group.claim(9) == high
    group.finish(high[0])
    assert group.claim(9) == low


@pytest.mark.parametrize("cause", ["loss", "kill", "node"])
def test_what_a_dead_group_had_is_free_again(world: World, pool: str, cause: str) -> None:
    node = Node(world, "n", [pool], gpu=1)
    group = node.group(pool)
    ids = world.to(pool, 2, needs=["gpu=1"])
    assert group.claim(9) == ids[:1]

    group.die(cause)

    assert node.used() == {}
    assert node.group(pool).claim(9) == ids[:1]


def test_a_retry_frees_what_the_task_had_until_its_next_attempt(world: World, pool: str) -> None:
    node = Node(world, "n", [pool], gpu=1)
    group = node.group(pool)
    (task_id,) = world.to(pool, needs=["gpu=1"])
    assert group.claim() == [task_id]

    world.run(leases.retry(group.holder(task_id), outcome="{}", delay=0.0))

    assert node.used() == {}
    assert group.claim() == [task_id]
    assert node.used() == {"gpu": 1}


def test_what_is_freed_rings_the_other_pools_of_the_node(world: World) -> None:
    first, second = world.pool("a"), world.pool("b")
    node = Node(world, "n", [first, second], gpu=1)
    one, other = node.group(first), node.group(second)
    (running,) = world.to(first, needs=["gpu=1"])
    (waiting,) = world.to(second, needs=["gpu=1"])
    assert (one.claim(), other.claim()) == ([running], [])
    bell = world.redis.xrevrange(world.key("bell", second), count=1)

    one.finish(running)

    assert world.redis.xrevrange(world.key("bell", second), count=1) != bell
    assert other.claim() == [waiting]


def test_tags_and_amounts_are_looked_for_on_the_node_that_claims(world: World, pool: str) -> None:
    small, big = Node(world, "s", [pool], memory=4), Node(world, "b", [pool], memory=64, tags=("fast",))
    (tagged,) = world.to(pool, needs=["fast"])
    (large,) = world.to(pool, needs=["memory=32"])

    assert small.group(pool).claim(9) == []
    assert world.task(large).waits_for == (
        "memory=32B (b: it has that free, but keeps it for one that waits longer, or no worker is free; "
        "s: memory: 32 B asked, it has 4 B)"
    )
    assert sorted(big.group(pool).claim(9)) == sorted([tagged, large])


def test_a_task_that_was_overtaken_for_long_gets_what_becomes_free(world: World, pool: str) -> None:
    node = Node(world, "n", [pool], gpu=2, patience=0)
    group = node.group(pool)
    small = world.to(pool, 2, needs=["gpu=1"])
    assert group.claim(9) == small
    (big,) = world.to(pool, needs=["gpu=2"])
    assert group.claim(9) == []
    more = world.to(pool, 4, needs=["gpu=1"])
    unrelated = world.to(pool)

    assert group.claim(9) == unrelated
    group.finish(small[0])
    assert group.claim(9) == []
    group.finish(small[1])
    assert group.claim(9) == [big]
    group.finish(big)
    assert group.claim(9) == more[:2]


def test_a_node_keeps_nothing_for_a_task_that_was_cancelled(world: World, pool: str) -> None:
    node = Node(world, "n", [pool], gpu=2, patience=0)
    group = node.group(pool)
    (small,) = world.to(pool, needs=["gpu=1"])
    (big,) = world.to(pool, needs=["gpu=2"])
    for _ in range(2):
        group.claim(9)
    assert world.redis.exists(world.key("reserved", "n"))

    world.run(tasks.cancel(big, reason="no", result_ttl=RESULT_TTL))

    (other,) = world.to(pool, needs=["gpu=1"])
    assert group.claim(9) == [other]
    assert world.task(big).status == "cancelled"
    assert world.places([pool], [group.lease]) == {small: 1, other: 1}


def test_a_reservation_that_did_not_help_ends_and_others_have_their_turn(world: World, pool: str) -> None:
    node = Node(world, "n", [pool], gpu=2, patience=0)
    group = node.group(pool)
    world.to(pool, needs=["gpu=1"])
    (big,) = world.to(pool, needs=["gpu=2"])
    for _ in range(2):
        group.claim(9)
    lifetime = world.redis.pttl(world.key("reserved", "n"))
    assert 0 < lifetime <= 1_200_000

    held = json.loads(world.redis.get(world.key("reserved", "n")) or "")
    world.redis.set(world.key("reserved", "n"), json.dumps({**held, "ends": held["ends"] - 601}))
    (small,) = world.to(pool, needs=["gpu=1"])

    assert group.claim(9) == [small]
    assert world.task(big).status == "queued"


def test_a_suspect_waits_alone_for_what_it_needs_and_its_group_stays(world: World, pool: str) -> None:
    node = Node(world, "n", [pool], gpu=1)
    first = node.group(pool)
    (suspect,) = world.to(pool, needs=["gpu=1"])
    (beside,) = world.to(pool)
    first.claim(2)
    first.die("loss")
    (other,) = world.to(pool, needs=["gpu=1"])
    ordinary, alone = node.group(pool), node.group(pool)
    assert ordinary.claim(9) == [other]

    assert sorted([*alone.claim(1, alone=True), *alone.claim(1, alone=True)]) in ([], [beside])
    if beside in alone.held:
        alone.finish(beside)
    assert alone.claim(1, alone=True) == []
    assert alone.reply is not None
    assert alone.reply.due_in is not None
    ordinary.finish(other)
    assert ordinary.claim(9) == []
    assert alone.claim(1, alone=True) == [suspect]


def test_waiting_tasks_move_to_another_pool_and_wait_there(world: World, pool: str) -> None:
    target = world.pool("q")
    node = Node(world, "n", [pool, target], gpu=1)
    source, goal = node.group(pool), node.group(target)
    running, *waiting = world.to(pool, 4, needs=["gpu=1"])
    assert source.claim(9) == [running]
    assert source.claim(9) == []
    lots = world.run(moves.count_waiting(pool, "delayed")).lots
    assert lots[0] is not None

    order = moves.MoveOrder(pool, target, "delayed", -1, {lots[0]: 9})
    moved = world.run(moves.move(order, request="r"))

    assert moved.count == 3
    assert (goal.claim(9), source.claim(9)) == ([], [])
    source.finish(running)
    assert goal.claim(9) == waiting[:1]
    assert world.places([pool, target], [source.lease, goal.lease]) == dict.fromkeys(waiting, 1)


def test_one_whose_time_in_the_queue_is_over_is_cancelled_while_it_waits(world: World, pool: str) -> None:
    group = Node(world, "n", [pool], gpu=1).group(pool)
    world.to(pool, needs=["gpu=1"])
    (late,) = world.to(pool, needs=["gpu=1"], expires=600)
    group.claim(9)
    world.redis.hset(world.key("task", late), "expires_at", "1.0")

    assert group.claim(9) == []
    assert world.task(late).status == "cancelled"


def test_many_that_wait_for_the_same_do_not_hide_one_that_can_start(world: World, pool: str) -> None:
    group = Node(world, "n", [pool], gpu=1, memory=8).group(pool)
    ids = world.to(pool, 300, needs=["gpu=1"]) + world.to(pool, 300, needs=["gpu=1"])
    (other,) = world.to(pool, needs=["memory=1"])

    found = group.claim(9)
    while group.reply is not None and group.reply.more:
        found += group.claim(9)

    assert found == [ids[0], other]
    assert world.read_pool(pool).queued == 599


def test_needs_are_kept_while_a_task_awaits_approval_and_when_it_is_brought_to_life_again(
    world: World, pool: str
) -> None:
    node = Node(world, "n", [pool], gpu=1)
    group = node.group(pool)
    (first,) = world.to(pool, needs=["gpu=1"])
    (gated,) = world.to(pool, needs=["gpu=1"], approval="required")
    assert group.claim(9) == [first]
    assert world.task(gated).needs == ("gpu=1",)

    world.run(
        approvals.approve(gated, approvals.Word("ana", "", "r"), Choice("pool", pool=pool), result_ttl=RESULT_TTL)
    )
    assert group.claim(9) == []
    world.run(world.finish_call(group.holder(first), status="dead"))
    assert group.claim(9) == [gated]
    world.run(dead.replay_letters([first], pool_id=None, request="again"))

    assert group.claim(9) == []
    assert world.task(first).got is None
    group.finish(gated)
    assert group.claim(9) == [first]
    assert node.used() == {"gpu": 1}


def test_large_messages_that_wait_are_looked_at_a_few_at_a_time_and_do_not_keep_the_group_busy(
    world: World, pool: str
) -> None:
    group = Node(world, "n", [pool], gpu=1).group(pool)
    for number in range(60):
        world.to(pool, needs=[f"gpu={number + 2}"], prompt="x" * 80_000)

    for _ in range(4):
        assert group.claim(9) == []
    assert group.reply is not None
    assert not group.reply.more
    (small,) = world.to(pool, needs=["gpu=1"])
    assert group.claim(9) == [small]


def test_the_least_loaded_pool_that_has_room_is_preferred(world: World) -> None:
    full, free = world.pool("full", workers=10), world.pool("free", workers=4)
    nodes = Node(world, "a", [full], gpu=1), Node(world, "b", [free], gpu=5)
    world.to(full, needs=["gpu=1"])
    world.to(free, 2)
    nodes[0].group(full).claim(5)
    nodes[1].group(free).claim(5)
    (needs,) = {one.needs for one in world.envelopes(needs=["gpu=1"])}

    def chosen(count: int) -> list[str]:
        call = tasks.submit(world.envelopes(count, needs=["gpu=1"]), Choice("least_loaded", needs=needs))
        return [one.pool_id for one in world.run(call)]

    # Two workers of the fuller pool are idle; then none is, and the load alone decides.
    assert chosen(3) == [free, free, full]
    assert chosen(1) == [full]
    nodes[1].group(free).claim(5)
    world.run(pools.change_pool(free, status="degraded"))
    assert chosen(1) == [full]


async def test_a_check_has_nothing_to_say_of_what_waits(world: World, pool: str, look: Check) -> None:
    group = Node(world, "n", [pool], gpu=1).group(pool)
    world.to(pool, 3, needs=["gpu=1"])
    group.claim(9)
    group.claim(9)

    # One that lives would be asked how it is.
    world.run(pools.node_leave("n"))
    report = await look()

    assert [one.kind for one in report.findings] == ["no_agent"]


def test_tasks_without_needs_leave_nothing_behind_and_a_pool_that_is_done_neither(world: World, pool: str) -> None:
    group = Node(world, "n", [pool], gpu=1).group(pool)
    world.to(pool, 2)
    for one in group.claim(9):
        group.finish(one)
    assert leftovers(world) == []

    world.to(pool, 2, needs=["gpu=1"])
    while claimed := group.claim(9):
        group.finish(claimed[0])

    assert leftovers(world) == []
    assert world.redis.hget(world.key("pool", pool), "parked") is None


def test_a_node_that_has_more_than_before_has_choices_made_anew(world: World, pool: str) -> None:
    node = Node(world, "n", [pool], gpu=1)
    before = world.run(pools.registry_version())
    node.beat()
    assert world.run(pools.registry_version()) == before

    node.has["gpu"] = 2.0
    node.beat()

    assert world.run(pools.registry_version()) > before
