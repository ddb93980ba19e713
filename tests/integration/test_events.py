"""The journal of events: what happened is in it, in order, filtered, followed, bounded, and kept over restarts."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import EventCollector, errors
from mahavishnu_pools.cli.events import event_list
from mahavishnu_pools.cli.formats.interface import Table
from mahavishnu_pools.pools.journal import EventFilter, coming
from mahavishnu_pools.schemas.event import Event
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import leases, pools
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.events import note_event, note_lost_node, order, read_older
from tests.fixtures.command_line import Cli
from tests.fixtures.valkey import PrivateValkey
from tests.store.world import World

SEED_EVENT = {
    "type": "pool_task_completed",
    "pool_id": "pool_1",
    "task_id": "t",
    "duration": 5.23,
    "status": "completed",
}


@pytest.fixture
def collector(settings: Settings) -> EventCollector:
    return EventCollector(settings=settings)


async def seen(collector: EventCollector, **which: Any) -> list[Event]:
    async with collector:
        return await collector.events(**which)


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


async def test_what_a_program_tells_is_kept_as_it_was_told(collector: EventCollector) -> None:
    async with collector:
        event_id = await collector.collect_event(SEED_EVENT)
        (event,) = await collector.events()

    assert event.event_id == event_id
    assert (event.type, event.pool_id, event.task_id) == ("pool_task_completed", "pool_1", "t")
    assert event.details == {"duration": 5.23, "status": "completed"}
    assert abs((datetime.now(UTC) - event.at).total_seconds()) < 60


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"type": ""},
        {"type": "two words"},
        {"type": 7},
        {"type": "x", "pool_id": 3},
        {"type": "x", "what": object()},
        {"type": "x", "what": float("nan")},
        {"type": "x", "what": "y" * 9000},
    ],
)
async def test_what_cannot_be_kept_is_refused_before_anything_is_noted(
    collector: EventCollector, wrong: dict[str, Any]
) -> None:
    async with collector:
        with pytest.raises(errors.InvalidField):
            await collector.collect_event(wrong)
        assert await collector.events() == []


async def test_the_life_of_a_pool_and_its_tasks_is_in_the_journal_in_order(
    world: World, collector: EventCollector
) -> None:
    pool = world.pool("a")
    world.run(pools.change_pool(pool, workers=3))
    done, again = world.to(pool, 2)
    lease = world.lease(pool)
    first, second = world.claim(lease, pool, 2)
    world.run(world.finish_call(world.held(lease, pool, first)))
    world.run(leases.retry(world.held(lease, pool, second), outcome="{}", delay=0))
    world.claim(lease, pool)
    world.reap(lease, cause="kill")
    world.run(pools.change_pool(pool, status=PoolStatus.STOPPED))
    while world.run(pools.empty_pool(pool, reason="closed", result_ttl=60)):
        continue
    assert world.run(pools.remove_pool(pool)) is None

    found = await seen(collector)

    # Pools and tasks are kept apart, so what happens within one millisecond may change places.
    pool_events = ["pool_created", "pool_status", "pool_scaled", "group_lost", "pool_status", "pool_closed"]
    assert [kind for kind in types(found) if not kind.startswith("task_")] == pool_events
    assert [kind for kind in types(found) if kind.startswith("task_")] == [
        "task_completed",
        "task_retried",
        "task_cancelled",
    ]
    assert {event.pool for event in found} == {"a"}
    assert [event.task_id for event in found if event.task_id] == [done, again, again]
    assert found[2].details == {"before": 1, "after": 3, "by": "hand"}
    [lost] = [event for event in found if event.type == "group_lost"]
    assert lost.details["cause"] == "kill"


async def test_nodes_and_groups_tell_when_they_come_change_and_go(world: World, collector: EventCollector) -> None:
    pool = world.pool("a")
    node = pools.NodeInfo(name="n", pid=1, started=1.0)
    for status in ("starting", "ready", "ready"):
        group = pools.GroupInfo(node="n", status=status, workers=2)
        world.run(pools.node_beat(node, {pool: group}, ttl=60))
    world.run(pools.node_leave("n"))

    found = await seen(collector, types=("node_*", "group_*"))

    assert types(found) == ["node_joined", "group_status", "group_status", "node_left"]
    assert [event.details["status"] for event in found[1:3]] == ["starting", "ready"]


async def test_events_are_found_by_pool_type_time_and_number(world: World, collector: EventCollector) -> None:
    a, b = world.pool("a"), world.pool("b")
    world.finished(a, 3)
    world.finished(b, 2)

    async with collector:
        of_b = await collector.events(pool="b", types=("task_*",))
        newest = await collector.events(limit=3)
        all_of_a = await collector.events(pool=a)
        later = await collector.events(since=of_b[0].at)

    assert [event.pool_id for event in of_b] == [b, b]
    assert [event.task_id for event in newest[-2:]] == [event.task_id for event in of_b]
    assert len(all_of_a) == 5
    assert set(types(later)) >= {"task_completed"}


async def test_more_events_than_one_reading_takes_are_read_in_pieces(world: World, collector: EventCollector) -> None:
    rare, busy = world.pool("rare"), world.pool("busy")
    (wanted,) = world.finished(rare, 1)
    world.finished(busy, 1100)

    async with collector:
        (event,) = await collector.events(pool="rare", types=("task_completed",))
        many = await collector.events(types=("task_completed",), limit=2000)

    assert event.task_id == wanted
    assert len(many) == 1101


async def test_followers_get_what_comes_once_and_in_order(world: World, collector: EventCollector) -> None:
    pool = world.pool("a")
    found: list[Event] = []

    async with collector:
        following = collector.follow(types=("task_*",))
        first = asyncio.ensure_future(anext(following))
        # The first look decides where it begins: tasks are run until it has seen one.
        ids: list[str] = []
        while not first.done():
            ids.extend(await asyncio.to_thread(world.finished, pool, 1))
            await asyncio.wait({first}, timeout=0.05)
        found.append(first.result())
        rest = ids[ids.index(str(found[0].task_id)) + 1 :] + await asyncio.to_thread(world.finished, pool, 700)
        async with asyncio.timeout(60):
            while len(found) < 1 + len(rest):
                found.append(await anext(following))
        await following.aclose()

    assert [event.task_id for event in found[1:]] == rest


def test_a_node_that_falls_silent_is_noted_once_until_it_beats_again(world: World) -> None:
    node = pools.NodeInfo(name="n7", pid=1, started=1.0, tags=("gpu",))
    for _ in range(2):
        world.run(pools.node_beat(node, {}, ttl=60))
        assert not world.run(note_lost_node("n7"))
        world.redis.delete(world.key("node", "n7"))
        assert [world.run(note_lost_node("n7")) for _ in range(3)] == [True, False, False]

    found = [(one.type, one.details["node"]) for one in world.run(read_older("pools"))]
    assert found == [("node_lost", "n7"), ("node_joined", "n7")] * 2
    assert world.run(pools.list_nodes()) == [node.model_copy(update={"alive": False})]
    assert not world.run(note_lost_node("unknown"))


async def test_followers_that_are_far_behind_get_all_kinds_in_order(world: World, settings: Settings) -> None:
    world.finished(world.pool("a"), 1200)
    last = world.pool("b")
    store = AsyncStore.from_settings(settings, str(settings.redis_url.get_secret_value()))
    found: list[Event] = []

    following = coming(store, EventFilter(), after=[])
    async with asyncio.timeout(60):
        while not found or (found[-1].pool_id, found[-1].type) != (last, "pool_status"):
            found.append(await anext(following))
    await following.aclose()
    await store.close()

    assert types(found).count("task_completed") == 1200
    assert found == sorted(found, key=order)


async def test_a_repeated_request_notes_an_event_once(world: World, collector: EventCollector) -> None:
    call = note_event("x", {"n": 1})

    assert world.run(call) == world.run(call)
    assert len(await seen(collector)) == 1


async def test_the_journal_survives_a_killed_server(own_valkey_server: PrivateValkey) -> None:
    world = World(own_valkey_server.url, "")
    world.redis.config_set("appendfsync", "always")
    world.finished(world.pool("a"), 2)
    before = await seen(EventCollector(redis_url=own_valkey_server.url))

    own_valkey_server.kill()
    own_valkey_server.start()

    after = await seen(EventCollector(redis_url=own_valkey_server.url))
    world.store.close()
    assert after == before
    assert types(after).count("task_completed") == 2


def test_the_journal_is_bounded(world: World) -> None:
    key = world.key("events", "tasks")
    with world.redis.pipeline(transaction=False) as pipe:
        for n in range(100_500):
            pipe.xadd(key, {"type": "task_completed", "pool": "p", "name": "a", "task": str(n)})
        pipe.execute()

    world.finished(world.pool("a"), 1)

    assert world.redis.xlen(key) < 100_200


def test_events_on_the_command_line_are_a_table_or_json(cli: Cli, pool: str) -> None:
    cli("pools", "execute", "--pool", pool, "--task-type", "shell", "--payload", '{"command": "true"}')

    table = cli("pools", "events", "--pool", pool)
    found = cli.json("pools", "events", "--pool", pool, "--type", "task_*")

    assert "pool_created" in table
    assert "group_status" in table
    assert [event["type"] for event in found["events"]] == ["task_completed"]
    assert found["events"][0]["details"]["task_type"] == "shell"


def test_without_a_stack_the_collector_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAHAVISHNU_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("MAHAVISHNU_REDIS_URL", raising=False)

    with pytest.raises(errors.StackNotRunning):
        asyncio.run(EventCollector().collect_event(json.loads(json.dumps(SEED_EVENT))))


def test_people_see_the_time_a_cool_down_ends_and_programs_the_number() -> None:
    at = datetime(2026, 7, 1, 12, 30, 45, tzinfo=UTC)
    about = {"worker_type": "claude", "ends": at.timestamp() + 0.5}
    event = Event(event_id="pools:1-0", at=at, type="cool_down", pool_id=None, pool="a", task_id=None, details=about)
    told = event.model_copy(update={"event_id": "programs:1-0"})

    [table] = event_list([event, told]).blocks

    assert isinstance(table, Table)
    assert [row[-1] for row in table.rows] == [
        f"worker_type=claude, ends={at.astimezone():%H:%M:%S}",
        f"worker_type=claude, ends={at.timestamp() + 0.5}",
    ]
    assert event_list([event]).data["events"][0]["details"] == about
