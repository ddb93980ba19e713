"""Live output of tasks on its way into the store: in time, bounded, with head and tail kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.store import keys
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.client import SyncStore
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually
from workers import logs
from workers.logs import LogWriter

#: Bytes a log may take in these tests.
MOST = 200_000


class Log:
    """A writer and what is in the store."""

    def __init__(self, store: SyncStore, *, most: int = MOST) -> None:
        self.store = store
        self.writer = LogWriter(store, ttl=60, max_bytes=most)

    def entries(self, task_id: str) -> list[tuple[str, str]]:
        found = self.store.redis.xrange(keys.key("log", prefix=self.store.prefix, of=task_id))
        return [(fields["s"], fields["t"]) for _, fields in found]

    def text(self, task_id: str) -> str:
        return "".join(text for _, text in self.entries(task_id))


@pytest.fixture
def log(redis_url: str, namespace: str) -> Iterator[Log]:
    with SyncStore(redis_url, namespace=namespace) as store:
        found = Log(store)
        yield found
        found.writer.close()


def test_output_is_there_while_the_task_runs(log: Log) -> None:
    sink = log.writer.sink("t")

    sink.write("stdout", b"first\n")
    eventually(lambda: log.entries("t"))
    sink.write("stderr", b"second\n")

    assert eventually(lambda: log.entries("t"), until=lambda found: len(found) == 2) == [
        ("stdout", "first\n"),
        ("stderr", "second\n"),
    ]


def test_the_end_of_a_task_writes_what_is_left_and_the_log_expires(log: Log) -> None:
    log.writer.sink("t").write("stdout", b"last words")

    log.writer.finish("t")

    assert log.text("t") == "last words"
    assert 0 < log.store.redis.ttl(keys.key("log", prefix=log.store.prefix, of="t")) <= 60


def test_a_long_log_keeps_head_and_tail_and_marks_the_cut(log: Log) -> None:
    record = keys.key("task", prefix=log.store.prefix, of="t")
    log.store.redis.hset(record, "status", "running")
    sink = log.writer.sink("t")
    sink.write("stdout", b"HEAD\n")
    for number in range(100):
        sink.write("stdout", b"%05d" % number + b"x" * 9994 + b"\n")
        log.writer.finish("other")
        eventually(lambda: not log.writer._logs["t"].waiting_bytes > logs.WAITING_BYTES // 2)
    sink.write("stdout", b"TAIL\n")
    log.writer.finish("t")

    text = log.text("t")

    assert text.startswith("HEAD\n00000")
    assert text.endswith("TAIL\n")
    assert len(text) <= MOST + 2 * logs.PIECE_BYTES
    assert log.store.redis.hget(record, "log_cut")


def test_bytes_that_are_no_text_are_shown_and_cost_nothing(log: Log) -> None:
    log.writer.sink("t").write("stdout", b"a\xffb\xe2\x82")
    log.writer.finish("t")

    assert log.text("t") == "a\ufffdb\ufffd"


def test_a_character_that_two_pieces_share_is_one_character(log: Log) -> None:
    sink = log.writer.sink("t")
    data = ("ä" * logs.PIECE_BYTES).encode()

    sink.write("stdout", data[:7])
    sink.write("stdout", data[7:])
    log.writer.finish("t")

    assert log.text("t") == "ä" * logs.PIECE_BYTES


def test_output_faster_than_the_store_is_dropped_with_a_mark_and_never_blocks(own_valkey_server: PrivateValkey) -> None:
    with SyncStore(own_valkey_server.url, timeout=20) as store:
        log = Log(store, most=100 * logs.WAITING_BYTES)
        sink = log.writer.sink("t")
        os.kill(own_valkey_server.pid, signal.SIGSTOP)
        for _ in range(40):
            sink.write("stdout", b"x" * (logs.WAITING_BYTES // 10))
        os.kill(own_valkey_server.pid, signal.SIGCONT)
        log.writer.finish("t")

        [mark] = [text for stream, text in log.entries("t") if stream == "system"]

        assert "bytes cut" in mark
        assert len(log.text("t")) < 3 * logs.WAITING_BYTES
        log.writer.close()


def test_a_program_that_prints_character_by_character_makes_few_entries(log: Log) -> None:
    sink = log.writer.sink("t")

    for number in range(20_000):
        sink.write("stdout" if number < 15_000 else "stderr", b"%d" % (number % 10))
    log.writer.finish("t")

    assert log.text("t") == "0123456789" * 2000
    assert len(log.entries("t")) < 200


class Trouble(SyncStore):
    """A store that refuses some scripts, or carries them out and loses the reply."""

    refused: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()

    def run(self, call: Call[Any]) -> Any:
        if call.script in self.refused:
            raise errors.RedisFull("no memory left")
        reply = super().run(call)
        if call.script in self.lost:
            raise errors.RedisUnavailable("it does not answer")
        return reply


@pytest.fixture
def troubled(redis_url: str, namespace: str) -> Iterator[Trouble]:
    with Trouble(redis_url, namespace=namespace) as store:
        yield store


@pytest.mark.parametrize("way", ["refused", "lost"])
def test_output_that_could_not_be_written_is_written_later_in_order_and_once(troubled: Trouble, way: str) -> None:
    log = Log(troubled)
    setattr(troubled, way, frozenset({"log_write"}))
    sink = log.writer.sink("t")

    sink.write("stdout", b"one ")
    eventually(lambda: log.writer._logs["t"].late)
    sink.write("stderr", b"two ")
    sink.write("stdout", b"three")
    log.writer.finish("t")
    setattr(troubled, way, frozenset())

    eventually(lambda: "t" not in log.writer._logs)
    assert log.entries("t") == [("stdout", "one "), ("stderr", "two "), ("stdout", "three")]
    log.writer.close()


@pytest.mark.parametrize("way", ["refused", "lost"])
def test_a_log_that_could_not_be_cut_is_cut_later_and_marked(troubled: Trouble, way: str) -> None:
    log, most = Log(troubled, most=4 * logs.PIECE_BYTES), 4 * logs.PIECE_BYTES
    record = keys.key("task", prefix=troubled.prefix, of="t")
    troubled.redis.hset(record, "status", "running")
    setattr(troubled, way, frozenset({"log_drop"}))
    sink = log.writer.sink("t")

    for number in range(10):
        sink.write("stdout", b"%d" % number * logs.PIECE_BYTES)
    eventually(lambda: log.writer._logs["t"].late)
    log.writer.finish("t")
    setattr(troubled, way, frozenset())

    eventually(lambda: "t" not in log.writer._logs)
    text = log.text("t")
    assert len(text) <= most
    assert [text[0], text[-1]] == ["0", "9"]
    assert [stream for stream, _ in log.entries("t") if stream == "system"] == []
    assert troubled.redis.hget(record, "log_cut")
    log.writer.close()


def test_a_task_that_runs_again_before_its_output_was_written_keeps_all_of_it(troubled: Trouble) -> None:
    log = Log(troubled)
    troubled.refused = frozenset({"log_write"})
    log.writer.sink("t").write("stdout", b"first ")
    log.writer.finish("t")

    log.writer.sink("t").write("stdout", b"second")
    troubled.refused = frozenset()
    eventually(lambda: log.text("t") == "first second")
    log.writer.finish("t")

    assert not log.writer._logs
    log.writer.close()
