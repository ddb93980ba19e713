"""What the commands that run tasks ask of the manager, and what they print where."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from mahavishnu_pools.cli import distribute, options
from mahavishnu_pools.cli.session import submitter_directory
from mahavishnu_pools.routing.measured import BUILT_IN
from mahavishnu_pools.schemas.pool import DistributionStrategy, PoolSelector, PoolStatus
from tests.fakes.cli_manager import pool_info, task_result
from tests.fakes.cli_shell import Shell


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_all_task_options_reach_the_task(shell: Shell, tmp_path: Path) -> None:
    given = "--timeout 7 --priority 9 --idempotency-key k --env A=1 --env B=x=y --worker-type shell --wait-timeout 3"

    assert shell("execute", "local", "--prompt", "hi", "--cwd", str(tmp_path), *given.split()) == 0

    spec = shell.manager.called("submit")["spec"]
    assert (spec.prompt, spec.timeout, spec.priority, spec.idempotency_key) == ("hi", 7.0, 9, "k")
    assert (spec.env, spec.worker_type, spec.cwd) == ({"A": "1", "B": "x=y"}, "shell", str(tmp_path))
    assert shell.manager.called("submit")["pool"] == "local"
    assert shell.manager.called("result")["wait_timeout"] == 3.0


def test_options_not_given_are_left_to_the_manager(shell: Shell) -> None:
    shell("execute", "--prompt", "hi")

    assert shell.manager.called("submit")["task"] == {"prompt": "hi"}
    assert shell.manager.called("submit")["pool"] is None


def test_a_task_without_a_directory_runs_where_the_user_stands_on_the_local_stack_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    assert submitter_directory() == str(tmp_path)
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", "redis://elsewhere:6379/0")
    assert submitter_directory() is None


def test_the_sessions_directory_is_the_tasks_unless_one_is_named(shell: Shell) -> None:
    shell.directory = "/where/i/am"

    shell("execute", "--prompt", "hi")
    shell("distribute", "-t", "x", "--payload", '{"items": [1]}', "--cwd", "/named")

    assert shell.manager.called("submit")["task"]["cwd"] == "/where/i/am"
    assert shell.manager.called("start_distribution")["task"]["cwd"] == "/named"


def test_execute_says_where_the_task_went_and_prints_the_result_alone(shell: Shell) -> None:
    assert shell("execute", "--prompt", "hi") == 0

    assert shell.err == "✓ Routed to pool: pool_local\n  Task: task_abc123\n  Name: local\n"
    assert shell.out.splitlines()[:2] == ["✓ Task completed", "  Status: completed"]


@pytest.mark.parametrize(("status", "hint"), [("paused", True), ("initializing", False)])
def test_execute_says_when_the_pool_starts_nothing_and_how_to_resume_it(
    shell: Shell, status: PoolStatus, hint: bool
) -> None:
    shell.manager.pools = [pool_info("local", status=status)]

    assert shell("execute", "local", "--prompt", "hi") == 0

    assert f"Pool local is {status}, so the task waits." in shell.err
    assert ("mahavishnu pools resume local" in shell.err) is hint


def test_execute_says_why_a_pool_is_degraded_whose_task_may_wait(shell: Shell) -> None:
    shell.manager.pools = [pool_info("local", status="degraded", reason="Its module 'web' cannot be imported.")]

    assert shell("execute", "local", "--prompt", "hi") == 0

    assert "Pool local is degraded, so the task may wait. Its module 'web' cannot be imported." in shell.err


def test_json_comes_without_talk(shell: Shell) -> None:
    assert shell("execute", "--prompt", "hi", "-f", "json") == 0

    assert shell.err == ""
    assert json.loads(shell.out)["task_id"] == "task_abc123"


@pytest.mark.parametrize("status", ["failed", "timeout", "cancelled", "dead"])
def test_a_task_without_success_ends_with_1(shell: Shell, status: str) -> None:
    shell.manager.outcome = task_result(status=status)

    assert shell("execute", "--prompt", "hi") == 1
    assert shell("route", "--prompt", "hi") == 1
    assert shell("distribute", "-t", "x", "--payload", '{"items": [1]}') == 1
    assert shell("task", "task_abc123") == 0
    assert shell("task", "task_abc123", "--follow") == 1


@pytest.mark.parametrize("command", ["execute", "route"])
def test_follow_shows_the_output_while_it_comes_and_then_the_result(shell: Shell, command: str) -> None:
    assert shell(command, "--prompt", "hi", "--follow", "--wait-timeout", "9") == 0

    assert shell.err.splitlines()[3:] == ["one", "two"]
    assert "Task completed" in shell.out
    assert shell.manager.called("follow") == {"task_id": "task_abc123", "wait_timeout": 9.0}
    assert shell(command, "--prompt", "hi", "--follow", "--no-wait") == 2
    assert "--no-wait does not" in shell.err


def test_no_wait_returns_the_ids_at_once(shell: Shell) -> None:
    assert shell("route", "--prompt", "hi", "--no-wait", "-f", "json") == 0

    told = json.loads(shell.out)
    batch = shell.manager.called("submit")["batch_id"]
    about = {"task_id": "task_abc123", "pool_id": "pool_local", "status": "queued", "batch_id": batch}
    assert told == {**about, "new": True}
    assert [name for name, _ in shell.manager.calls] == ["submit"]


def test_no_wait_of_a_distribution_returns_batch_and_tasks(shell: Shell) -> None:
    assert shell("distribute", "-t", "x", "--payload", '{"items": [1, 2]}', "--no-wait", "-f", "json") == 0

    assert json.loads(shell.out)["task_ids"] == ["task_1", "task_2"]


def test_route_hands_over_selector_and_affinity(shell: Shell) -> None:
    shell("route", "--prompt", "hi", "--selector", "affinity", "--affinity", "user-1")

    call = shell.manager.called("submit")
    assert (call["pool_selector"], call["pool_affinity"]) == ("affinity", "user-1")


def test_distribute_hands_over_all_its_options(shell: Shell) -> None:
    options = "-s map_reduce --split-on rows --reducer sum --chunk-size 2 --pool local --pool pool_abc"

    assert shell("distribute", "-t", "x", "--payload", '{"rows": [1]}', *options.split()) == 0

    call = shell.manager.called("start_distribution")
    assert (call["strategy"], call["split_on"], call["reducer"], call["chunk_size"]) == ("map_reduce", "rows", "sum", 2)
    assert call["pools"] == ["local", "pool_abc"]
    assert shell.err.splitlines() == [
        *("Distributing task across 2 pools...", "  Strategy: map_reduce", "  Batch: batch_1")
    ]


def test_filters_reach_the_manager(shell: Shell) -> None:
    options = "--pool-filter mahavishnu --tag gpu --tag big --region eu --pool-worker-type shell"

    shell("route", "--prompt", "hi", *options.split())

    filters = shell.manager.called("submit")["filters"]
    assert (filters.pool_type, filters.tags, filters.region) == ("mahavishnu", ("gpu", "big"), "eu")
    assert filters.worker_type == "shell"


def test_progress_goes_to_standard_error_and_the_table_to_standard_output(shell: Shell) -> None:
    assert shell("distribute", "-t", "x", "--payload", '{"items": [1]}', "--format", "progress") == 0

    assert "100%" in shell.err
    assert "100%" not in shell.out
    assert shell.out.startswith("✓ Distribution completed")


def test_the_named_strategies_are_all_there_are() -> None:
    assert set(options.SELECTORS) == {*PoolSelector, *BUILT_IN}
    assert set(distribute.STRATEGIES) == {*DistributionStrategy}


def test_a_prompt_comes_from_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("from a file\n", encoding="utf-8")

    shell("execute", "--prompt", f"@{tmp_path}/prompt.txt")

    assert shell.manager.called("submit")["spec"].prompt == "from a file\n"


def test_a_prompt_comes_from_standard_input(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("grüße".encode())))

    shell("execute", "--prompt", "-")

    assert shell.manager.called("submit")["spec"].prompt == "grüße"


def test_a_doubled_at_sign_is_a_text(shell: Shell) -> None:
    shell("execute", "--prompt", "@@alice hello")

    assert shell.manager.called("submit")["spec"].prompt == "@alice hello"


def test_a_payload_comes_from_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"a": 1}', encoding="utf-8")

    shell("execute", "-t", "x", "--payload", f"@{tmp_path}/p.json")

    assert shell.manager.called("submit")["spec"].payload == {"a": 1}


@pytest.mark.parametrize(
    ("before", "said"),
    [("queued", "it will not run"), ("cancelled", "✓"), ("cancelled", "it will not run"), ("completed", "✓")],
)
def test_cancelling_says_what_it_did(shell: Shell, before: str, said: str) -> None:
    shell.manager.outcome = task_result(status=before)
    shell.manager.answer = "cancelled" if before == "queued" else before

    assert shell("cancel", "task_abc123") == 0

    assert (said in shell.out) is (before == "queued")
    assert ("was cancelled already" in shell.out) is (before == "cancelled")
    assert ("had ended before: completed" in shell.out) is (before == "completed")


def test_people_read_names_of_pools_and_programs_their_ids(shell: Shell) -> None:
    shell("distribute", "-t", "x", "--payload", '{"items": [1]}')
    assert "pool_local" not in shell.out
    assert "local" in shell.out
    shell("task", "task_abc123")
    assert "Pool: local (pool_local)" in shell.out

    shell("task", "task_abc123", "-f", "json")
    assert json.loads(shell.out)["pool_id"] == "pool_local"
