"""What the commands ask of the manager, what they print where, and how errors end."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import typing
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.cli import distribute, execute
from mahavishnu_pools.cli.main import main, run
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.schemas.pool import DistributionStrategy, PoolSelector
from tests.fakes.cli_manager import FakeManager, task_result


class Shell:
    """Runs command lines against a manager in memory and keeps what was printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.manager = FakeManager()
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *arguments: str) -> int:
        code = run(["pools", *arguments], session=Session(lambda: typing.cast(typing.Any, self.manager)))
        printed = self._capsys.readouterr()
        self.out, self.err = printed.out, printed.err
        return code

    @property
    def error(self) -> dict[str, typing.Any]:
        error: dict[str, typing.Any] = json.loads(self.err)["error"]
        return error


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


# ── running tasks ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_task_options_reach_the_task(shell: Shell, tmp_path: Path) -> None:
    options = "--timeout 7 --priority 9 --idempotency-key k --env A=1 --env B=x=y --worker-type shell --wait-timeout 3"

    assert shell("execute", "local", "--prompt", "hi", "--cwd", str(tmp_path), *options.split()) == 0

    spec = shell.manager.called("submit")["spec"]
    assert (spec.prompt, spec.timeout, spec.priority, spec.idempotency_key) == ("hi", 7.0, 9, "k")
    assert (spec.env, spec.worker_type, spec.cwd) == ({"A": "1", "B": "x=y"}, "shell", str(tmp_path))
    assert shell.manager.called("submit")["pool"] == "local"
    assert shell.manager.called("result")["wait_timeout"] == 3.0


def test_options_not_given_are_left_to_the_manager(shell: Shell) -> None:
    shell("execute", "--prompt", "hi")

    assert shell.manager.called("submit")["task"] == {"prompt": "hi"}
    assert shell.manager.called("submit")["pool"] is None


def test_execute_says_where_the_task_went_and_prints_the_result_alone(shell: Shell) -> None:
    assert shell("execute", "--prompt", "hi") == 0

    assert shell.err == "✓ Routed to pool: pool_local\n"
    assert shell.out.splitlines()[:2] == ["✓ Task completed", "  Status: completed"]


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


def test_no_wait_returns_the_ids_at_once(shell: Shell) -> None:
    assert shell("route", "--prompt", "hi", "--no-wait", "-f", "json") == 0

    assert json.loads(shell.out) == {"task_id": "task_abc123", "pool_id": "pool_local", "status": "queued"}
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

    call = shell.manager.called("distribute")
    assert (call["strategy"], call["split_on"], call["reducer"], call["chunk_size"]) == ("map_reduce", "rows", "sum", 2)
    assert call["pools"] == ["local", "pool_abc"]
    assert shell.err.splitlines() == ["Distributing task across 2 pools...", "  Strategy: map_reduce"]


def test_progress_goes_to_standard_error_and_the_table_to_standard_output(shell: Shell) -> None:
    assert shell("distribute", "-t", "x", "--payload", '{"items": [1]}', "--format", "progress") == 0

    assert "100%" in shell.err
    assert "100%" not in shell.out
    assert shell.out.startswith("✓ Distribution completed")


def test_the_named_strategies_are_all_there_are() -> None:
    assert set(execute.SELECTORS) == {*PoolSelector}
    assert set(distribute.STRATEGIES) == {*DistributionStrategy}


# ── texts and payloads ───────────────────────────────────────────────────────────────────────────────────────────────


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


#: Arguments after ``pools``, and what the one sentence must name.
BAD_INPUT = [
    (["execute", "-t", "x", "--payload", '{"a": }'], ["--payload", "line 1", "column 7"]),
    (["execute", "-t", "x", "--payload", '{"a": [...]}'], ["--payload", "'...'"]),
    (["execute", "-t", "x", "--payload", "[1]"], ["--payload", "array"]),
    (["execute", "-t", "x", "--payload", '{"a": NaN}'], ["--payload", "NaN"]),
    (["execute", "-t", "x", "--payload", "[" * 100_000], ["--payload"]),
    (["execute", "-t", "x"], ["--payload", "missing"]),
    (["execute", "--payload", "{}"], ["--task-type", "missing"]),
    (["execute"], ["--prompt", "--task-type", "--payload"]),
    (["execute", "--prompt", " "], ["--prompt", "empty"]),
    (["execute", "--prompt", "a", "-t", "x", "--payload", "{}"], ["--prompt", "--task-type"]),
    (["execute", "--prompt", "@/no/such/file"], ["--prompt", "/no/such/file"]),
    (["execute", "--prompt", "a", "--env", "X"], ["--env", "NAME=VALUE"]),
    (["execute", "--prompt", "a", "--timeout", "-5"], ["--timeout"]),
    (["execute", "--prompt", "a", "--timeout", "soon"], ["--timeout", "soon"]),
    (["execute", "--prompt", "a", "--timeout", "nan"], ["--timeout"]),
    (["execute", "--prompt", "a", "--priority", "10"], ["--priority"]),
    (["execute", "local", "--pool", "other", "--prompt", "a"], ["local", "other"]),
    (["execute", "local", "--auto-route", "--prompt", "a"], ["--auto-route", "local"]),
    (["route", "--prompt", "a", "--selector", "best"], ["--selector", "best", "least_loaded"]),
    (["distribute", "-t", "x", "--payload", "{}", "-s", "best"], ["--strategy", "best", "map_reduce"]),
    (["distribute", "-t", "x", "--payload", "{}", "--chunk-size", "0"], ["--chunk-size"]),
    (["spawn", "--type", "mahavishnu"], ["--name"]),
    (["spawn", "--name", "a b"], ["--name", "a b"]),
    (["spawn", "--name", "pool_x"], ["--name", "pool_"]),
    (["spawn", "--name", "a", "--min", "5", "--max", "2"], ["min_workers (5)", "max_workers (2)"]),
    (["spawn", "--name", "a", "--min", "0"], ["--min-workers"]),
    (["spawn", "--name", "a", "--min", "many"], ["--min", "many"]),
    (["scale", "local"], ["--target"]),
    (["health", "--all", "--pool", "local"], ["--all", "--pool"]),
    (["list", "--format", "xml"], ["--format", "xml"]),
    (["list", "--format", "progress"], ["--format", "progress"]),
    (["close-all"], ["--yes"]),
    (["get"], ["POOL"]),
    (["lst"], ["lst"]),
]


@pytest.mark.parametrize(("arguments", "named"), BAD_INPUT, ids=lambda value: " ".join(value)[:60])
def test_bad_input_ends_with_2_names_the_option_and_changes_nothing(
    shell: Shell, arguments: list[str], named: list[str]
) -> None:
    code = shell(*arguments)

    assert code == 2
    assert shell.out == ""
    assert all(name in shell.err for name in named), shell.err
    assert shell.manager.calls == []


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


ERRORS = [
    (errors.PoolConflict.of("a", ["region"]), 2, "pool_conflict"),
    (errors.PoolNotFound.of("a"), 3, "pool_not_found"),
    (errors.PoolGone.of("a"), 3, "pool_gone"),
    (errors.NoPoolAvailable.of({"a": "is paused"}), 3, "no_pool_available"),
    (errors.StackNotRunning(), 4, "stack_not_running"),
    (errors.RedisUnavailable("Redis does not answer."), 4, "redis_unavailable"),
    (errors.NoAgent("No agent."), 4, "no_agent"),
    (errors.WaitTimeout.of("The result", 3), 5, "wait_timeout"),
]


@pytest.mark.parametrize(("error", "code", "name"), ERRORS, ids=lambda value: value if isinstance(value, str) else None)
def test_an_error_has_its_exit_code_and_is_json_when_asked(
    capsys: pytest.CaptureFixture[str], error: errors.MahavishnuError, code: int, name: str
) -> None:
    def refuse() -> typing.NoReturn:
        raise error

    assert run(["pools", "list"], session=Session(refuse)) == code
    assert capsys.readouterr() == ("", f"Error: {error.message}\n")

    assert run(["pools", "list", "-f", "json"], session=Session(refuse)) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert json.loads(printed.err) == {"error": {"code": name, "message": error.message, "details": error.details()}}


def test_usage_errors_are_json_when_asked(shell: Shell) -> None:
    assert shell("execute", "--prompt", "a", "--timeout", "soon", "--format=json") == 2

    assert shell.error["code"] == "usage"
    assert "soon" in shell.error["message"]
    assert shell.error["details"]["option"] == "--timeout"


def test_an_unknown_pool_or_task_ends_with_3(shell: Shell) -> None:
    assert shell("get", "nobody") == 3
    assert "nobody" in shell.err
    assert shell("task", "task_none") == 3
    assert shell("execute", "nobody", "--prompt", "a") == 3


def test_pools_switched_off_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MAHAVISHNU_POOLS_ENABLED", "false")

    assert main(["pools", "health", "-f", "json"]) == 2

    assert json.loads(capsys.readouterr().err)["error"]["code"] == "pools_disabled"


def test_the_manager_is_closed_after_success_and_failure(shell: Shell) -> None:
    shell("list")
    assert shell.manager.closed

    shell.manager.closed = False
    shell("get", "nobody")
    assert shell.manager.closed


def test_an_error_nobody_foresaw_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    def break_down() -> typing.NoReturn:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(["pools", "list"], session=Session(break_down))


async def _ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.Event().wait()


@pytest.mark.parametrize(("option", "cancelled"), [([], True), (["--no-cancel"], False)])
def test_ctrl_c_cancels_the_task_unless_told_otherwise(shell: Shell, option: list[str], cancelled: bool) -> None:
    shell.manager.wait = _ctrl_c

    assert shell("execute", "--prompt", "a", *option) == 130

    assert ("cancel" in [name for name, _ in shell.manager.calls]) is cancelled
    assert ("Cancelled task task_abc123" in shell.err) is cancelled
    assert ("task_abc123 goes on" in shell.err) is not cancelled


# ── pools ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_spawn_options_reach_the_configuration(shell: Shell) -> None:
    options = "-n new -t kubernetes -m 2 -w 4 -r eu --worker-type shell --tag gpu --tag big --node n1 --replicas 2"
    more = "--namespace ns --container-image img --endpoint http://e --import mod --celery-app a:b --no-wait"

    assert shell("register", *options.split(), *more.split(), "--allowed-root", "/srv") == 0

    call = shell.manager.called("spawn_pool")
    config = call["config"]
    assert (config.name, config.pool_type, config.min_workers, config.max_workers) == ("new", "kubernetes", 2, 4)
    assert (config.region, config.worker_type, config.tags, config.nodes) == ("eu", "shell", ("gpu", "big"), ("n1",))
    assert (config.replicas, config.imports, config.celery_app) == (2, ("mod",), "a:b")
    assert (config.endpoint, config.allowed_roots) == ("http://e", ("/srv",))
    assert config.extra_config == {"namespace": "ns", "container_image": "img"}
    assert call["wait"] is False


def test_spawn_takes_its_defaults_from_the_settings(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAHAVISHNU_POOL_DEFAULT_MAX_WORKERS", "3")

    shell("spawn", "--name", "new")
    config = shell.manager.called("spawn_pool")["config"]

    assert (config.pool_type, config.min_workers, config.max_workers) == ("mahavishnu", 1, 3)


def test_a_minimum_over_the_default_maximum_raises_it(shell: Shell) -> None:
    assert shell("spawn", "--name", "new", "--min", "20") == 0

    assert shell.manager.called("spawn_pool")["config"].max_workers == 20


@pytest.mark.parametrize(("verb", "status"), [("pause", "paused"), ("resume", "running"), ("drain", "draining")])
def test_a_change_prints_the_pool_as_it_is_now(shell: Shell, verb: str, status: str) -> None:
    assert shell(verb, "local", "-f", "json") == 0

    assert json.loads(shell.out)["status"] == status


def test_scale_hands_over_both_numbers(shell: Shell) -> None:
    assert shell("scale", "local", "--target", "20", "--max", "30") == 0

    assert shell.manager.called("scale_pool") == {"pool": "local", "target": 20, "max_workers": 30}


def test_close_prints_the_id_of_the_pool_that_was_named(shell: Shell) -> None:
    assert shell("close", "k8s", "--timeout", "5", "-f", "json") == 0

    assert json.loads(shell.out) == {"closed": ["pool_abc"]}
    assert shell.manager.called("close_pool") == {"pool": "pool_abc", "timeout": 5.0}


def test_close_all_closes_the_pools_of_everybody(shell: Shell) -> None:
    assert shell("close-all", "--yes", "-f", "json") == 0

    assert shell.manager.called("close_all") == {"scope": "all"}
    assert len(json.loads(shell.out)["closed"]) == 3


def test_cancel_says_what_came_of_it(shell: Shell) -> None:
    assert shell("cancel", "task_abc123", "-f", "json") == 0

    assert json.loads(shell.out) == {"task_id": "task_abc123", "status": "asked"}


def test_health_that_is_not_good_ends_with_1(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sick(pool: str | None = None) -> dict[str, typing.Any]:
        return {"status": "degraded", "pools_active": 0, "pools": [], "agents": 0}

    monkeypatch.setattr(shell.manager, "health_check", sick)

    assert shell("health") == 1


def test_the_shell_offers_the_names_of_pools(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_MAHAVISHNU_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "mahavishnu pools get lo")
    monkeypatch.setenv("COMP_CWORD", "3")

    with pytest.raises(SystemExit):
        shell()

    assert "local-pool" in shell._capsys.readouterr().out
