"""How command lines end that cannot be carried out: one sentence, the right exit code, nothing changed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import typing
from importlib import metadata

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.cli.main import main, run
from mahavishnu_pools.cli.session import Session
from tests.fakes.cli_manager import pool_info
from tests.fakes.cli_shell import Shell


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


class Refusing:
    """A manager that refuses whatever it is asked."""

    def __init__(self, error: errors.MahavishnuError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> typing.Any:
        async def refuse(*_: object, **__: object) -> None:
            if name != "close":
                raise self._error

        return refuse


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
    (["execute", "local", "--tag", "gpu", "--prompt", "a"], ["--tag"]),
    (["route", "--prompt", "a", "--selector", "best"], ["--selector", "best", "least_loaded"]),
    (["distribute", "-t", "x", "--payload", "{}", "-s", "best"], ["--strategy", "best", "map_reduce"]),
    (["distribute", "-t", "x", "--payload", "{}", "--chunk-size", "0"], ["--chunk-size"]),
    (["distribute", "-t", "x", "--payload", "{}", "--session", "k"], ["No such option", "--session"]),
    (["race", "--prompt", "a", "--copies", "2", "--after", "task_1"], ["No such option", "--after"]),
    (["quorum", "-k", "1", "--prompt", "a", "-n", "2", "--on-parent-failure", "run"], ["--on-parent-failure"]),
    (["best-of", "--judge", "a", "--prompt", "a", "-n", "2", "--session", "k"], ["No such option", "--session"]),
    (["spawn", "--type", "mahavishnu"], ["--name"]),
    (["spawn", "--name", "a b"], ["--name", "a b"]),
    (["spawn", "--name", "pool_x"], ["--name", "pool_"]),
    (["spawn", "--name", "a", "--min", "5", "--max", "2"], ["--min-workers (5)", "--max-workers (2)"]),
    (["spawn", "--name", "a", "--min", "0"], ["--min-workers"]),
    (["spawn", "--name", "a", "--min", "11"], ["--min-workers (11)", "--max-workers (10)"]),
    (["spawn", "--name", "a", "--min", "many"], ["--min", "many"]),
    (["spawn", "--name", "x" * 400], ["--name", "… (400 characters)"]),
    (["execute", "--prompt", "a", "--env", "x" * 400], ["--env", "… (400 characters)"]),
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


#: What a manager says, and what people who gave options read.
TOLD = [
    (errors.ScaleOutOfRange.of(9, 1, 3), ["scale", "local", "-t", "9"], "with --max 9."),
    (errors.InvalidField.of("payload", "has no list", "Name it with split_on=KEY."), None, "with --split-on KEY."),
    (errors.InvalidField.of("payload.command", "is missing", "Add it."), None, "--payload: command is missing."),
    (errors.InvalidField.of("chunk_size", "is 0", "Give one."), None, "--chunk-size: is 0."),
]


@pytest.mark.parametrize(
    ("error", "arguments", "text"), TOLD, ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_error_of_the_manager_names_the_options_of_the_command(
    capsys: pytest.CaptureFixture[str], error: errors.MahavishnuError, arguments: list[str] | None, text: str
) -> None:
    given = arguments or ["distribute", "-t", "x", "--payload", "{}"]
    session = Session(lambda: typing.cast(typing.Any, Refusing(error)))

    assert run(["pools", *given], session=session) == 2

    assert text in capsys.readouterr().err


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


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mahavishnu {metadata.version('mahavishnu-pools')}\n"


def test_usage_errors_are_json_when_asked(shell: Shell) -> None:
    assert shell("execute", "--prompt", "a", "--timeout", "soon", "--format=json") == 2

    assert shell.error["code"] == "usage"
    assert "soon" in shell.error["message"]
    assert shell.error["details"]["option"] == "--timeout"


@pytest.mark.parametrize(
    ("given", "near"),
    [("excute", "No such command 'excute'. Did you mean 'execute'?"), ("xyzzy", "No such command 'xyzzy'.\n")],
)
def test_an_unknown_command_is_refused_with_the_nearest(shell: Shell, given: str, near: str) -> None:
    assert shell(given) == 2
    assert near in shell.err


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


def test_ctrl_c_while_it_is_told_where_the_task_went_cancels_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(_: str) -> None:
        await _ctrl_c()

    monkeypatch.setattr(shell.manager, "pool_info", look)

    assert shell("execute", "--prompt", "a") == 130

    assert "Cancelled task task_abc123" in shell.err


@pytest.mark.parametrize(("option", "cancelled"), [([], 2), (["--no-cancel"], 0)])
def test_ctrl_c_cancels_all_tasks_of_a_distribution_unless_told_otherwise(
    shell: Shell, option: list[str], cancelled: int
) -> None:
    shell.manager.wait = _ctrl_c

    assert shell("distribute", "-t", "x", "--payload", '{"items": [1, 2]}', *option) == 130

    assert [name for name, _ in shell.manager.calls].count("cancel") == cancelled
    assert "batch_1" in shell.err


def test_ctrl_c_leaves_those_parts_that_had_been_submitted_before(shell: Shell) -> None:
    shell.manager.wait, shell.manager.new = _ctrl_c, False

    assert shell("distribute", "-t", "x", "--payload", '{"items": [1, 2]}', "--idempotency-key", "k") == 130

    assert shell.manager.called("cancel")["task_id"] == "task_2"  # the other part is known
    assert "Cancelled the 1 tasks of batch batch_1. 1 that had been submitted before go on." in shell.err


def test_an_error_names_pools_and_not_their_ids(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    pool_id = "pool_0123456789ab"
    shell.manager.pools = [pool_info("mill", pool_id=pool_id)]

    async def refuse(*_: object, **__: object) -> typing.NoReturn:
        raise errors.InvalidField.of("pool", f"{pool_id!r} is draining", "Resume it.")

    monkeypatch.setattr(shell.manager, "submit", refuse)

    assert shell("execute", "mill", "--prompt", "hi") == 2
    assert shell.err == "Error: --pool: 'mill' is draining. Resume it.\n"


def test_a_dead_task_whose_pool_is_gone_is_told_with_the_option(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: object, **__: object) -> typing.NoReturn:
        raise errors.PoolGone("The pool was closed. Name another one with pool=NAME.", pool="pool_x")

    monkeypatch.setattr(shell.manager, "replay_dead", gone, raising=False)

    assert shell("dead", "replay", "task_1") == 3
    assert "Name another one with --pool NAME." in shell.err
