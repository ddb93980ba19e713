"""A worker type that is not logged in on a node rests there, and nowhere else."""

from __future__ import annotations

import json
import time

import pytest

from mahavishnu_pools.store import limits
from mahavishnu_pools.store.pools import GroupInfo, NodeInfo, node_beat
from mahavishnu_pools.store.steps import run_steps_sync
from tests.store.test_limits import ask, journal, make_pool, run_one
from tests.store.world import World

LOGGED_OUT = {"cool": {"worker": "claude", "why": "claude reports: Not logged in", "here": True}}


def test_prompts_of_every_pool_wait_on_that_node_and_start_on_others(world: World) -> None:
    a, b = make_pool(world, "a"), make_pool(world, "b")
    run_one(world, a, LOGGED_OUT)
    world.to(a)
    here, there = world.to(b), world.to(b)

    other = world.lease(b, node="other")
    assert [one.task_id for one in ask(world, b, other, most=1, worker_type="claude").claims] == here
    held_back = ask(world, b, world.lease(b), worker_type="claude")

    assert (held_back.claims, held_back.more) == ((), False)
    assert held_back.due_in is not None
    assert 25 < held_back.due_in <= 30
    assert world.places([b])[there[0]] == 1


def test_what_another_node_can_run_stays_in_the_queue_for_it(world: World) -> None:
    pool = make_pool(world, replicas=2)
    group = GroupInfo(node="other", status="ready", workers=1, worker_type="claude")
    node = NodeInfo(name="other", pid=1, started=1.0, programs=("claude",))
    world.run(node_beat(node, {pool: group}, ttl=60))
    run_one(world, pool, LOGGED_OUT)
    ids = world.to(pool, 2)

    here = ask(world, pool, world.lease(pool), worker_type="claude")
    other = ask(world, pool, world.lease(pool, node="other"), worker_type="claude")

    assert (here.claims, here.more) == ((), False)
    assert here.due_in is not None
    assert [one.task_id for one in other.claims] == ids


@pytest.mark.parametrize(("before", "taken"), [(3, True), (60, False)])
def test_what_is_behind_it_starts_here_all_the_same(world: World, before: int, taken: bool) -> None:
    pool = make_pool(world, replicas=2)
    group = GroupInfo(node="other", status="ready", workers=1, worker_type="claude")
    node = NodeInfo(name="other", pid=1, started=1.0, programs=("claude",))
    world.run(node_beat(node, {pool: group}, ttl=60))
    run_one(world, pool, LOGGED_OUT)
    prompts = world.to(pool, before)
    [command] = world.to(pool, task_type="command", prompt=None, payload={"command": "true"})
    prompts += world.to(pool, 2)

    here = ask(world, pool, world.lease(pool), worker_type="claude")
    other = ask(world, pool, world.lease(pool, node="other"), worker_type="claude", most=before + 3)

    assert ([one.task_id for one in here.claims], here.more) == ([command] * taken, False)
    assert here.due_in is not None
    behind = prompts[before:] if taken else [command, *prompts[before:]]
    assert [one.task_id for one in other.claims] == [*prompts[:before], *behind]


def test_it_is_seen_with_its_node_ended_and_noted(world: World) -> None:
    pool = make_pool(world, "a")
    run_one(world, pool, LOGGED_OUT)
    ids = world.to(pool, 2)
    lease = world.lease(pool)
    ask(world, pool, lease, worker_type="claude")

    [resting] = world.run(limits.read_limits()).cool_downs
    assert (resting.worker_type, resting.node, resting.because) == ("claude", "n", "claude reports: Not logged in")
    assert run_steps_sync(world.store, limits.end_everywhere(resting, [pool])) == 2

    assert [one.task_id for one in ask(world, pool, lease, worker_type="claude").claims] == ids
    begun, ended = journal(world, "cool_down*")
    assert (begun.details["node"], ended.details["node"]) == ("n", "n")
    assert (ended.details["worker_type"], ended.details["reason"]) == ("claude", "there may be a login now")


def test_it_grows_when_the_next_prompt_finds_no_login_either(world: World) -> None:
    pool = make_pool(world)
    run_one(world, pool, LOGGED_OUT)
    key = world.key("cooldowns")
    entry = json.loads(world.redis.hget(key, "claude\nn") or "")
    world.redis.hset(key, "claude\nn", json.dumps({**entry, "ends": round(time.time() - 1, 3)}))

    assert world.run(limits.note_cooled_down()) == ["claude"]
    run_one(world, pool, LOGGED_OUT)

    assert json.loads(world.redis.hget(key, "claude\nn") or "")["length"] == 60


def test_it_is_forgotten_when_the_next_one_would_not_be_longer(world: World) -> None:
    run_one(world, make_pool(world), LOGGED_OUT)
    key = world.key("cooldowns")
    entry = json.loads(world.redis.hget(key, "claude\nn") or "")
    world.redis.hset(key, "claude\nn", json.dumps({**entry, "ends": round(time.time() - 31, 3)}))

    assert world.run(limits.note_cooled_down()) == ["claude"]
    assert world.run(limits.note_cooled_down()) == []

    assert world.redis.hlen(key) == 0


@pytest.mark.parametrize(
    "config",
    [
        {"pool_type": "session-buddy"},
        {"pool_type": "mahavishnu-remote"},
        {"pool_type": "kubernetes", "kubernetes": {"container_image": "x", "mode": "job"}},
    ],
)
def test_a_login_somewhere_else_is_not_this_nodes(world: World, config: dict[str, object]) -> None:
    run_one(world, make_pool(world, **config), LOGGED_OUT)

    assert world.run(limits.read_limits()).cool_downs == ()
