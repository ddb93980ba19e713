"""Records a server refuses, and servers that refuse everything because they are out of order."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import pytest_asyncio

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import McpClient, ToolAnswer
from mahavishnu_pools.memory.delivering import deliver_all
from mahavishnu_pools.memory.set_aside import list_aside, purge_aside, retry_aside
from mahavishnu_pools.memory.sinks.akosha import AkoshaSink
from mahavishnu_pools.memory.sinks.session_buddy import SessionBuddySink
from mahavishnu_pools.store import outbox
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.outbox import SinkState, read_sinks
from tests.fakes.list_sink import ListSink
from tests.store.world import World

Answering = Callable[[str, Mapping[str, Any]], ToolAnswer]


@pytest_asyncio.fixture
async def store(redis_url: str, namespace: str) -> AsyncIterator[AsyncStore]:
    async with AsyncStore(redis_url, namespace=namespace) as found:
        yield found


async def state(store: AsyncStore, sink: str = "session_buddy") -> SinkState:
    return (await store.run(read_sinks(sink)))[0]


async def test_a_record_that_is_refused_while_others_are_taken_is_set_aside_with_its_reason(
    world: World, store: AsyncStore
) -> None:
    ids, sink = world.finished(world.pool(), 100), ListSink()
    sink.refuses = {ids[3]}

    done = await deliver_all(store, sink)

    found, (kept,) = await state(store), await list_aside(store, [sink.name])
    assert (done.confirmed, found.aside, found.refused, found.pending) == (99, 1, 1, 0)
    assert sorted(sink.sent) == sorted(set(ids) - sink.refuses)
    assert (kept["task_id"], kept["reason"], kept["sink"]) == (ids[3], "its text is odd", "session_buddy")
    assert kept["content"].startswith("Fix the parser")


async def test_a_record_set_aside_is_sent_again_until_it_is_taken(world: World, store: AsyncStore) -> None:
    ids, sink = world.finished(world.pool(), 20), ListSink()
    sink.refuses = {ids[3], ids[4]}
    await deliver_all(store, sink)

    sink.refuses = {ids[4]}
    first = await retry_aside(store, sink)
    sink.down = True
    away = await retry_aside(store, sink)
    kept = await list_aside(store, [sink.name])
    sink.down, sink.refuses = False, set()
    second = await retry_aside(store, sink)

    found = await state(store)
    assert (first.confirmed, away.confirmed, away.error, second.confirmed) == (1, 0, "it is down", 1)
    assert [one["task_id"] for one in kept] == [ids[4]]
    assert (found.aside, found.refused, found.delivered) == (0, 2, 20)
    assert sorted(sink.sent) == sorted(ids)


async def test_records_set_aside_can_be_forgotten_and_are_bounded(
    world: World, store: AsyncStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, sink = world.finished(world.pool(), 20), ListSink()
    monkeypatch.setattr(outbox, "ASIDE_MOST", 5)
    sink.refuses = set(ids[:8])
    await deliver_all(store, sink)

    kept, lifetime = await list_aside(store, [sink.name]), world.redis.ttl(world.key("set_aside", sink.name))
    gone = await purge_aside(store, [sink.name])

    assert [one["task_id"] for one in kept] == ids[3:8]
    assert 29 * 86400 < lifetime <= 30 * 86400
    assert (gone, await list_aside(store, [sink.name]), (await state(store)).refused) == (5, [], 8)


async def test_a_sink_that_refuses_everything_for_long_sets_nothing_aside(world: World, store: AsyncStore) -> None:
    ids, sink = world.finished(world.pool(), 60), ListSink()
    sink.refuses_all = True
    for _ in range(6):
        done = await deliver_all(store, sink, force=True)
        assert "refuses every record: nobody may write" in str(done.error)
    found = await state(store)
    assert (found.aside, found.refused, found.pending, found.ready) == (0, 0, 60, False)

    sink.refuses_all = False
    assert (await deliver_all(store, sink, force=True)).confirmed == 60
    assert sorted(sink.sent) == sorted(ids)


async def test_batches_that_are_too_large_are_made_smaller(world: World, store: AsyncStore) -> None:
    ids, sink = world.finished(world.pool(), 60), ListSink()
    sink.most = 7

    done = await deliver_all(store, sink)

    assert (done.confirmed, (await state(store)).refused) == (60, 0)
    assert sink.sent == ids


class _Says(BaseHTTPRequestHandler):
    status, body = 200, b""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_DELETE = do_POST  # noqa: N815  # the names the server calls

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def saying() -> Iterator[Callable[[int, bytes], str]]:
    """Return a function that starts a server which answers everything with a status and a text, and gives its URL."""
    started: list[ThreadingHTTPServer] = []

    def start(status: int, body: bytes) -> str:
        handler = type("Handler", (_Says,), {"status": status, "body": body})
        started.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=started[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{started[-1].server_port}/mcp"

    yield start
    for one in started:
        one.shutdown()
        one.server_close()


@pytest.mark.parametrize("kind", [SessionBuddySink, AkoshaSink])
@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b"no"), (403, b"no"), (404, b"no"), (302, b""), (400, b"no"), (413, b""), (500, b""), (200, b"<html>")],
)
async def test_a_server_or_proxy_that_turns_everything_away_costs_no_record(
    world: World, store: AsyncStore, saying: Callable[[int, bytes], str], kind: Any, status: int, body: bytes
) -> None:
    world.finished(world.pool(), 3)
    async with McpClient(saying(status, body)) as client:
        sink = kind(client)
        done = [await deliver_all(store, sink, force=True) for _ in range(4)]

    found = await state(store, sink.name)
    assert all(one.error and one.confirmed == 0 for one in done)
    assert (found.refused, found.pending, found.failures) == (0, 3, 4)


class Answers:
    """A server's tools, as a sink sees them; ``answering`` answers each call."""

    def __init__(self, tool: str, answering: Answering) -> None:
        self._tool, self._answering = tool, answering

    async def tools(self) -> Mapping[str, Mapping[str, Any]]:
        return {self._tool: {}}

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolAnswer:
        return self._answering(tool, arguments)


def stored() -> ToolAnswer:
    return ToolAnswer("stored", {"status": "completed"}, failed=False)


async def test_one_record_that_makes_a_whole_batch_fail_is_found_and_set_aside(world: World, store: AsyncStore) -> None:
    ids, there = world.finished(world.pool(), 60), set[str]()

    def answer(_: str, arguments: Mapping[str, Any]) -> ToolAnswer:
        sent = {one["memory_id"] for one in arguments["memories"]}
        if ids[20] in sent:
            return ToolAnswer("Input should be a valid string", None, failed=True)
        there.update(sent)
        return stored()

    done = await deliver_all(store, SessionBuddySink(Answers("batch_store_memories", answer)))

    assert there == set(ids) - {ids[20]}
    assert done.confirmed == 59
    assert [one["task_id"] for one in await list_aside(store, ["session_buddy"])] == [ids[20]]


async def test_the_last_record_is_set_aside_once_the_server_is_seen_to_take_another(
    world: World, store: AsyncStore
) -> None:
    ids, poison = world.finished(world.pool(), 3), list[str]()
    down = False

    def answer(_: str, arguments: Mapping[str, Any]) -> ToolAnswer:
        sent = {one["memory_id"] for one in arguments["memories"]}
        return ToolAnswer("no", None, failed=True) if down or sent & set(poison) else stored()

    sink = SessionBuddySink(Answers("batch_store_memories", answer))
    await deliver_all(store, sink)
    poison.extend(world.finished(world.pool(), 1))
    down = True
    away = await deliver_all(store, sink, force=True)
    during = await state(store)
    down = False
    await deliver_all(store, sink, force=True)
    after = await state(store)

    assert (away.error, during.pending, during.refused) == ("session_buddy refuses every record: no", 1, 0)
    assert (after.pending, after.refused, after.delivered) == (0, 1, len(ids))


async def test_a_server_that_takes_one_at_a_time_and_fails_in_the_middle_gets_nothing_twice(
    world: World, store: AsyncStore
) -> None:
    ids, got, calls = world.finished(world.pool(), 30), list[str](), 0

    def answer(_: str, arguments: Mapping[str, Any]) -> ToolAnswer:
        nonlocal calls
        calls += 1
        if calls == 12:
            raise errors.RemoteUnavailable("it went away", maybe_ran=False)
        if 20 <= calls < 200:
            return ToolAnswer("❌ The database is locked", None, failed=True)
        got.append(arguments["content"].partition("memory_id:")[2].split()[0])
        return stored()

    sink = SessionBuddySink(Answers("store_conversation", answer))
    for _ in range(20):
        await deliver_all(store, sink, force=True)

    assert sorted(got) == sorted(ids)
    assert len(got) == 30
    assert (await state(store)).refused == 0
