"""Search over the memories of all pools: this machine's index, what servers add, and the command line."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mahavishnu_pools.cli.main import run
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.memory.aggregator import MemoryAggregator
from mahavishnu_pools.memory.index import Filters, MemoryIndex
from mahavishnu_pools.memory.search import catch_up, search_all
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.outbox import START, read_outbox
from tests.fakes.list_sink import ListSink
from tests.fixtures.valkey import PrivateValkey
from tests.store.world import World

NOBODY = {"session_buddy_pool_url": "http://127.0.0.1:9/mcp", "akosha_url": "http://127.0.0.1:9/mcp"}


@pytest_asyncio.fixture
async def store(redis_url: str, namespace: str) -> AsyncIterator[AsyncStore]:
    async with AsyncStore(redis_url, namespace=namespace) as found:
        yield found


@pytest.fixture
def index(tmp_path: Path) -> MemoryIndex:
    return MemoryIndex(tmp_path / "index.db")


async def test_the_index_takes_what_is_new(world: World, store: AsyncStore, index: MemoryIndex) -> None:
    ids = world.finished(world.pool(), 3)

    assert await catch_up(store, index) == 3
    assert await catch_up(store, index) == 0
    assert {hit["task_id"] for hit in await search_all(index, [], "parser", limit=5)} == set(ids)
    index.close()


async def test_another_server_s_outcomes_are_taken_though_its_clock_is_behind(
    own_valkey_server: PrivateValkey, index: MemoryIndex
) -> None:
    world = World(own_valkey_server.url, "")
    old = world.finished(world.pool(), 3)
    async with AsyncStore(own_valkey_server.url) as store:
        await catch_up(store, index)
        (entry, *_) = await store.run(read_outbox(START, most=1))
        world.redis.flushall()
        earlier = int(entry.entry.partition("-")[0]) - 3_600_000
        world.redis.xadd(world.key("outbox"), {**entry.fields, "n": 1, "task": "another"}, id=f"{earlier}-1")

        assert await catch_up(store, index) == 1
        assert await catch_up(store, index) == 0

    found = {hit["task_id"] for hit in await search_all(index, [], "parser", limit=10)}
    assert found == {*old, "another"}
    world.store.close()
    index.close()


async def test_a_server_s_own_hits_are_added_once_and_those_known_here_are_not(
    world: World, store: AsyncStore, index: MemoryIndex
) -> None:
    (known,) = world.finished(world.pool(), 1)
    await catch_up(store, index)
    buddy, akosha = ListSink("session_buddy"), ListSink("akosha")
    buddy.hits = [
        {"memory_id": known, "content": "Fix the parser", "metadata": {}},
        {"content": f"memory_id:{known} pool_id:p\nFix the", "metadata": {}},
        {"memory_id": "m1", "content": "parser one", "metadata": {"pool_id": "p9", "task_id": "m1"}},
        {"memory_id": "m1", "content": "parser one", "metadata": {}},
        {"content": "parser of a conversation"},
    ]
    akosha.hits = [{"memory_id": "m1", "content": "parser one", "metadata": {}}]

    hits = await search_all(index, [buddy, akosha], "parser", limit=10)

    assert [(hit["source"], hit["memory_id"], hit["pool_id"]) for hit in hits[1:]] == [
        ("session_buddy", "m1", "p9"),
        ("session_buddy", None, None),
    ]
    assert (hits[0]["source"], hits[0]["memory_id"], hits.notes) == ("local", known, [])
    assert len(await search_all(index, [akosha, buddy], "parser", limit=2)) == 2
    index.close()


async def test_a_server_that_is_down_leaves_the_local_hits_and_a_note(
    world: World, store: AsyncStore, index: MemoryIndex
) -> None:
    world.finished(world.pool(), 2)
    await catch_up(store, index)
    dead = ListSink()
    dead.down = True

    hits = await search_all(index, [dead], "parser", limit=5)
    filtered = await search_all(index, [dead], "parser", limit=5, filters=Filters(status="completed"))

    assert (len(hits), hits.notes) == (2, ["session_buddy could not be asked: it is down"])
    assert (len(filtered), filtered.notes) == (2, [])  # with filters no server is asked
    index.close()


async def test_without_redis_and_servers_the_search_finds_what_it_knew_and_says_what_is_missing(
    own_valkey_server: PrivateValkey, settings: Settings
) -> None:
    world = World(own_valkey_server.url, settings.namespace)
    ids = world.finished(world.pool(), 2)
    quick = settings.model_copy(update={**NOBODY, "submit_timeout": 0.5})
    manager = PoolManager(settings=quick, redis_url=own_valkey_server.url)
    aggregator = MemoryAggregator()
    first = await aggregator.cross_pool_search("parser", manager)
    own_valkey_server.kill()

    hits = await aggregator.cross_pool_search("parser", manager, 10)

    assert {hit["task_id"] for hit in hits} == {hit["task_id"] for hit in first} == set(ids)
    assert hits.notes[0].startswith("The newest outcomes are missing: ")
    assert hits.notes[1].startswith("session_buddy could not be asked: ")
    await manager.close()
    world.store.close()


# ── the command line ──


Command = Callable[..., Any]


@pytest.fixture
def pools(settings: Settings, redis_url: str, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs ``mahavishnu pools …`` and returns what it printed as JSON."""

    def call(*arguments: str, code: int = 0) -> Any:
        found = PoolManager(settings=settings.model_copy(update=NOBODY), redis_url=redis_url)
        first, *others = arguments
        assert run(["pools", first, "--format", "json", *others], session=Session(lambda: found)) == code
        printed = capsys.readouterr()
        return json.loads(printed.out or printed.err)

    return call


def tasks(answer: Any) -> set[str]:
    return {hit["task_id"] for hit in answer["results"]}


def test_search_memory_narrows_by_pool_type_task_status_and_time(world: World, pools: Command) -> None:
    north, south = world.pool("north"), world.pool("south")
    done, failed = world.finished(north, 2), world.finished(south, 1, status="failed")
    search = ("search-memory", "parser")
    every = pools(*search)
    moment = min(datetime.fromisoformat(hit["timestamp"]) for hit in every["results"]).astimezone()
    before = moment.replace(microsecond=0, tzinfo=None).isoformat()
    after = (moment + timedelta(hours=1)).replace(microsecond=0, tzinfo=None).isoformat()

    assert tasks(every) == {*done, *failed}
    assert every["count"] == 3
    assert tasks(pools(*search, "--pool", "north")) == tasks(pools(*search, "-p", north)) == set(done)
    assert tasks(pools(*search, "--status", "failed")) == set(failed)
    assert tasks(pools(*search, "--task", done[0])) == {done[0]}
    assert tasks(pools(*search, "--pool-type", "mahavishnu")) == {*done, *failed}
    assert tasks(pools(*search, "--pool-type", "kubernetes")) == set()
    assert tasks(pools(*search, "--until", before)) == set()
    assert tasks(pools(*search, "--since", before, "--until", after)) == {*done, *failed}
    assert tasks(pools(*search, "--since", after)) == set()
    assert (
        "--since must be before --until"
        in pools(*search, "--since", after, "--until", before, code=2)["error"]["message"]
    )
    assert pools(*search, "--pool", "nowhere", code=3)


def test_times_are_shown_as_since_takes_them(
    world: World,
    settings: Settings,
    redis_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        world.finished(world.pool(), 1)
        manager = PoolManager(settings=settings.model_copy(update=NOBODY), redis_url=redis_url)
        assert run(["pools", "search-memory", "parser"], session=Session(lambda: manager)) == 0
        (hour,) = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", capsys.readouterr().out)
        now = datetime.now(UTC).astimezone().replace(tzinfo=None)
    finally:
        monkeypatch.undo()
        time.tzset()

    assert abs(datetime.fromisoformat(hour) - now) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('"', 0), ("*", 0), ("NEAR(", 0), ("NEAR(fix parser)", 0), ("-", 0), (":", 0), ("'; DROP TABLE record", 0),
        ("\ud800", 0), ('fix "the', 1), ("fix*", 1), ("(parser)", 1), ("content:parser", 0), ("fix - parser", 1),
        ('"the parser"', 1), ("", 1),
    ],
)  # fmt: skip
def test_search_memory_takes_any_characters(world: World, pools: Command, query: str, found: int) -> None:
    world.finished(world.pool(), 1)

    assert pools("search-memory", "--", query)["count"] == found


def test_sync_shows_sends_and_forgets_what_was_set_aside(
    world: World, pools: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, sink = world.finished(world.pool(), 5), ListSink()
    sink.refuses = {ids[0], ids[1]}
    monkeypatch.setattr("mahavishnu_pools.memory.aggregator.SessionBuddySink", lambda _: sink)

    synced = pools("sync")
    listed = pools("sync", "--set-aside", "list")
    figures = pools("stats")["memory_sync"]["sinks"]["session_buddy"]
    assert pools("health", code=1)["memory_sync"]["sinks"]["session_buddy"] == figures
    sink.refuses = {ids[1]}
    sent = pools("sync", "--set-aside", "retry")
    gone = pools("sync", "--set-aside", "purge")

    assert (synced["memory_items_synced"], list(synced["errors"])) == (3, ["akosha"])
    assert [(one["task_id"], one["reason"]) for one in listed["records"]] == [
        (id_, "its text is odd") for id_ in ids[:2]
    ]
    assert (figures["set_aside"], figures["refused"], figures["delivered"]) == (2, 2, 3)
    assert (sent["delivered"], sent["set_aside"]) == (1, 1)
    assert gone == {"purged": 1}
    assert pools("sync", "--set-aside", "list")["records"] == []
