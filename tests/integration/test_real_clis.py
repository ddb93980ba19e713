"""The real claude and qwen, installed from the npm registry, against a model server on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mahavishnu_pools.schemas.agent_event import AGENT, read_events
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.store.client import SyncStore
from tests.fakes.model_server import FakeModel, serve_model
from tests.fakes.run_context import RecordingLog, left_running, make_context
from workers.executors.interface import RunContext
from workers.executors.registry import execute
from workers.sessions import Sessions

pytestmark = [pytest.mark.slow, pytest.mark.cli_real, pytest.mark.timeout(400)]

PACKAGES = {"claude": "@anthropic-ai/claude-code@2.1.197", "qwen": "@qwen-code/qwen-code@0.15.10"}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install both programs and give the directory that holds them."""
    prefix = tmp_path_factory.mktemp("npm")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    command = [
        npm,
        "install",
        "--prefix",
        str(prefix),
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        *PACKAGES.values(),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as exc:
        pytest.skip(f"the npm registry cannot be used: {exc}")
    return prefix / "node_modules" / ".bin"


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with serve_model() as served:
        yield served


@pytest.fixture(params=sorted(PACKAGES))
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _context(program: str, programs: Path, model: FakeModel, home: Path, **spec: object) -> RunContext:
    env = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "ANTHROPIC_API_KEY": "sk-ant-fake-key",
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_MODEL": "claude-sonnet-4-5",
        "CLAUDE_CODE_MAX_RETRIES": "1",
        "OPENAI_API_KEY": "sk-openai-fake-key",
        "OPENAI_BASE_URL": f"{model.url}/v1",
        "OPENAI_MODEL": "fake",
    }
    fields = {"prompt": "--what is the answer?", "timeout": 90.0, **spec}
    return make_context(fields, worker_type=f"terminal-{program}", env=env)


def _run(program: str, programs: Path, model: FakeModel, home: Path, **spec: object) -> Outcome:
    return execute(_context(program, programs, model, home, **spec))


def test_the_answer_of_the_model_is_the_output(program: str, programs: Path, model: FakeModel, tmp_path: Path) -> None:
    outcome = _run(program, programs, model, tmp_path)

    assert (outcome.status, outcome.output, outcome.exit_code) == ("completed", "the answer is 42", 0)
    assert "--what is the answer?" in model.asked()
    assert outcome.metadata["session_id"]
    assert isinstance(outcome.metadata["usage"], dict)
    assert "fake-key" not in outcome.model_dump_json()


def test_claude_says_what_it_cost(programs: Path, model: FakeModel, tmp_path: Path) -> None:
    assert _run("claude", programs, model, tmp_path).metadata["total_cost_usd"]


def test_a_prompt_longer_than_an_argument_may_be_arrives(
    program: str, programs: Path, model: FakeModel, tmp_path: Path
) -> None:
    outcome = _run(program, programs, model, tmp_path, prompt="word " * 40_000 + "the-very-end")

    assert outcome.status == "completed"
    assert "the-very-end" in model.asked()


def test_a_tool_the_model_calls_and_the_file_it_writes_are_in_the_record(
    program: str, programs: Path, model: FakeModel, tmp_path: Path
) -> None:
    tool = {"claude": "Write", "qwen": "write_file"}[program]
    (tmp_path / "repo").mkdir()
    model.tool = (tool, {"file_path": str(tmp_path / "repo" / "made.txt"), "content": "hello"})
    context = _context(program, programs, model, tmp_path, cwd=str(tmp_path / "repo"))

    outcome = execute(context)

    assert (tmp_path / "repo" / "made.txt").read_text() == "hello"
    assert outcome.metadata["tools"] == {tool: 1}
    assert outcome.metadata["files"] == ["made.txt"]
    assert outcome.metadata["tokens"] == {"input": 14, "output": 10}
    assert outcome.metadata["turns"] == 2
    assert isinstance(context.log, RecordingLog)
    kinds = [event.kind for event in read_events(context.log.text(AGENT)) if event.kind != "usage"]
    assert kinds == ["started", "tool_call", "tool_result", "file", "text", "finished"]
    assert context.log.text("stdout") == ""


def test_two_turns_of_a_session_keep_their_context(
    program: str, programs: Path, model: FakeModel, tmp_path: Path, redis_url: str, namespace: str
) -> None:
    (tmp_path / "repo").mkdir()
    turn = {"session": "fix", "cwd": str(tmp_path / "repo")}
    with SyncStore(redis_url, namespace=namespace) as store:
        services = {"sessions": Sessions(store, node="node1")}

        def say(prompt: str) -> Outcome:
            context = _context(program, programs, model, tmp_path, prompt=prompt, **turn)
            return execute(replace(context, services=services))

        first = say("the word is Zanzibar")
        model.requests.clear()
        second = say("which word was it?")
        asked = model.asked()
        for name in ("projects", "tmp", "chats"):  # wherever it keeps them: the session's files are gone
            for found in list(tmp_path.rglob(name)):
                shutil.rmtree(found, ignore_errors=True)
        model.requests.clear()
        third = say("and now?")

    assert "the word is Zanzibar" in asked
    assert "which word was it?" in asked
    assert second.metadata["session"] == {"key": "fix", "state": "resumed"}
    assert second.metadata["session_id"] == first.metadata["session_id"]
    assert third.status == "completed"
    assert "Zanzibar" not in model.asked()
    told = third.metadata["session"]
    assert isinstance(told, dict)
    assert "does not know the one before" in str(told["why"])
    assert third.metadata["session_id"] != first.metadata["session_id"]


def test_a_wrong_request_fails_and_is_not_worth_another_attempt(
    program: str, programs: Path, model: FakeModel, tmp_path: Path
) -> None:
    model.status = 400

    outcome = _run(program, programs, model, tmp_path)

    assert (outcome.status, outcome.retryable) == ("failed", None)
    assert "400" in (outcome.error or "")


def test_too_many_requests_at_claude_are_worth_another_attempt(
    programs: Path, model: FakeModel, tmp_path: Path
) -> None:
    model.status = 429

    outcome = _run("claude", programs, model, tmp_path)

    assert (outcome.status, outcome.retryable) == ("failed", "rate_limit")


def test_a_program_that_waits_for_the_model_is_ended_at_the_timeout(
    program: str, programs: Path, model: FakeModel, tmp_path: Path
) -> None:
    # Both try again by themselves, with growing pauses.
    model.status = 429
    context = _context(program, programs, model, tmp_path, timeout=12.0)
    context.spec.env.update({"CLAUDE_CODE_MAX_RETRIES": "10"})

    outcome = execute(context)

    assert outcome.status == "timeout"
    assert left_running(context) == []
    assert isinstance(context.log, RecordingLog)
    assert "session_id" in outcome.metadata


def test_without_a_login_it_says_so_in_a_way_that_is_understood(
    program: str, programs: Path, model: FakeModel, tmp_path: Path
) -> None:
    context = _context(program, programs, model, tmp_path)
    secrets = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL")
    env = {name: value for name, value in context.env.items() if name not in secrets}

    outcome = execute(replace(context, env=env))

    assert (outcome.status, outcome.metadata.get("logged_out")) == ("failed", True), outcome.error
