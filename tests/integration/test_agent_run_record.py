"""What an AI program does, from a real worker group to its log, its result, the memory and everybody who looks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.memory.records import record_of
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.server.waiting import _Lines
from mahavishnu_pools.store import keys, logs
from tests.fakes.run_context import install_program
from tests.fixtures.command_line import Cli
from tests.fixtures.groups import Site
from tests.integration.test_page_api import client, frames

STREAMS = Path(__file__).parent.parent / "fixtures" / "agent_streams"

#: Prints what was recorded of the real program, with what else a program may print between.
RECORDED = "cat > /dev/null; head -n 1 {0}; echo 'a remark'; echo '{{\"type\": \"of tomorrow\"}}'; tail -n +2 {0}"

LONG = {"type": "result", "subtype": "success", "is_error": False, "num_turns": 1, "result": "word " * 8_000}


class Programs:
    """A pool with a real group that has the programs, and what became of a prompt."""

    def __init__(self, site: Site) -> None:
        self.site = site
        directory = site.directory / "bin"
        install_program(directory, "claude", RECORDED.format(STREAMS / "claude.jsonl"))
        install_program(directory, "qwen", RECORDED.format(STREAMS / "qwen.jsonl"))
        self.directory = directory
        self.pool = site.pool("agents", worker_type="terminal-claude")
        site.group(self.pool, env={"PATH": f"{directory}:{os.environ['PATH']}"})

    def run(self, program: str, **spec: Any) -> TaskResult:
        fields = {"prompt": "write the file", "worker_type": f"terminal-{program}", **spec}
        task = self.site.client().send_task(names.RUN_TASK, args=[fields], queue=names.queue_of(self.pool))
        return self.site.outcome(str(task.id), within=60)

    def pieces(self, task_id: str) -> list[logs.LogPiece]:
        return self.site.run(logs.read_log(task_id))


@pytest.fixture(scope="module")
def programs(site: Site) -> Programs:
    return Programs(site)


@pytest.fixture
def cli(site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", site.url)
    return Cli(capsys)


@pytest.mark.parametrize("program", ["claude", "qwen"])
def test_a_run_is_in_the_log_as_events_and_summed_up_in_the_result(programs: Programs, program: str) -> None:
    result = programs.run(program)
    pieces = programs.pieces(result.task_id)

    assert (result.status, result.output) == ("completed", "the answer is 42")
    assert result.metadata["files"] == ["made.txt"]
    assert result.metadata["tools"] == {"Write" if program == "claude" else "write_file": 1}
    assert result.metadata["tokens"] == {"input": 14, "output": 10}
    assert result.metadata["turns"] == 2
    assert {"model", "session_id"} <= result.metadata.keys()
    assert ("cost_usd" in result.metadata) is (program == "claude")
    events = [event.kind for piece in pieces for event in piece.events]
    assert [kind for kind in events if kind != "usage"] == [
        "started", "tool_call", "tool_result", "file", "text", "finished",
    ]  # fmt: skip
    said = "".join(piece.text for piece in pieces if piece.stream == "stdout")
    assert said == 'a remark\n{"type": "of tomorrow"}\n'


def test_the_command_line_shows_a_line_for_each_event_and_the_programs_own_on_request(
    programs: Programs, cli: Cli
) -> None:
    task_id = programs.run("claude").task_id
    recorded = (STREAMS / "claude.jsonl").read_text().splitlines()

    shown = cli("pools", "logs", task_id)
    own = cli("pools", "logs", task_id, "--raw")
    events = [json.loads(line) for line in cli("pools", "logs", task_id, "--events", "--follow").splitlines()]
    told = cli.json("pools", "task", task_id, "--follow")

    assert shown.splitlines() == [
        "▶ Session c82f06cc with claude-sonnet-4-5",
        "a remark",
        '{"type": "of tomorrow"}',
        "→ Write: made.txt",
        "  7 tokens in, 5 out",
        "  ✓ Write: 110 characters",
        "  ✎ made.txt",
        "the answer is 42",
        "  14 tokens in, 10 out",
        "■ Finished (2 turns, 14 tokens in, 10 out, $0.0003, 0.1 s)",
    ]
    assert [line for line in own.splitlines() if line in recorded] == recorded
    assert "▶" not in own
    assert [event["kind"] for event in events][:2] == ["started", "tool_call"]
    assert told["metadata"]["files"] == ["made.txt"]
    assert cli("pools", "logs", task_id, "--events", "--raw", code=2) == ""
    assert "excludes --raw" in cli.err


def test_memory_keeps_tools_files_and_cost_also_of_a_long_answer(programs: Programs) -> None:
    answer = f"{json.dumps(LONG)}\n"
    (programs.directory / "long.jsonl").write_text(answer)
    recorded = f"head -n 4 {STREAMS / 'claude.jsonl'}; cat {programs.directory / 'long.jsonl'}"
    own = install_program(programs.directory / "long", "claude", f"cat > /dev/null; {recorded}")

    short = programs.run("claude")
    long = programs.run("claude", env={"PATH": f"{own}:{os.environ['PATH']}"})

    entries = programs.site.redis.xrange(keys.key("outbox", prefix=""))
    records = {fields["task"]: record_of(fields) for _, fields in entries}
    assert len(long.output or "") > 24 * 1024
    for result in (short, long):
        told = records[result.task_id].metadata
        assert (told["tools"], told["files"]) == (["Write"], ["made.txt"])
    assert records[short.task_id].metadata["cost_usd"] == short.metadata["cost_usd"]


def test_a_group_goes_on_with_the_session_of_a_task_before(programs: Programs, tmp_path: Path) -> None:
    turns = [programs.run("claude", session="fix", cwd=str(programs.site.directory)) for _ in range(2)]

    told = [turn.metadata["session"] for turn in turns]
    assert [one["state"] for one in told] == ["fresh", "resumed"]  # type: ignore[index, call-overload]


async def test_the_page_and_assistants_are_shown_what_the_program_does(server: str, manager: PoolManager) -> None:
    task = (await manager.submit({"prompt": "hold"}, pool="local")).task_id
    store = await manager.memory_store()
    event = '{"kind":"tool_call","call_id":"c","tool":"Bash","input":"make test"}\n'
    await store.run(logs.write_log(task, [("raw", '{"its": "own line"}\n'), ("agent", event)], ttl=60))

    async with client(server) as http, http.stream("GET", f"/api/stream/tasks/{task}") as answer:
        _, pieces = await anext(frames(answer.aiter_lines(), "log"))
    async with McpClient(server) as mcp:
        log = await mcp.call("pool_log", {"task_id": task})
        await mcp.call("pool_cancel", {"task_id": task})
    lines = _Lines()
    await lines.read(manager, task)

    assert [(piece["stream"], piece["text"]) for piece in pieces] == [("agent", "→ Bash: make test\n")]
    assert log.value["text"] == "→ Bash: make test\n"
    assert lines.last == "→ Bash: make test"
