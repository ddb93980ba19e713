"""What other processes say: AI programs, worker groups, the zygote, stored logs, messages of strangers."""

from __future__ import annotations

import contextlib
import json
import struct
from base64 import b64encode
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.store import logs
from mahavishnu_pools.store.leases import Held
from tests.fuzz.material import deep, dumped, fuzz, is_json, json_texts, mapping_of, texts, values
from tests.store.world import World
from workers.agent import wire
from workers.agent.news import News, NewsReader
from workers.executors.capture import LineSplitter
from workers.executors.cli_output import STEPS, Answer, AnswerReader, cause_of
from workers.outcome import Attempt, ending
from workers.runner import Body, read_body

EVENT_FIELDS = (
    "type",
    "subtype",
    "session_id",
    "model",
    "message",
    "content",
    "role",
    "delta",
    "result",
    "is_error",
    "error",
    "errors",
    "usage",
    "stats",
    "item",
    "text",
    "thread_id",
    "status",
    "severity",
    "api_error_status",
    "total_cost_usd",
)

EVENT_TYPES = st.sampled_from(
    [
        "system",
        "assistant",
        "result",
        "thread.started",
        "item.completed",
        "turn.completed",
        "turn.failed",
        "error",
        "init",
        "message",
    ]
)

#: Events that are nearly right, of any of the programs.
events = st.tuples(EVENT_TYPES, mapping_of(*EVENT_FIELDS)).map(lambda one: dumped({**one[1], "type": one[0]}))

deep_events = st.tuples(EVENT_TYPES, st.sampled_from(EVENT_FIELDS[1:]), st.integers(100, 3000)).map(
    lambda one: f'{{"type":"{one[0]}","{one[1]}":{"[" * one[2]}{"]" * one[2]}}}'
)


@fuzz
@given(st.sampled_from(sorted(STEPS)), st.lists(events | deep_events | json_texts, max_size=5))
@example("claude-json", ['{"type":"system","session_id":' + "[" * 900 + "]" * 900 + "}"])
@example("gemini-json", ['{"type":"message","role":"assistant","content":"\\ud800"}'])
@example("codex-json", ['{"type":"error","message":"\\ud800 429"}'])
def test_an_event_stream_gives_an_answer_that_can_be_stored(output: str, lines: list[str]) -> None:
    reader = AnswerReader(output)
    for line in lines:
        reader.feed(line)

    answer = reader.answer
    assert isinstance(answer, Answer)
    assert is_json(answer.metadata)
    cause_of(answer.error or "")
    outcome = Outcome(status="completed", output=answer.text, error=answer.error, metadata=answer.metadata)
    attempt = Attempt(Held("l", "1", "t", "p"), 1, "w", "prompt", 1.0, 1.0)
    stored = ending(outcome, TaskSpec(prompt="x"), attempt, result_ttl=1.0)
    assert all("\n".join(map(str, stored.arguments)).encode())


@fuzz
@given(st.lists(st.binary(max_size=40), max_size=6))
def test_pieces_of_output_give_lines(pieces: list[bytes]) -> None:
    splitter = LineSplitter()

    lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.close()

    assert "\n".join(lines) == b"".join(pieces).decode("utf-8", "replace").removesuffix("\n")


NEWS_FIELDS = ("pool_id", "pid", "event", "detail")


@fuzz
@given(
    st.lists(
        st.binary(max_size=60) | mapping_of(*NEWS_FIELDS).map(dumped).map(str.encode) | deep.map(str.encode), max_size=4
    )
)
@example([b'{"pool_id": 1, "pid": "x", "event": [], "detail": 3}\n'])
@example([b"[" * 50_000 + b"\n"])
def test_damaged_news_are_left_out_and_good_ones_taken(pieces: list[bytes]) -> None:
    good = json.dumps({"pool_id": "p", "pid": 7, "event": "ready", "detail": {"workers": 3}}).encode()
    reader = NewsReader()

    found = [one for piece in pieces for one in reader.feed(piece)] + reader.feed(b"\n" + good + b"\n")

    assert found[-1] == News("p", 7, "ready", {"workers": 3})
    for one in found:
        assert (type(one.pool_id), type(one.pid), type(one.event), type(one.detail)) == (str, int, str, dict)


def test_news_without_an_end_are_not_kept_for_ever() -> None:
    reader = NewsReader()
    for _ in range(100):
        reader.feed(b"x" * 65536)

    assert len(reader._rest) < 1024 * 1024


def framed(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + body


KINDS = ("StartGroup", "ListGroups", "Started", "Listing", "Exited", "Stop")
WIRE_FIELDS = ("kind", "request", "slot", "start", "pid", "error", "groups", "code", "signal", "hurry")

orders = st.tuples(st.sampled_from(KINDS), mapping_of(*WIRE_FIELDS)).map(lambda one: dumped({**one[1], "kind": one[0]}))


@fuzz
@given(st.binary(max_size=60) | (orders | json_texts).map(lambda text: framed(text.encode("utf-8", "surrogatepass"))))
@example(framed(b'{"kind": "Exited", "pid": "x", "code": [], "signal": null}'))
@example(framed(b'{"kind": "Listing", "request": 1, "groups": [1]}'))
@example(framed(b"[" * 50_000))
@example(b"\xff\xff\xff\xff")
def test_what_comes_over_the_socket_is_a_message_or_garbled(data: bytes) -> None:
    with contextlib.suppress(wire.Garbled):
        for message in wire.Decoder().feed(data):
            assert isinstance(message, wire.Message)
            assert wire.Decoder().feed(wire.encode(message)) == [message]


@fuzz
@given(mapping_of("body", "headers", "properties", "content-type"), values)
def test_a_celery_message_is_a_body_or_a_value_error(fields: dict[str, Any], inner: Any) -> None:
    message = {"headers": {"task": "t", "id": "i"}, "properties": {"body_encoding": "base64"}, **fields}
    for body in (fields.get("body"), dumped(inner), b64encode(dumped(inner).encode()).decode()):
        with contextlib.suppress(ValueError):
            assert isinstance(read_body({**message, "body": body}), Body)


@fuzz
@given(st.lists(st.dictionaries(texts.filter(bool), texts, min_size=1, max_size=4), max_size=4))
def test_stored_log_entries_of_any_form_can_be_read(world: World, entries: list[dict[str, str]]) -> None:
    key = world.key("log", "fuzzed")
    world.redis.delete(key)
    for entry in entries:
        fields = [part.encode("utf-8", "surrogatepass") for pair in entry.items() for part in pair]
        world.redis.execute_command("XADD", key, "*", *fields)

    pieces = world.run(logs.read_log("fuzzed"))

    assert len(pieces) == len(entries)
    assert all(isinstance(piece.text, str) and isinstance(piece.stream, str) for piece in pieces)


@fuzz
@given(texts)
@example("1-2-3")
@example("")
def test_an_entry_id_orders_or_is_a_value_error(entry: str) -> None:
    with contextlib.suppress(ValueError):
        assert logs.entry_order(entry) >= ()
