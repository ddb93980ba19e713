"""What the processes of an agent tell each other arrives whole."""

from __future__ import annotations

import json
import os
import select

import pytest

from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings
from workers.agent import wire
from workers.agent.news import NewsReader, NewsWriter
from workers.agent.start import GroupStart, dump_settings
from workers.agent.ticks import Life, Ticks
from workers.agent.trees import Mark

MESSAGES: list[wire.Message] = [
    wire.StartGroup(1, slot=2, start='{"pool_id": "pool_ü"}'),
    wire.ListGroups(2),
    wire.Started(1, pid=77),
    wire.Started(1, pid=0, error="no"),
    wire.Listing(2, groups=[(77, 2, "{}"), (78, 3, "{}")]),
    wire.Exited(77, code=0, signal=9),
    wire.Stop(hurry=True),
]


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_messages_arrive_in_order_however_the_stream_is_cut(piece: int) -> None:
    stream = b"".join(wire.encode(message) for message in MESSAGES)
    decoder = wire.Decoder()

    found = [m for at in range(0, len(stream), piece) for m in decoder.feed(stream[at : at + piece])]

    assert found == MESSAGES


def test_news_arrive_whole_and_long_ones_are_cut_to_one_write() -> None:
    read, write = os.pipe()
    tell = NewsWriter(write, pool_id="pool_1")

    tell("ready", {"workers": 3})
    tell("failed", {"detail": "x" * 10_000})
    tell("odd", {"many": ["x" * 10_000]})
    data = os.read(read, 65536)
    os.close(read)
    os.close(write)

    assert max(len(line) for line in data.splitlines()) < select.PIPE_BUF
    ready, failed, odd = NewsReader().feed(data)
    assert (ready.event, ready.pool_id, ready.pid, ready.detail) == ("ready", "pool_1", os.getpid(), {"workers": 3})
    assert (failed.event, set(failed.detail["detail"])) == ("failed", {"x"})
    assert (odd.event, odd.detail) == ("odd", {})


def test_news_to_a_full_pipe_are_lost_without_harm() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    tell = NewsWriter(write, pool_id="pool_1")

    for _ in range(2000):
        tell("noise", {"text": "x" * 100})

    assert NewsReader().feed(os.read(read, 65536))[0].event == "noise"
    os.close(read)
    os.close(write)


def test_a_damaged_line_of_news_is_left_out() -> None:
    good = json.dumps({"pool_id": "p", "pid": 1, "event": "ready", "detail": {}}).encode()

    found = NewsReader().feed(b"{half\n" + good + b"\n" + b'{"pid": 1}\n')

    assert [news.event for news in found] == ["ready"]


def test_start_data_survive_json_and_hide_the_password() -> None:
    settings = Settings(drain_timeout=7, node_tags=("gpu",))
    config = PoolConfig(name="alpha", tags=("x",), nodes=("gpu",))
    start = GroupStart(
        pool_id="pool_1",
        node="node-2",
        lease="lease",
        workers=5,
        replicas=2,
        config=config.model_dump(mode="json"),
        worker_type=None,
        settings=dump_settings(settings, node="node-2"),
        redis_url="redis://:geheim@localhost/0",
        agent_pid=1,
        agent_id="a",
        allowed_roots=("/tmp",),
        data_dir="/tmp",
    )

    again = GroupStart.from_json(start.to_json())

    assert again == start
    assert again.pool_config() == config
    loaded = again.load_settings()
    assert (loaded.drain_timeout, loaded.node_tags, loaded.node_name) == (7, ("gpu",), "node-2")
    assert loaded.redis_url is not None
    assert loaded.redis_url.get_secret_value() == "redis://:geheim@localhost/0"
    assert "geheim" not in repr(start)
    assert start.share == 3


@pytest.mark.parametrize("by_descriptor", [False, True])
def test_ticks_of_one_slot_do_not_touch_others(by_descriptor: bool) -> None:
    ticks = Ticks.create(by_descriptor=by_descriptor)

    ticks.advance(5)
    ticks.set_ready(5)
    ticks.advance(5)

    assert [ticks.read(slot) for slot in (4, 5, 6)] == [Life(0, ready=False), Life(2, ready=True), Life(0, ready=False)]
    if ticks.fd is not None:
        assert Ticks.attach(ticks.fd).read(5) == Life(2, ready=True)
        os.close(ticks.fd)
    ticks.set_leaving(5)
    ticks.advance(5)
    assert ticks.read(5) == Life(3, ready=True, leaving=True)
    ticks.clear(5)
    assert ticks.read(5) == Life(0, ready=False)


class _Interrupted(Ticks):
    """In the midst of a tick another thread of the group says that it leaves."""

    said = False

    def _unpack(self, slot: int) -> tuple[int, int]:
        found = super()._unpack(slot)
        if not self.said:
            self.said = True
            self.set_leaving(slot)
        return found


def test_what_a_group_says_while_it_ticks_is_kept() -> None:
    ticks = _Interrupted.create(by_descriptor=False)

    ticks.advance(5)

    assert ticks.read(5) == Life(1, ready=False, leaving=True)


@pytest.mark.parametrize(
    ("marks", "alone", "shared"),
    [
        ({"MAHAVISHNU_POOL_ID": "p", "MAHAVISHNU_AGENT_ID": "a", "MAHAVISHNU_LEASE": "l"}, True, True),
        ({"MAHAVISHNU_POOL_ID": "p", "MAHAVISHNU_AGENT_ID": "a"}, True, False),
        ({"MAHAVISHNU_POOL_ID": "p", "MAHAVISHNU_AGENT_ID": "a", "MAHAVISHNU_LEASE": "other"}, False, False),
        ({"MAHAVISHNU_POOL_ID": "p", "MAHAVISHNU_AGENT_ID": "other", "MAHAVISHNU_LEASE": "l"}, False, False),
        ({"MAHAVISHNU_POOL_ID": "p"}, False, False),
        ({}, False, False),
    ],
)
def test_only_programs_of_the_group_carry_its_mark(marks: dict[str, str], alone: bool, shared: bool) -> None:
    assert Mark("p", "l", "a").fits(marks) is alone
    assert Mark("p", "l", "a", shared=True).fits(marks) is shared
