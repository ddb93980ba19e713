"""Sinks that plug-ins bring: they are delivered to and searched like the others, and harm none of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import EntryPoint

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.memory.sinks import plugins
from mahavishnu_pools.schemas.memory import MemoryRecord
from mahavishnu_pools.settings import Settings
from tests.fakes.list_sink import ListSink

RECORD = MemoryRecord(memory_id="m1", content="x", timestamp=datetime.now(UTC))


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ListSink]]:
    """Return the sinks that were made; entry points ``lists``, ``broken`` and, which is taken already, ``akosha``."""
    made: list[ListSink] = []

    def make(settings: Settings) -> ListSink:
        made.append(ListSink("lists"))
        return made[-1]

    group = plugins.ENTRY_POINT_GROUP
    found = [EntryPoint(name, "nowhere:nothing", group) for name in ("lists", "broken", "akosha")]
    load = EntryPoint.load
    monkeypatch.setattr(EntryPoint, "load", lambda entry: make if entry.name == "lists" else load(entry))
    monkeypatch.setattr(plugins, "entry_points", lambda group: found)
    plugins._entries.cache_clear()
    yield made
    plugins._entries.cache_clear()


async def test_a_sink_is_made_when_it_is_used_and_kept(lists: list[ListSink]) -> None:
    broken, sink = plugins.plugin_sinks(Settings())

    assert plugins.sink_names() == ("session_buddy", "akosha", "broken", "lists")
    assert (broken.name, sink.name, lists) == ("broken", "lists", [])
    assert not (await sink.deliver([RECORD])).left
    assert await sink.takes_again(RECORD)
    assert await sink.search("x", limit=1) == []
    assert [one.sent for one in lists] == [["m1"]]


async def test_what_is_wrong_with_a_plug_in_is_said_as_of_a_server_that_is_down(lists: list[ListSink]) -> None:
    broken, sink = plugins.plugin_sinks(Settings())

    with pytest.raises(
        errors.RemoteUnavailable, match=r"sink 'broken' \(nowhere:nothing\) failed: ModuleNotFoundError"
    ):
        await broken.deliver([RECORD])
    await sink.search("x", limit=1)
    lists[0].hits = None  # type: ignore[assignment]
    with pytest.raises(errors.RemoteUnavailable, match="TypeError"):
        await sink.search("x", limit=1)
    lists[0].down = True
    with pytest.raises(errors.RemoteUnavailable, match="it is down"):
        await sink.deliver([RECORD])
