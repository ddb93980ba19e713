"""Routing that explains itself and measures: what a task's record says, what a dry run leaves as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.routing.celery_app import make_app
from mahavishnu_pools.routing.chooser import Chooser, Wish
from mahavishnu_pools.routing.eligibility import PoolFilter
from mahavishnu_pools.routing.submission import Sender, pack, send
from mahavishnu_pools.schemas.pool import PoolSelector, PoolStatus
from mahavishnu_pools.schemas.routing import Routing
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import leases
from mahavishnu_pools.store.pools import change_pool
from mahavishnu_pools.store.steps import run_steps_sync
from tests.fakes.worker import FakeNode
from tests.fixtures.command_line import Cli
from tests.store.world import World

#: Bytes of a record's explanation that nothing may exceed.
BOUND = 10_000


def submit(world: World, count: int = 1, **wish: Any) -> list[str]:
    chooser, sender = Chooser(default=PoolSelector.LEAST_LOADED), Sender("c", 100_000)
    parcels = run_steps_sync(world.store, pack(chooser, sender, [{"prompt": "x"}] * count))
    sent = run_steps_sync(world.store, send(chooser, sender, parcels, Wish(**wish)))
    return [one.task_id for one in sent]


def routing(world: World, task_id: str) -> Routing:
    found = world.task(task_id).routing
    assert found is not None
    return found


def took(world: World, pool: str, bucket: int, count: int = 10) -> None:
    """Have so many prompts of a pool been counted with a run time of this bucket."""
    world.redis.hincrby(world.key("figures", pool), f"t\nprompt\ncompleted\n{bucket}", count)


def test_a_record_says_who_was_a_candidate_with_which_load_and_why_others_were_not(world: World) -> None:
    busy, free = world.pool("busy", workers=2), world.pool("free")
    world.pool("paused", status=PoolStatus.PAUSED)
    world.to(busy, 3)

    (task_id,) = submit(world, explain=True)

    found = routing(world, task_id)
    assert (found.strategy, found.pool_id, found.more) == ("least_loaded", free, 0)
    assert {one.name: one.load for one in found.candidates} == {"busy": 1.5, "free": 0}
    assert found.left_out == {"paused": "it is paused"}
    assert world.task(submit(world)[0]).routing is None
    assert not world.redis.hexists(world.key("task", submit(world)[0]), "routing")


@pytest.mark.parametrize("selector", ["least_loaded", "round_robin", "random", "affinity", "fastest", "cheapest"])
def test_each_task_of_a_batch_is_explained_as_it_was_placed(world: World, selector: str) -> None:
    pools = [world.pool(f"p{n}") for n in range(3)]
    affinity = "key" if selector == "affinity" else None

    ids = submit(world, 6, selector=selector, affinity=affinity, explain=True)

    for task_id in ids:
        found = routing(world, task_id)
        assert (found.strategy, found.pool_id) == (selector, world.task(task_id).pool_id)
        assert {one.pool_id for one in found.candidates} == set(pools)
    if selector in ("least_loaded", "fastest", "cheapest"):
        assert {world.read_pool(pool).queued for pool in pools} == {2}


def test_an_explanation_is_bounded_and_names_the_chosen_pool_however_many_there_are(world: World) -> None:
    for n in range(60):
        pool = world.pool(f"pool-with-a-long-name-{n:02}")
        if n % 2:
            world.run(change_pool(pool, status=PoolStatus.PAUSED, reason="r" * 5000))

    (task_id,) = submit(world, selector="round_robin", explain=True)

    found = routing(world, task_id)
    assert len(world.redis.hget(world.key("task", task_id), "routing")) < BOUND
    assert found.pool_id in {one.pool_id for one in found.candidates}
    assert (len(found.left_out), len(found.candidates) + len(found.left_out) + found.more) == (20, 60)
    assert max(map(len, found.left_out.values())) <= 160


def test_the_fastest_pool_gets_tasks_until_its_queue_makes_it_slower(world: World) -> None:
    quick, slow = world.pool("quick"), world.pool("slow")
    took(world, quick, 4)  # 0.1 to 0.5 s
    took(world, slow, 6)  # 1 to 2.5 s

    ids = submit(world, 12, selector="fastest", explain=True)

    assert (world.read_pool(quick).queued, world.read_pool(slow).queued) == (11, 1)
    seconds = {one.name: one.seconds for one in routing(world, ids[0]).candidates}
    assert seconds == {"quick": 0.3, "slow": 1.75}
    assert world.redis.hget(world.key("figures", quick), "r\nfastest") == "11"


def test_the_cheapest_pool_is_the_one_whose_runs_have_cost_least(world: World) -> None:
    dear, cheap = world.pool("dear"), world.pool("cheap")
    for pool, usd in ((dear, 0.5), (cheap, 0.1)):
        world.to(pool)
        lease = world.lease(pool)
        (claim,) = world.claim(lease, pool)
        told = json.dumps({"type": "prompt", "usage": {"input": 1, "output": 1, "usd": usd}})
        held = world.held(lease, pool, claim)
        ended = leases.finish(held, status="completed", outcome="{}", meta="", result_ttl=60, told=told)
        assert world.run(ended) == "ok"

    ids = submit(world, 5, selector="cheapest", explain=True)

    assert {world.task(task_id).pool_id for task_id in ids} == {cheap}
    assert {one.name: one.usd for one in routing(world, ids[0]).candidates} == {"dear": 0.5, "cheap": 0.1}


def test_a_pool_that_was_closed_meanwhile_is_not_chosen_from_old_knowledge(world: World) -> None:
    first, second = world.pool("first"), world.pool("second")
    chooser, sender = Chooser(default=PoolSelector.LEAST_LOADED), Sender("c", 100_000)
    took(world, first, 1)
    took(world, second, 9)
    parcels = run_steps_sync(world.store, pack(chooser, sender, [{"prompt": "x"}]))
    world.run(change_pool(first, status=PoolStatus.PAUSED))

    (sent,) = run_steps_sync(world.store, send(chooser, sender, parcels, Wish(selector="fastest")))

    assert sent.pool_id == second


async def test_a_dry_run_tells_what_would_be_chosen_and_changes_nothing(
    manager: PoolManager, node: FakeNode, world: World
) -> None:
    a = await manager.spawn_pool("mahavishnu", name="a", worker_type="terminal-claude")
    b = await manager.spawn_pool("mahavishnu", name="b", worker_type="terminal-claude", tags=["x"])

    def state() -> dict[str, Any]:
        return {key: world.redis.zrange(world.key(key), 0, -1, withscores=True) for key in ("load", "turns")}

    before = state()
    turn = await manager.explain_route({"prompt": "x"}, pool_selector="round_robin")
    keyed = await manager.explain_route({"prompt": "x", "affinity": "k"})
    anybody = await manager.explain_route({"prompt": "x"}, pool_selector="random")
    strict = await manager.explain_route({"prompt": "x"}, pool="b")

    assert (state(), world.redis.exists(world.key("affinity", "k"))) == (before, 0)
    assert await manager.tasks() == []
    sent = await manager.submit({"prompt": "x"}, pool_selector="round_robin", explain=True)
    assert sent.pool_id == turn.pool_id
    assert (await manager.submit({"prompt": "x", "affinity": "k"})).pool_id == keyed.pool_id
    assert (anybody.pool_id, {one.pool_id for one in anybody.candidates}) == (None, {a, b})
    assert (strict.strategy, [one.name for one in strict.candidates], strict.left_out) == ("pool", ["b"], {})
    with pytest.raises(errors.UnknownChoice):
        await manager.explain_route({"prompt": "x"}, pool_selector="best")
    with pytest.raises(errors.NoPoolAvailable, match="a: its region"):
        await manager.explain_route({"prompt": "x"}, filters=PoolFilter(region="mars"))


def test_people_ask_why_and_how_it_would_be(cli: Cli, pool: str) -> None:
    work = ("--prompt", "echo hi", "--worker-type", "shell", "--selector", "fastest")

    told = cli.json("pools", "route", *work, "--explain")
    planned = cli.json("pools", "route", *work, "--dry-run")

    assert (told["output"], told["routing"]["strategy"], told["routing"]["pool_id"]) == (
        "hi\n",
        "fastest",
        told["pool_id"],
    )
    assert pool in {one["name"] for one in planned["candidates"]}
    assert "Chosen by fastest: " in cli("pools", "task", told["task_id"])
    assert "Candidates" in cli("pools", "route", *work, "--dry-run")
    assert cli.json("pools", "route", *work)["routing"] is None
    cli("pools", "route", "--prompt", "x", "--selector", "best", code=2)
    assert "fastest" in cli.err


async def test_an_mcp_client_asks_why(server: str) -> None:
    async with McpClient(server) as client:
        found = await client.call("pool_route_execute", {"prompt": "x", "pool_selector": "cheapest", "explain": True})
        wrong = await client.call("pool_route_execute", {"prompt": "x", "pool_selector": "best"})

    assert (found.value["routing"]["strategy"], found.value["routing"]["pool_id"]) == (
        "cheapest",
        found.value["pool_id"],
    )
    assert (wrong.failed, "fastest" in wrong.text) == (True, True)


def test_plain_celery_calls_choose_by_what_was_measured(world: World, settings: Settings) -> None:
    quick, slow = world.pool("quick"), world.pool("slow")
    took(world, quick, 4)
    took(world, slow, 9)
    assert settings.redis_url is not None
    app = make_app(settings, settings.redis_url.get_secret_value())

    app.tasks["mahavishnu.run_task"].apply_async([{"prompt": "x"}], pool_selector="fastest")

    assert (world.read_pool(quick).queued, world.read_pool(slow).queued) == (1, 0)
    app.close()
