"""Whatever happens: no node has more in use than it has, nothing is lost, and all that can run runs."""

from __future__ import annotations

import random
import secrets

import pytest

from mahavishnu_pools.store import leases, moves, tasks
from tests.store.nodes import Group, Node
from tests.store.world import RESULT_TTL, World


@pytest.mark.parametrize("seed", range(4))
def test_never_more_is_in_use_than_there_is_whatever_happens(world: World, seed: int) -> None:
    dice = random.Random(seed)
    pool_ids = [world.pool(f"p{number}") for number in range(2)]
    nodes = [
        Node(world, "small", pool_ids, gpu=1, memory=8, patience=0),
        Node(world, "large", pool_ids, gpu=3, memory=32, cpu=2.5, patience=0, tags=("big",)),
    ]
    groups = [node.group(pool_id) for node in nodes for pool_id in pool_ids]
    texts = ["gpu=1", "gpu=3", "gpu=1 memory=5", "memory=20", "cpu=0.3", "big", "cpu=2.5 gpu=1", ""]
    wishes = [text.split() for text in texts]
    sent: list[str] = []
    for _ in range(80):
        _happen(world, dice, groups, sent, wishes)
        for node in nodes:
            node.used()
    suspects = [node.group(pool_id) for node in nodes for pool_id in pool_ids]
    for _ in range(400):
        for group in (*groups, *suspects):
            group.claim(5, alone=group in suspects)
            for one in list(group.held):
                group.finish(one)
        if not world.places(pool_ids, [group.lease for group in groups]):
            break
    assert {world.task(one).status.value for one in sent} <= {"completed", "cancelled", "dead"}
    assert all(node.used() == {} for node in nodes)
    assert world.index_is_true()


def _happen(world: World, dice: random.Random, groups: list[Group], sent: list[str], wishes: list[list[str]]) -> None:
    at = dice.randrange(len(groups))
    group = groups[at]
    mine = sorted(group.held)
    often, seldom = ["submit", "claim", "claim", "finish"], ["retry", "back", "die", "cancel", "move"]
    match dice.choice(often + often + seldom):
        case "submit":
            sent += world.to(group.pool_id, dice.randint(1, 3), needs=dice.choice(wishes), priority=dice.randint(4, 6))
        case "claim":
            group.claim(dice.randint(1, 4))
        case "finish" if mine:
            group.finish(dice.choice(mine))
        case "retry" if mine:
            world.run(leases.retry(group.holder(dice.choice(mine)), outcome="{}", delay=0.0))
        case "back" if mine:
            world.run(leases.hand_back(group.holder(dice.choice(mine)), result_ttl=RESULT_TTL))
        case "die":
            group.die(dice.choice(["node", "kill", "loss"]))
            groups[at] = group.node.group(group.pool_id)
        case "cancel" if sent:
            world.run(tasks.cancel(dice.choice(sent), reason="no", result_ttl=RESULT_TTL))
        case "move":
            _move(world, group.pool_id, groups[at - 1].pool_id, place=dice.choice(["delayed", "suspects"]))


def _move(world: World, source: str, target: str, *, place: str) -> None:
    quotas = {lot: 2 for lot in world.run(moves.count_waiting(source, place)).lots if lot is not None}
    if quotas and source != target:
        order = moves.MoveOrder(source, target, place, -1, quotas)
        world.run(moves.move(order, request=secrets.token_hex(4)))
