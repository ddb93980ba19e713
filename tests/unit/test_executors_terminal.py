"""Prompts on AI programs: stand-ins on PATH that print recorded event streams."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.worker_types import BUILT_IN, WorkerType
from tests.fakes.run_context import install_program, run

INIT = {"type": "system", "subtype": "init", "session_id": "s1", "model": "m"}
RESULT = {
    "type": "result", "subtype": "success", "is_error": False, "duration_ms": 5, "num_turns": 1, "result": "the answer",
    "usage": {"input_tokens": 3}, "session_id": "s1", "total_cost_usd": 0.25,
}  # fmt: skip


def _script(*events: dict[str, object], code: int = 0, stderr: str = "") -> str:
    lines = "\n".join(json.dumps(event) for event in events)
    return (
        f"cat > received; printf '%s' \"$*\" > arguments\ncat <<'END'\n{lines}\nEND\necho '{stderr}' >&2; exit {code}\n"
    )


def _run(tmp_path: Path, script: str, *, program: str = "claude", **spec: object) -> Outcome:
    path = f"{install_program(tmp_path / 'bin', program, script)}:/usr/bin:/bin"
    (tmp_path / "cwd").mkdir(exist_ok=True)
    fields = {"prompt": "-do this", **spec}
    name = f"terminal-{program}"
    return run(
        fields, worker_type=name, env={"PATH": path, "ANTHROPIC_API_KEY": "sk-ant-12345"}, default_cwd=tmp_path / "cwd"
    )


def test_the_final_answer_is_the_output_and_the_rest_metadata(tmp_path: Path) -> None:
    outcome = _run(tmp_path, _script(INIT, RESULT))

    assert (outcome.status, outcome.output, outcome.exit_code) == ("completed", "the answer", 0)
    assert outcome.metadata["total_cost_usd"] == 0.25
    assert outcome.metadata["usage"] == {"input_tokens": 3}
    assert outcome.metadata["session_id"] == "s1"


def test_the_prompt_goes_to_standard_input_not_to_the_arguments(tmp_path: Path) -> None:
    _run(tmp_path, _script(RESULT))

    assert (tmp_path / "cwd" / "received").read_text() == "-do this"
    assert (tmp_path / "cwd" / "arguments").read_text() == (
        "-p --output-format stream-json --verbose --permission-mode acceptEdits"
    )


def test_a_prompt_larger_than_any_argument_works(tmp_path: Path) -> None:
    assert _run(tmp_path, _script(RESULT), prompt="x" * 500_000).status == "completed"
    assert (tmp_path / "cwd" / "received").stat().st_size == 500_000


def test_an_api_error_of_qwen_is_a_failure_although_it_exits_0(tmp_path: Path) -> None:
    event = {**RESULT, "result": "[API Error: 401 wrong key]"}

    outcome = _run(tmp_path, _script(INIT, event), program="qwen")

    assert (outcome.status, outcome.retryable) == ("failed", None)
    assert (outcome.error or "").startswith("qwen reports: [API Error: 401 wrong key] To log in: run 'qwen'")


@pytest.mark.parametrize(
    ("program", "event"),
    [
        ("claude", {"is_error": True, "api_error_status": None, "result": "Not logged in · Please run /login"}),
        ("claude", {"is_error": True, "api_error_status": 401, "result": "Invalid API key · Fix external API key"}),
        ("qwen", {"is_error": False, "result": "[API Error: 401 invalid x-api-key]"}),
        ("qwen", {"is_error": True, "result": None, "error": {"message": "No auth type is selected. Please"}}),
        ("qwen", {"is_error": True, "result": None, "error": {"message": "Missing API key for OpenAI-compatible"}}),
    ],
)
def test_a_program_that_is_not_logged_in_says_so_with_the_remedy(
    tmp_path: Path, program: str, event: dict[str, object]
) -> None:
    outcome = _run(tmp_path, _script(INIT, {**RESULT, **event}, code=1), program=program)

    assert (outcome.status, outcome.metadata["logged_out"]) == ("failed", True)
    assert f"To log in: run '{program}' as the user of its agent" in (outcome.error or "")


def test_a_program_of_plain_text_may_say_so_too(tmp_path: Path) -> None:
    own = WorkerType(name="own", argv=("sh", "-c", "echo no login >&2; exit 1"), logged_out="^no login")

    outcome = run({"prompt": "x"}, worker_type="own", services={"worker_types": {"own": own}})

    assert (outcome.error, outcome.metadata["logged_out"]) == ("The command ended with exit code 1: no login.", True)


@pytest.mark.parametrize(
    "event",
    [
        {"is_error": True, "api_error_status": 403, "result": "forbidden"},
        {"is_error": True, "api_error_status": 500, "result": "line 401 is wrong"},
        {"is_error": False, "result": "Not logged in · Please run /login"},
    ],
)
def test_no_other_failure_and_no_answer_counts_as_a_missing_login(tmp_path: Path, event: dict[str, object]) -> None:
    assert "logged_out" not in _run(tmp_path, _script(INIT, {**RESULT, **event})).metadata


def test_output_that_merely_mentions_an_error_is_no_failure(tmp_path: Path) -> None:
    event = {**RESULT, "result": "Fixed: the log said error: 429 too many requests"}

    assert _run(tmp_path, _script(INIT, event)).status == "completed"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("rate limited (429)", "rate_limit"),
        ("Overloaded", "overload"),
        ("connect ECONNREFUSED", "connection"),
        ("no", None),
    ],
)
def test_a_failing_api_says_whether_another_attempt_makes_sense(tmp_path: Path, said: str, cause: str | None) -> None:
    event = {**RESULT, "is_error": True, "result": said}

    outcome = _run(tmp_path, _script(INIT, event, code=1))

    assert (outcome.status, outcome.retryable, outcome.exit_code) == ("failed", cause, 1)
    assert said in (outcome.error or "")


def test_the_status_of_the_api_is_enough_to_know_a_rate_limit(tmp_path: Path) -> None:
    event = {**RESULT, "is_error": True, "result": "try later", "api_error_status": 429}

    assert _run(tmp_path, _script(event, code=1)).retryable == "rate_limit"


def test_a_program_that_fails_before_its_first_event_shows_its_last_words(tmp_path: Path) -> None:
    outcome = _run(tmp_path, "echo 'Please run /login' >&2; exit 1")

    assert outcome.error == "claude ended with exit code 1: Please run /login"


def test_a_stream_without_its_final_event_is_a_failure_that_keeps_the_text(tmp_path: Path) -> None:
    said = {
        "type": "assistant",
        "message": {"content": [{"type": "text", "text": "so far"}]},
        "parent_tool_use_id": None,
    }

    outcome = _run(tmp_path, _script(INIT, said))

    assert (outcome.status, outcome.output) == ("failed", "so far")
    assert "broke off" in (outcome.error or "")


def test_plain_text_of_a_program_is_taken_as_its_answer(tmp_path: Path) -> None:
    assert _run(tmp_path, "echo plain answer").output == "plain answer\n"


def test_silence_is_a_failure(tmp_path: Path) -> None:
    assert "without an answer" in (_run(tmp_path, "exit 0").error or "")


def test_a_timeout_keeps_what_was_said_and_the_session(tmp_path: Path) -> None:
    said = {
        "type": "assistant",
        "message": {"content": [{"type": "text", "text": "so far"}]},
        "parent_tool_use_id": None,
    }

    outcome = _run(tmp_path, _script(INIT, said).replace("exit 0", "sleep 60"), timeout=3)

    assert (outcome.status, outcome.output, outcome.metadata["session_id"]) == ("timeout", "so far", "s1")


def test_an_answer_over_the_limit_is_cut(tmp_path: Path) -> None:
    outcome = _run(tmp_path, _script({**RESULT, "result": "y" * 400_000}))

    assert outcome.status == "completed"
    assert "bytes cut] …" in outcome.output
    assert len(outcome.output) <= 256 * 1024


def test_the_key_of_the_program_passes_but_is_masked(tmp_path: Path) -> None:
    outcome = _run(tmp_path, 'printf "%s" "$ANTHROPIC_API_KEY" | wc -c; echo "$ANTHROPIC_API_KEY"')

    assert outcome.output.split() == ["12", "•••"]


def test_the_worker_type_of_the_task_wins_over_the_pools() -> None:
    assert run({"prompt": "echo hi", "worker_type": "shell"}, worker_type="terminal-claude").output == "hi\n"


def test_without_a_worker_type_the_first_installed_program_is_taken(tmp_path: Path) -> None:
    directory = install_program(tmp_path, "qwen", "echo from qwen")
    install_program(tmp_path, "claude", "echo from claude")

    assert run({"prompt": "x"}, env={"PATH": f"{directory}:/usr/bin:/bin"}).output == "from qwen\n"


@pytest.mark.parametrize("worker_type", [None, "terminal-claude"])
def test_a_missing_program_fails_with_the_install_command(worker_type: str | None, tmp_path: Path) -> None:
    outcome = run({"prompt": "x"}, worker_type=worker_type, env={"PATH": str(tmp_path)})

    assert outcome.status == "failed"
    assert "npm install -g" in (outcome.error or "")


def test_an_unknown_worker_type_names_the_known_ones() -> None:
    assert "terminal-qwen" in (run({"prompt": "x"}, worker_type="no-such").error or "")


def test_a_worker_type_of_the_users_own_runs(tmp_path: Path) -> None:
    own = WorkerType(name="own", argv=("own-ai", "--ask", "{prompt}"), prompt_via="argument")
    directory = install_program(tmp_path, "own-ai", 'echo "$1 $2"')

    outcome = run(
        {"prompt": "$(id); why?"},
        worker_type="own",
        services={"worker_types": {**BUILT_IN, "own": own}},
        env={"PATH": f"{directory}:{os.environ['PATH']}"},
    )

    assert outcome.output == "--ask $(id); why?\n"


def test_an_unregistered_task_type_reaches_an_ai_program_as_json(tmp_path: Path) -> None:
    outcome = _run(tmp_path, "cat", prompt=None, task_type="compute", payload={"query": "é"})

    assert json.loads(outcome.output) == {"task_type": "compute", "payload": {"query": "é"}}


@pytest.mark.parametrize("worker_type", [None, "shell"])
def test_an_unregistered_task_type_elsewhere_fails_naming_the_registered_ones(worker_type: str | None) -> None:
    outcome = run({"task_type": "compute", "payload": {}}, worker_type=worker_type)

    names = "analyze, container, http, judge, judge:python, prompt, python, reduce, shell"
    assert outcome.error == f"Unknown task type 'compute'. Use one of: {names}."
