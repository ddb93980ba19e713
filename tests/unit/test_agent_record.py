"""What is made of the events of AI programs, as recorded from real ones and as nobody has seen them yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools.agent_lines import event_lines, line_of, shown
from mahavishnu_pools.schemas.agent_event import AGENT, RAW, AgentEvent, read_events
from mahavishnu_pools.store.logs import LogPiece
from tests.fakes.run_context import RecordingLog
from workers.executors.agent_log import LINE_MOST, AgentLog
from workers.executors.agent_record import FILES_MOST, TEXT_MOST, AgentRecord
from workers.executors.cli_output import AnswerReader
from workers.logs import PIECE_BYTES

STREAMS = Path(__file__).parent.parent / "fixtures" / "agent_streams"

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _read(*events: dict[str, Any], cwd: str = "/repo") -> tuple[list[AgentEvent], AgentRecord]:
    record = AgentRecord(cwd)
    found = [one for event in events for one in record.read(event) or ()]
    return found, record


def _calls(tool: str, call_id: str = "c1", **given: Any) -> dict[str, Any]:
    part = {"type": "tool_use", "id": call_id, "name": tool, "input": given}
    return {"type": "assistant", "message": {"id": call_id, "content": [part]}, "parent_tool_use_id": None}


def _answers(call_id: str = "c1", *, error: bool = False, text: str = "ok") -> dict[str, Any]:
    part = {"type": "tool_result", "tool_use_id": call_id, "content": text, "is_error": error}
    return {"type": "user", "message": {"role": "user", "content": [part]}}


def _says(text: str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    return {"type": "assistant", "message": {"id": "m1", "content": content, **fields}}


def _log(lines: list[str], output: str = "claude-json") -> tuple[RecordingLog, AgentLog]:
    log = RecordingLog()
    found = AgentLog(AnswerReader(output), log=log, cwd="/repo")
    for line in lines:
        found.feed(line)
    return log, found


@pytest.mark.parametrize("program", ["claude", "qwen"])
def test_a_recorded_run_is_told_as_events_and_summed_up(program: str) -> None:
    lines = (STREAMS / f"{program}.jsonl").read_text().splitlines()

    log, found = _log(lines, f"{program}-json")
    events = read_events(log.text(AGENT))
    told = found.summary()

    kinds = [event.kind for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert [one for one in kinds if one in ("tool_call", "tool_result", "file")] == ["tool_call", "tool_result", "file"]
    assert told["files"] == ["made.txt"]
    assert sum(told["tools"].values()) == 1  # type: ignore[union-attr]
    assert {"session_id", "model", "tokens", "turns"} <= told.keys()
    assert log.text("stdout") == ""
    assert log.text(RAW).splitlines() == lines


def test_a_file_is_told_when_the_tool_has_written_it_and_relative_to_the_directory() -> None:
    events, record = _read(
        _calls("Write", "c1", file_path="/repo/src/a.py"),
        _answers("c1"),
        _calls("Edit", "c2", file_path="/repo/../etc/b"),
        _answers("c2"),
        _calls("Edit", "c3", file_path="/repo/c.py"),
        _answers("c3", error=True),
        _calls("Read", "c4", file_path="/repo/d.py"),
        _answers("c4"),
    )

    assert [event.path for event in events if event.kind == "file"] == ["src/a.py", "/repo/../etc/b"]
    assert record.summary() == {"tools": {"Write": 1, "Edit": 2, "Read": 1}, "files": ["src/a.py", "/repo/../etc/b"]}


def test_what_a_tool_is_given_is_short_and_without_secrets() -> None:
    events, _ = _read(
        _calls("Bash", "c1", command="curl -H 'Authorization: Bearer abcdefghijklmnop0123'"),
        _calls("Odd", "c2", api_key="sk-0123456789abcdefghij", size=3),
        _calls("Bash", "c3", command="x" * 10_000),
    )
    inputs = [event.input for event in events if event.kind == "tool_call"]

    assert inputs[:2] == ["curl -H 'Authorization: Bearer •••'", '{"api_key": "•••", "size": 3}']
    assert len(inputs[2]) == 200


def test_tokens_of_a_message_count_once_however_often_it_comes() -> None:
    first = _says("one", usage={"input_tokens": 10, "output_tokens": 1})
    again = _says("two", usage={"input_tokens": 10, "output_tokens": 4})
    other = {"type": "assistant", "message": {"id": "m2", "content": [], "usage": {"input_tokens": 5}}}

    events, record = _read(first, first, again, other)

    used = [(event.input_tokens, event.output_tokens) for event in events if event.kind == "usage"]
    assert used == [(10, 1), (10, 4), (15, 4)]
    assert record.summary() == {"tokens": {"input": 15, "output": 4}}


def test_a_long_text_comes_in_pieces_each_of_which_fits_into_an_entry_of_a_log() -> None:
    text = "\x01😀" * TEXT_MOST + "\n" + "end"

    log, _ = _log([json.dumps(_says(text))])
    lines = log.text(AGENT).splitlines()

    assert max(len(line.encode()) for line in lines) < PIECE_BYTES
    said = [event.text for event in read_events(log.text(AGENT)) if event.kind == "text"]
    assert "".join(said) == text.replace("\n", "")


def test_a_very_long_line_is_cut_behind_its_events() -> None:
    log, _ = _log([json.dumps(_answers(text="x" * 2_000_000))])

    assert [stream for stream, _ in log._pieces] == [AGENT, RAW]
    assert read_events(log.text(AGENT))[0].size == 2_000_000  # type: ignore[union-attr]
    assert len(log.text(RAW)) <= LINE_MOST + 1
    assert "bytes cut] …" in log.text(RAW)


def test_tokens_of_a_very_long_run_are_all_counted() -> None:
    said = [{**_says("x"), "message": {"id": f"m{n}", "content": [], "usage": {"input_tokens": 2}}} for n in range(500)]

    _, record = _read(*said)

    assert record.summary()["tokens"] == {"input": 1_000, "output": 0}


def test_what_is_remembered_of_a_run_is_bounded() -> None:
    calls = [_calls(f"t{n}", f"c{n}") for n in range(200)]
    writes = [one for n in range(2_000) for one in (_calls("Write", f"w{n}", file_path=f"{n}"), _answers(f"w{n}"))]

    _, record = _read(*calls, *writes)

    told = record.summary()
    assert (len(told["files"]), len(told["tools"])) == (FILES_MOST, 50)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    ["plain", '{"type": "assist', '{"type": "of tomorrow"}', '{"type": "assistant", "message": 3}', "[]", ""],
)
def test_a_line_that_is_not_understood_is_output(line: str) -> None:
    log, found = _log([line])

    assert (log.text("stdout"), log.text(AGENT), log.text(RAW)) == (f"{line}\n", "", "")
    assert found.summary() == {}


@given(fields=st.dictionaries(st.sampled_from(["message", "subtype", "usage", "result", "cwd", "tools"]), _JSON))
def test_no_event_breaks_a_run(fields: dict[str, Any]) -> None:
    for kind in ("system", "assistant", "user", "result"):
        content = {"message": {"id": fields.get("cwd"), "content": [fields, {**fields, "type": "tool_use"}]}}
        for event in ({**fields, "type": kind}, {**fields, **content, "type": kind}, {"type": kind, "subtype": "init"}):
            log, found = _log([json.dumps(event)])
            assert all(isinstance(line_of(one), str) for one in read_events(log.text(AGENT)))
            json.dumps(found.summary())


def test_an_api_error_of_qwen_is_no_success() -> None:
    events, _ = _read({"type": "result", "subtype": "success", "is_error": False, "result": "[API Error: 401]"})

    assert [line_of(event) for event in events] == ["■ Failed: [API Error: 401]"]


def test_thinking_is_shown_only_on_request() -> None:
    part = {"type": "thinking", "thinking": "hm"}
    log, _ = _log([json.dumps({"type": "assistant", "message": {"content": [part]}}), json.dumps(_says("yes"))])

    assert shown(AGENT, log.text(AGENT)) == "yes\n"
    assert shown(AGENT, log.text(AGENT), thinking=True) == "… hm\nyes\n"
    assert [json.loads(line)["kind"] for line in event_lines(AGENT, log.text(AGENT)).splitlines()] == ["text"]


def test_the_programs_own_lines_stand_for_its_events_on_request() -> None:
    line = json.dumps(_says("yes"))
    log, _ = _log([line])

    assert shown(RAW, log.text(RAW)) == shown(AGENT, log.text(AGENT), raw=True) == ""
    assert shown(RAW, log.text(RAW), raw=True) == f"{line}\n"
    assert shown("stderr", "oh\n", raw=True) == shown("stderr", "oh\n") == "oh\n"


def test_a_piece_of_a_log_has_its_events_and_leaves_out_what_cannot_be_read() -> None:
    text = '{"kind":"file","path":"a"}\n{"kind":"of tomorrow"}\n{"kind":"fi'

    assert [event.kind for event in LogPiece("1-1", AGENT, text).events] == ["file"]
    assert LogPiece("1-1", "stdout", text).events == []
