"""What the built-in task types do, and those users add."""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import errors
from tests.fakes.run_context import RecordingLog, make_context, run
from tests.waiting import eventually
from workers.executors.registry import execute
from workers.task_types.registry import TaskTypeRegistry, default_registry, load_registry

MODULE = """
import asyncio, os, time
from pydantic import BaseModel
from mahavishnu_pools.task_types import task_type

class Name(BaseModel):
    name: str
    count: int = 1

@task_type("greet", payload=Name)
def greet(payload, context):
    return {"hello": payload.name, "task": context.task_id}

@task_type("greet-later", payload=Name)
async def greet_later(payload, context):
    await asyncio.sleep(payload.count)
    return payload.name

@task_type("greet-apart", payload=Name, mode="process")
def greet_apart(payload):
    return {"hello": payload.name * payload.count, "pid": os.getpid()}

@task_type("greet-shell", payload=Name, mode="command")
def greet_shell(payload):
    return ["echo", payload.name]

@task_type("greet-prompt", payload=Name, mode="prompt")
def greet_prompt(payload):
    return f"echo hello {payload.name}"

@task_type("fail", payload=Name)
def fail(payload, context):
    raise ValueError("no " + payload.name)

@task_type("odd", payload=Name)
def odd(payload, context):
    return object()

@task_type("large", payload=Name)
def large(payload, context):
    return "x" * 2_000_000

def add(a, b=0):
    print("adding")
    return a + b

def big():
    return "x" * 2_000_000

def leave():
    os._exit(7)

def sleep():
    print("begun", flush=True)
    time.sleep(60)

async def later():
    return "later"

def unjson():
    return {1, 2}

def read():
    import sys
    return sys.stdin.read()

def _hidden():
    return 1
"""


@pytest.fixture
def users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a user, on the import path of this process and of children."""
    name = f"users_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def registry(users_module: str) -> TaskTypeRegistry:
    return load_registry([users_module])


def _user(registry: TaskTypeRegistry, name: str, **fields: Any) -> Any:
    spec = {"task_type": name, "payload": {"name": "you", **fields.pop("payload", {})}, **fields}
    return run(spec, worker_type="shell", services={"task_types": registry}, env=_python_env())


def _python_env() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}


def _python(module: str, function: str, *args: Any, allowed: str = "*", **spec: Any) -> Any:
    payload = {"callable": f"{module}:{function}", "args": list(args)}
    task = {"task_type": "python", "payload": payload, **spec}
    return run(task, python_callables=(f"{module}:{allowed}",), env=_python_env())


# ── users' own types ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_users_handler_gets_payload_and_context(registry: TaskTypeRegistry) -> None:
    outcome = _user(registry, "greet")

    assert outcome.status == "completed"
    assert outcome.value["hello"] == "you"
    assert json.loads(outcome.output) == outcome.value


def test_a_handler_of_mode_process_runs_in_another_process(registry: TaskTypeRegistry) -> None:
    outcome = _user(registry, "greet-apart", payload={"count": 2})

    assert outcome.value["hello"] == "youyou"
    assert outcome.value["pid"] != os.getpid()


def test_a_handler_may_return_a_command_or_a_prompt(registry: TaskTypeRegistry) -> None:
    assert _user(registry, "greet-shell").output == "you\n"
    assert _user(registry, "greet-prompt").output == "hello you\n"


def test_an_exception_of_a_handler_is_the_tasks_failure_with_its_traceback_in_the_log(
    registry: TaskTypeRegistry,
) -> None:
    context = make_context({"task_type": "fail", "payload": {"name": "way"}}, services={"task_types": registry})

    outcome = execute(context)

    assert (outcome.status, outcome.error) == ("failed", "ValueError: no way")
    assert isinstance(context.log, RecordingLog)
    assert "Traceback" in context.log.text("stderr")


@pytest.mark.parametrize(("name", "sentence"), [("odd", "no JSON value"), ("large", "the limit is")])
def test_a_result_that_cannot_be_kept_fails_with_one_sentence(
    registry: TaskTypeRegistry, name: str, sentence: str
) -> None:
    assert sentence in _user(registry, name).error


def test_an_async_handler_completes_times_out_and_is_cancelled(registry: TaskTypeRegistry) -> None:
    assert _user(registry, "greet-later", payload={"count": 0}).value == "you"
    assert _user(registry, "greet-later", payload={"count": 60}, timeout=0.2).status == "timeout"

    spec = {"task_type": "greet-later", "payload": {"name": "x", "count": 60}}
    context = make_context(spec, services={"task_types": registry})
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, context)
        eventually(lambda: context.cancellation._callbacks)
        context.cancellation.cancel()
        assert future.result(30).status == "cancelled"
    assert time.monotonic() - began < 40  # long before the minute that it asked for


def test_a_payload_that_does_not_fit_the_users_model_fails_naming_the_field(registry: TaskTypeRegistry) -> None:
    outcome = _user(registry, "greet", payload={"count": "many"})

    assert "payload.count" in outcome.error


def test_the_registry_knows_all_types_and_their_schemas(registry: TaskTypeRegistry) -> None:
    assert {"greet", "shell", "prompt"} <= set(registry.names())
    assert "name" in registry.schemas()["greet"]["properties"]
    judges = ["judge", "judge:python"]
    built_in = ["analyze", "container", "http", *judges, "prompt", "python", "reduce", "shell"]
    assert default_registry().names() == built_in


def test_a_module_that_cannot_be_imported_is_an_error_naming_it() -> None:
    with pytest.raises(errors.InvalidConfig, match="no_such_module"):
        load_registry(["no_such_module"])


# ── shell, python ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("payload", "output"),
    [
        ({"command": "echo 'a b'  c; id"}, "a b c; id\n"),
        ({"command": ["echo", "$HOME *"]}, "$HOME *\n"),
        ({"command": "echo a | tr a b", "shell": True}, "b\n"),
    ],
)
def test_a_shell_command_is_split_listed_or_given_to_a_shell(payload: dict[str, Any], output: str) -> None:
    assert run({"task_type": "shell", "payload": payload}).output == output


def test_an_unclosed_quote_is_one_sentence() -> None:
    assert "cannot be split" in (run({"task_type": "shell", "payload": {"command": "echo 'a"}}).error or "")


def test_a_function_returns_its_value_and_prints_its_output(users_module: str) -> None:
    payload = {"callable": f"{users_module}:add", "args": [1], "kwargs": {"b": 2}}
    allowed = (f"{users_module}:add",)

    outcome = run({"task_type": "python", "payload": payload}, python_callables=allowed, env=_python_env())

    assert (outcome.status, outcome.value, outcome.output, outcome.exit_code) == ("completed", 3, "adding\n", 0)


def test_a_coroutine_function_is_awaited_and_its_value_is_the_output(users_module: str) -> None:
    outcome = _python(users_module, "later")

    assert (outcome.value, outcome.output) == ("later", "later")


def test_a_function_finds_an_empty_input(users_module: str) -> None:
    assert _python(users_module, "read").value == ""


def test_an_exception_of_a_function_is_named_and_its_traceback_logged(users_module: str) -> None:
    outcome = _python(users_module, "add", 1, "x")

    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert outcome.error.startswith("TypeError: unsupported operand")
    assert "Traceback" in outcome.metadata["stderr"]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("big", "larger than"),
        ("leave", "exit code 7"),
        ("unjson", "not JSON serializable"),
        ("missing", "AttributeError"),
    ],
)
def test_a_function_without_a_usable_result_fails_with_one_sentence(
    users_module: str, function: str, sentence: str
) -> None:
    outcome = _python(users_module, function)

    assert outcome.status == "failed"
    assert sentence in outcome.error


def test_a_function_is_ended_at_its_timeout(users_module: str) -> None:
    outcome = _python(users_module, "sleep", timeout=4)

    assert (outcome.status, outcome.output) == ("timeout", "begun\n")


@pytest.mark.parametrize(
    ("function", "allowed"),
    [("add", "other"), ("_hidden", "*"), ("os.system", "*"), ("task_type", "*")],
)
def test_what_is_not_allowed_is_not_called(users_module: str, function: str, allowed: str) -> None:
    outcome = _python(users_module, function, "id", allowed=allowed)

    assert outcome.status == "failed"
    assert "allow" in outcome.error


def test_a_module_of_the_user_called_like_ours_is_found_as_theirs(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text("def hello():\n    return 'theirs'\n")
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}

    outcome = run(
        {"task_type": "python", "payload": {"callable": "workers:hello"}}, python_callables=("workers:*",), env=env
    )

    assert outcome.value == "theirs"
