"""What is kept, cut, masked and read of a task's output."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.executors.capture import HeadTail, LineSplitter, cut_text
from workers.executors.cli_output import STEPS, Answer, AnswerReader, cause_of
from workers.executors.masking import MASK, Masker

RESULT = {
    "type": "result", "subtype": "success", "is_error": False, "duration_ms": 5, "num_turns": 1, "result": "42",
    "usage": {"input_tokens": 1}, "session_id": "s1",
}  # fmt: skip


def _lines(*events: dict[str, object]) -> list[str]:
    return [json.dumps(event) for event in events]


# ── keeping ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(pieces=st.lists(st.binary(max_size=400)), limit=st.integers(100, 1000))
def test_kept_output_never_exceeds_its_limit_and_short_output_is_kept_whole(pieces: list[bytes], limit: int) -> None:
    buffer = HeadTail(limit)
    for piece in pieces:
        buffer.write(piece)
    whole = b"".join(pieces)

    text = buffer.text()

    assert len(text.encode()) <= limit
    if len(whole.decode("utf-8", "replace").encode()) <= limit:
        assert text == whole.decode("utf-8", "replace")
    else:
        assert "bytes cut] …" in text


@given(text=st.text(alphabet="aé€😀", min_size=200, max_size=2000))
def test_a_cut_never_splits_a_character(text: str) -> None:
    assert "\ufffd" not in cut_text(text, limit=150)


def test_the_mark_says_how_much_is_missing() -> None:
    buffer = HeadTail(164)
    buffer.write(b"a" * 500 + b"b" * 500)

    head, _, tail = buffer.text().partition("\n… [900 bytes cut] …\n")

    assert (head, tail) == ("a" * 50, "b" * 50)


@given(lines=st.lists(st.text(alphabet=st.characters(exclude_characters="\n", codec="utf-8"))), size=st.integers(1, 7))
def test_lines_are_the_same_however_they_arrive(lines: list[str], size: int) -> None:
    data = "".join(line + "\n" for line in lines).encode()
    splitter = LineSplitter()

    found = [line for at in range(0, len(data), size) for line in splitter.feed(data[at : at + size])]

    assert found + splitter.close() == lines


# ── masking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(before=st.binary(max_size=30), after=st.binary(max_size=30), cuts=st.lists(st.integers(0, 90), max_size=6))
def test_a_secret_is_masked_however_the_stream_is_cut(before: bytes, after: bytes, cuts: list[int]) -> None:
    data = before + b"s3cr3t-value" + after + b"s3cr3t-other"
    masker = Masker(["s3cr3t-value", "s3cr3t-other"]).stream()
    at = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})

    shown = b"".join(masker.feed(data[low:high]) for low, high in itertools.pairwise(at)) + masker.close()

    assert shown == before + MASK.encode() + after + MASK.encode()


def test_a_secret_is_masked_inside_json_text_and_json_values() -> None:
    masker = Masker(['pass"word\n1'])

    assert MASK in masker.text(json.dumps({"key": 'pass"word\n1'}))
    assert masker.json({"a": ['x pass"word\n1']}) == {"a": [f"x {MASK}"]}


# ── reading answers ──────────────────────────────────────────────────────────────────────────────────────────────────


def parse_answer(output: str, lines: Iterable[str]) -> Answer:
    reader = AnswerReader(output)
    for line in lines:
        reader.feed(line)
    return reader.answer


@pytest.mark.parametrize("output", ["claude-json", "qwen-json"])
def test_the_answer_is_the_result_of_the_last_event(output: str) -> None:
    said = {
        "type": "assistant",
        "message": {"content": [{"type": "text", "text": "thinking"}]},
        "parent_tool_use_id": None,
    }

    answer = parse_answer(output, _lines({"type": "system", "subtype": "init", "session_id": "s1"}, said, RESULT))

    assert (answer.text, answer.finished, answer.error) == ("42", True, None)
    assert answer.metadata["session_id"] == "s1"
    assert answer.metadata["usage"] == {"input_tokens": 1}


def test_a_stream_that_breaks_off_keeps_what_was_said() -> None:
    said = {
        "type": "assistant",
        "message": {"content": [{"type": "text", "text": "so far"}]},
        "parent_tool_use_id": None,
    }

    answer = parse_answer("claude-json", [*_lines(said), '{"type":"result","resu'])

    assert (answer.text, answer.recognised, answer.finished) == ("so far", True, False)


def test_what_a_sub_agent_says_is_not_the_answer() -> None:
    said = {
        "type": "assistant",
        "message": {"content": [{"type": "text", "text": "inner"}]},
        "parent_tool_use_id": "t1",
    }

    assert parse_answer("claude-json", _lines(said)).text == ""


def test_the_usage_limit_of_claude_tells_when_it_ends() -> None:
    event = {**RESULT, "is_error": True, "result": "Claude AI usage limit reached|1790000000"}

    answer = parse_answer("claude-json", _lines(event))

    assert answer.metadata["limit_resets_at"] == 1790000000
    assert cause_of(answer.error or "") == "rate_limit"


def test_a_codex_stream_is_read() -> None:
    lines = _lines(
        {"type": "thread.started", "thread_id": "t1"},
        {"type": "item.completed", "item": {"type": "agent_message", "text": "42"}},
        {"type": "turn.completed", "usage": {"input_tokens": 1}},
    )

    answer = parse_answer("codex-json", lines)

    assert (answer.text, answer.finished, answer.error, answer.metadata["session_id"]) == ("42", True, None, "t1")


def test_a_gemini_stream_is_read() -> None:
    lines = _lines(
        {"type": "init", "session_id": "g1", "model": "m"},
        {"type": "message", "role": "assistant", "content": "4", "delta": True},
        {"type": "message", "role": "assistant", "content": "2", "delta": True},
        {"type": "result", "status": "success", "stats": {"total_tokens": 3}},
    )

    answer = parse_answer("gemini-json", lines)

    assert (answer.text, answer.finished, answer.error) == ("42", True, None)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_KINDS = st.sampled_from(["system", "assistant", "result", "error", "message", "init"]) | st.sampled_from(
    ["item.completed", "turn.failed", "turn.completed", "thread.started"]
)
_FIELDS = st.sampled_from(["message", "content", "result", "error", "errors", "item", "is_error"]) | st.sampled_from(
    ["subtype", "usage", "status", "role", "text", "delta"]
)
_EVENTS = st.builds(lambda kind, rest: json.dumps({**rest, "type": kind}), _KINDS, st.dictionaries(_FIELDS, _JSON))


@given(output=st.sampled_from(sorted(STEPS)), lines=st.lists(_EVENTS | st.text() | _JSON.map(json.dumps)))
def test_no_stream_whatever_it_holds_breaks_a_reader(output: str, lines: list[str]) -> None:
    answer = parse_answer(output, lines)

    assert isinstance(answer.text, str)
    json.dumps(answer.metadata, allow_nan=False)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("API Error: Request rejected (429)", "rate_limit"),
        ("Claude AI usage limit reached", "rate_limit"),
        ("Overloaded", "overload"),
        ("API Error: 529 overloaded_error", "overload"),
        ("connect ECONNREFUSED 127.0.0.1:1", "connection"),
        ("API Error: 400 bad request", None),
        ("Invalid API key", None),
        ("429 You exceeded your current quota, please check your plan and billing details", None),
    ],
)
def test_only_passing_troubles_are_worth_another_attempt(message: str, cause: str | None) -> None:
    assert cause_of(message) == cause
