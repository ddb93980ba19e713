"""Scheduled work: sent once for each planned time, whoever looks, dies or comes back; seen and changed by people."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.embedded.private import PrivateStack
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.routing.chooser import Chooser
from mahavishnu_pools.routing.submission import Sender
from mahavishnu_pools.routing.task_input import task_spec
from mahavishnu_pools.schedules.sending import Way, send_due
from mahavishnu_pools.schemas.pool import PoolSelector, PoolStatus
from mahavishnu_pools.schemas.schedule import Schedule
from mahavishnu_pools.store import keys, schedules
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.steps import Steps, run_steps_sync
from tests.fakes.worker import FakeNode
from tests.fixtures.command_line import Cli
from tests.store.world import World
from tests.waiting import eventually

MADE = datetime(2026, 1, 1, tzinfo=UTC)


def way() -> Way:
    return Way(Chooser(default=PoolSelector.LEAST_LOADED), Sender("beat", 1_000_000))


def look(world: World) -> int:
    return run_steps_sync(world.store, send_due(way()))


def add(world: World, name: str = "s", *, late: float = 1.0, **fields: Any) -> float:
    """Make a schedule that has been due since so many seconds; returns its planned time."""
    planned = time.time() - late
    given = {"name": name, "created_at": planned - 3600, "every": 3600.0, "task": {"prompt": "x"}, **fields}
    world.run(schedules.add_schedule(Schedule.model_validate(given), next_at=planned))
    return planned


def outcomes(world: World, name: str = "s") -> list[str]:
    return [run.outcome for run in world.run(schedules.read_runs(name))]


def test_a_planned_time_is_sent_once_and_its_outcome_gets_into_the_history(world: World) -> None:
    pool = world.pool("p")
    planned = add(world)

    assert (look(world), look(world)) == (1, 0)

    (run,) = world.run(schedules.read_runs("s"))
    assert (run.pool_id, run.by, run.missed, run.outcome) == (pool, "beat", 0, "queued")
    assert run.planned_at.timestamp() == pytest.approx(planned, abs=0.001)
    assert world.run(schedules.read_schedule("s")).next_at == pytest.approx(
        datetime.fromtimestamp(planned + 3600, UTC), abs=datetime.resolution * 1000
    )
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool, 10)
    assert claim.task_id == run.task_id
    world.run(world.finish_call(world.held(lease, pool, claim)))
    look(world)
    # The record expires one day, the history stays.
    world.redis.delete(world.key("task", claim.task_id))
    assert outcomes(world) == ["completed"]
    assert not world.redis.exists(world.key("schedule_open"))


def test_two_who_look_at_once_send_one_task(world: World) -> None:
    pool = world.pool("p")
    add(world)
    first, second = send_due(way()), send_due(way())
    seen = [world.run(next(first)), world.run(next(second))]

    sent = [finish(world, steps, look) for steps, look in zip((first, second), seen, strict=True)]

    assert sent == [1, 0]
    assert world.read_pool(pool).queued == 1
    assert len(outcomes(world)) == 1


def test_who_dies_between_sending_and_noting_is_followed_by_one_who_sends_nothing_new(world: World) -> None:
    pool = world.pool("p")
    add(world)
    steps = send_due(way())
    call = next(steps)
    while call.script != "schedule_note":
        call = steps.send(world.run(call))
    steps.close()
    assert (world.read_pool(pool).queued, outcomes(world)) == (1, [])

    look(world)

    assert (world.read_pool(pool).queued, outcomes(world)) == (1, ["queued"])


@pytest.mark.parametrize(("missed", "sent"), [("run", 1), ("skip", 0)])
def test_what_was_missed_is_made_up_for_once_or_not_at_all(world: World, missed: str, sent: int) -> None:
    pool = world.pool("p")
    add(world, late=10 * 3600 + 600, missed=missed)

    assert look(world) == sent

    (run,) = world.run(schedules.read_runs("s"))
    assert (run.outcome, run.missed) == (("queued", 10) if sent else ("missed", 11))
    assert world.read_pool(pool).queued == sent
    following = world.run(schedules.read_schedule("s")).next_at
    assert following is not None
    assert 0 < following.timestamp() - time.time() < 3600


def test_what_no_pool_can_take_is_refused_with_the_reason_and_the_next_time_is_tried(world: World) -> None:
    add(world, where={"pool": "gone"})

    assert look(world) == 0

    (run,) = world.run(schedules.read_runs("s"))
    assert run.outcome == "refused"
    assert "No pool has the id or name 'gone'" in str(run.reason)
    kinds = world.redis.xrange(world.key("events", "pools"))
    assert [fields["schedule"] for _, fields in kinds if fields["type"] == "schedule_refused"] == ["s"]
    assert look(world) == 0
    assert len(outcomes(world)) == 1


def test_a_schedule_that_cannot_be_sent_keeps_no_other_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = world.pool("p")
    for name in ("broken", "zone", "unreadable", "well"):
        add(world, name)
    broken = json.loads(world.redis.hget(world.key("schedule", "zone"), "definition") or "")
    broken |= {"every": None, "cron": "@daily", "timezone": "Mars/Olympus"}
    world.redis.hset(world.key("schedule", "zone"), "definition", json.dumps(broken))
    world.redis.hset(world.key("schedule", "unreadable"), "definition", '{"name": "unreadable"}')

    def raising(spec: Any) -> Any:
        if "schedule:broken:" in str(spec):
            raise RuntimeError("a task type of a plug-in")
        return task_spec(spec)

    monkeypatch.setattr("mahavishnu_pools.schedules.sending.task_spec", raising)

    assert look(world) == 1

    assert (outcomes(world, "broken"), outcomes(world, "zone")) == (["refused"], ["refused"])
    assert outcomes(world, "well") == ["queued"]
    assert world.read_pool(pool).queued == 1
    (run,) = world.run(schedules.read_runs("broken"))
    assert run.reason == "RuntimeError: a task type of a plug-in"
    assert world.run(schedules.read_schedule("broken")).next_at is not None


def test_a_paused_schedule_sends_nothing_and_waits_for_a_time_to_come_when_it_is_resumed(world: World) -> None:
    world.pool("p")
    add(world)

    world.run(schedules.set_status("s", "paused"))
    assert look(world) == 0
    world.run(schedules.set_status("s", "active", next_at=time.time() + 600))

    assert look(world) == 0
    assert outcomes(world) == []
    assert world.run(schedules.remove_schedule("s"))
    assert not world.run(schedules.remove_schedule("s"))
    left = [key for key in world.redis.scan_iter(world.key("schedule") + "*") if "schedule" in key]
    assert left == []


def test_the_history_holds_the_last_hundred_runs(world: World) -> None:
    world.pool("p", status=PoolStatus.PAUSED)
    add(world, where={"pool": "p"}, every=None, cron="@yearly")
    for n in range(103):
        world.redis.hset(world.key("schedule", "s"), "next", f"{time.time() - 30 + n / 100:.6f}")
        world.redis.zadd(world.key("schedules"), {"s": 0})
        assert look(world) == 1

    runs = world.run(schedules.read_runs("s"))

    assert len(runs) == 100
    assert all(newer.planned_at > older.planned_at for newer, older in pairwise(runs))


async def test_bad_schedules_are_refused_before_anything_is_made(manager: PoolManager, node: FakeNode) -> None:
    refused: list[tuple[str, dict[str, Any]]] = [
        ("cron", {"cron": "99 * * * *"}),
        ("cron", {}),
        ("cron", {"cron": "@daily", "every": 60}),
        ("every", {"every": 1}),
        ("timezone", {"cron": "@daily", "timezone": "Mars/Olympus"}),
        ("timezone", {"every": "1h", "timezone": "Europe/Vienna"}),
        ("missed", {"cron": "@daily", "missed": "maybe"}),
        ("idempotency_key", {"cron": "@daily", "task": {"prompt": "x", "idempotency_key": "k"}}),
        ("priority", {"cron": "@daily", "task": {"prompt": "x", "priority": 10}}),
        ("env.API_TOKEN", {"cron": "@daily", "task": {"prompt": "x", "env": {"API_TOKEN": "sk-0123456789abcdef"}}}),
        ("name", {"cron": "@daily", "name": "a b"}),
        ("pool_affinity", {"cron": "@daily", "pool_selector": "affinity"}),
    ]
    for field, given in refused:
        with pytest.raises(errors.InvalidField) as caught:
            await manager.add_schedule(**{"name": "s", "task": {"prompt": "x"}, **given})
        assert caught.value.field == field
    with pytest.raises(errors.UnknownChoice):
        await manager.add_schedule("s", {"prompt": "x"}, cron="@daily", pool_selector="best")
    with pytest.raises(errors.PoolNotFound):
        await manager.add_schedule("s", {"prompt": "x"}, cron="@daily", pool="nobody")
    assert await manager.schedules() == []
    for verb in (manager.schedule, manager.pause_schedule, manager.run_schedule, manager.remove_schedule):
        with pytest.raises(errors.ScheduleNotFound):
            await verb("s")


@pytest.fixture
def stack_store(shared_stack: PrivateStack) -> Iterator[SyncStore]:
    store = SyncStore(shared_stack.redis_url)
    yield store
    store.close()


def test_people_schedule_a_command_and_beat_sends_it(cli: Cli, pool: str, stack_store: SyncStore) -> None:
    name = f"s-{pool}"
    when = ("--cron", "0 4 * * *", "--timezone", "Europe/Vienna", "--pool", pool)
    made = json.loads(cli("schedule", "add", name, *when, "--format", "json", "--", "shell", "pwd; exit 3"))
    assert (made["missed"], made["task"]["payload"]) == ("run", {"command": "pwd; exit 3", "shell": True})
    cli("schedule", "add", name, *when, "--", "prompt", "x", code=2)
    assert "exists already" in cli.err
    cli("schedule", "add", name, *when, "--every", "1h", "--", "prompt", "x", code=2)
    assert "--cron: excludes --every." in cli.err
    cli("schedule", "add", "neither", "--", "shell", "true", code=2)
    assert "--cron: is missing, and so is --every." in cli.err
    # Its time comes now rather than at four.
    stack_store.redis.hset(keys.key("schedule", prefix="", of=name), "next", f"{time.time():.6f}")
    stack_store.redis.zadd(keys.key("schedules", prefix=""), {name: time.time()})

    def runs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = cli.json("schedule", "show", name)["runs"]
        return found

    (run,) = eventually(runs, until=lambda found: found and found[0]["outcome"] == "failed", within=40)
    assert cli.json("pools", "task", run["task_id"])["exit_code"] == 3
    assert cli.json("schedule", "pause", name)["status"] == "paused"
    assert run["pool_name"] == pool
    by_hand = cli.json("schedule", "run", name)
    assert by_hand["pool_name"] == pool
    assert (by_hand["by"], by_hand["task_id"] != run["task_id"]) == ("hand", True)
    assert cli.json("schedule", "resume", name)["next_at"] == made["next_at"]
    assert name in [one["name"] for one in cli.json("schedule", "list")["schedules"]]
    shown = cli("schedule", "show", name)
    assert "0 4 * * * (Europe/Vienna)" in shown
    assert run["pool_id"] not in shown
    assert cli.json("schedule", "remove", name) == {"name": name, "removed": True}
    assert cli.json("schedule", "show", name, code=3)["error"]["code"] == "schedule_not_found"


async def test_an_mcp_client_schedules_and_sends(server: str, manager: PoolManager) -> None:
    async with McpClient(server) as client:
        made = await client.call("schedule_add", {"name": "m", "every": "1h", "prompt": "x", "pool_id": "local"})
        sent = await client.call("schedule_change", {"name": "m", "action": "run"})
        shown = await client.call("schedule_show", {"name": "m"})
        listed = await client.call("schedule_list", {})
        gone = await client.call("schedule_change", {"name": "m", "action": "remove"})

    assert made.value["every"] == 3600
    assert (sent.value["status"], shown.value["runs"][0]["task_id"]) == ("active", sent.value["task_id"])
    assert (listed.value["total"], gone.value["status"]) == (1, "removed")
    assert (await manager.task(sent.value["task_id"])).task_id == sent.value["task_id"]


def finish(world: World, steps: Steps[int], reply: Any) -> int:
    """Carry out the rest of a plan whose first call was answered."""
    try:
        while True:
            reply = world.run(steps.send(reply))
    except StopIteration as done:
        sent: int = done.value
        return sent
