"""The commands ``up``, ``down``, ``status`` and ``logs``, as processes, with the real command lines of all parts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools.embedded import stack
from mahavishnu_pools.embedded.identity import is_alive
from mahavishnu_pools.embedded.parts import PARTS
from mahavishnu_pools.embedded.state import read_state
from tests.fixtures.local_stack import AGENT, kill
from tests.waiting import eventually

RUN = "import sys; from mahavishnu_pools.cli.main import main; sys.exit(main())"

APP = """
import os
from celery import Celery
app = Celery(broker=os.environ["MAHAVISHNU_REDIS_URL"])
app.conf.redbeat_redis_url = os.environ["MAHAVISHNU_REDIS_URL"]
"""


@pytest.fixture
def environment(tmp_path: Path, valkey_binary: Path) -> dict[str, str]:
    """Return an environment in which the workers package is a small stand-in, found by the real command lines."""
    package = tmp_path / "path" / "mahavishnu_workers"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "agent.py").write_text(AGENT)
    (package / "app.py").write_text(APP)
    alone = {f"MAHAVISHNU_{part.choice.mode.upper()}": "off" for part in PARTS if part.choice is not None}
    return {**os.environ, **alone, "PYTHONPATH": str(package.parent), "MAHAVISHNU_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def command(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts a command; whatever stack it makes ends with the test."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-P", "-c", RUN, *arguments]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()
    stack.stop(tmp_path / "data", drain_seconds=0)


@pytest.fixture
def run(command: Callable[..., subprocess.Popen[str]]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command to its end: exit code, output, talk."""

    def to_the_end(*arguments: str) -> tuple[int, str, str]:
        process = command(*arguments)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return to_the_end


Run = Callable[..., tuple[int, str, str]]


def parts_of(output: str) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in json.loads(output)["parts"]}


def test_up_detached_returns_when_every_part_runs_and_shows_no_password(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("up", "--detach", "--format", "json")

    assert code == 0
    document = json.loads(out)
    state = read_state(tmp_path / "data")
    assert state is not None
    assert document["data_dir"] == str(tmp_path / "data")
    assert document["redis_url"].startswith("redis://:***@127.0.0.1:")
    assert {name: part["status"] for name, part in parts_of(out).items()} == dict.fromkeys(
        ["supervisor", "redis", "agent", "beat"], "running"
    )
    assert all(part["pid"] for part in document["parts"])


def test_status_tells_healthy_degraded_and_gone_apart(run: Run, tmp_path: Path) -> None:
    run("up", "--detach")
    healthy, table, _ = run("status")
    state = read_state(tmp_path / "data")
    assert state is not None
    kill(state.supervisor)
    degraded, out, _ = run("status", "--format", "json")
    redis = state.part("redis")
    assert redis is not None
    kill(redis.process)
    unreachable, _, _ = run("status")

    assert (healthy, degraded, unreachable) == (0, 1, 4)
    assert all(word in table for word in ("supervisor", "redis", "agent", "beat", "running"))
    assert "'mahavishnu up' repairs it" in parts_of(out)["supervisor"]["reason"]


def test_up_repairs_what_was_killed(run: Run, tmp_path: Path) -> None:
    run("up", "--detach")
    before = read_state(tmp_path / "data")
    assert before is not None
    kill(before.supervisor)
    kill(before.parts[0].process)

    code, out, _ = run("up", "--detach", "--format", "json")

    assert code == 0
    assert parts_of(out)["agent"]["pid"] == before.parts[1].process.pid  # type: ignore[union-attr]
    # Beat may notice only now that Redis was away, and is then started again.
    assert eventually(lambda: run("status")[0] == 0, within=60)


def test_down_stops_the_stack_and_is_content_when_there_is_none(run: Run, tmp_path: Path) -> None:
    run("up", "--detach")
    state = read_state(tmp_path / "data")
    assert state is not None

    first, _, said_first = run("down")
    second, _, said_second = run("down")

    assert (first, second) == (0, 0)
    assert "Stopped the stack" in said_first
    assert "No stack is running" in said_second
    assert not any(is_alive(part.process) for part in state.parts)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_up_in_the_foreground_stays_until_told_to_stop(
    command: Callable[..., subprocess.Popen[str]], tmp_path: Path, signum: signal.Signals
) -> None:
    process = command("up")
    assert process.stderr is not None
    assert "Ready" in process.stderr.readline()
    state = read_state(tmp_path / "data")
    assert state is not None

    process.send_signal(signum)

    assert process.wait(30) == 0
    assert (tmp_path / "data" / "drained").exists()
    assert not is_alive(state.supervisor)
    assert not any(is_alive(part.process) for part in state.parts)


def test_up_in_the_foreground_replaces_a_killed_supervisor(
    command: Callable[..., subprocess.Popen[str]], run: Run, tmp_path: Path
) -> None:
    process = command("up")
    assert process.stderr is not None
    process.stderr.readline()
    state = read_state(tmp_path / "data")
    assert state is not None

    kill(state.supervisor)

    eventually(lambda: run("status")[0] == 0)
    assert process.poll() is None


def test_a_stack_in_the_foreground_ends_with_its_terminal_even_when_that_is_killed(
    command: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = command("up")
    assert process.stderr is not None
    process.stderr.readline()
    state = read_state(tmp_path / "data")
    assert state is not None

    process.kill()
    process.wait()

    eventually(lambda: not is_alive(state.supervisor))
    assert not any(is_alive(part.process) for part in state.parts)


def test_logs_show_the_last_lines_of_one_part_or_of_all(run: Run) -> None:
    run("up", "--detach")

    code, one, _ = run("logs", "agent", "--lines", "1")
    _, every, _ = run("logs", "--lines", "2")

    assert (code, one) == (0, "agent is ready\n")
    assert [line for line in every.splitlines() if line.startswith("==>")] == [
        "==> agent <==",
        "==> beat <==",
        "==> redis <==",
        "==> supervisor <==",
    ]


@pytest.mark.parametrize("name", ["status", "logs"])
def test_without_a_stack_the_error_says_how_to_start_one(run: Run, name: str) -> None:
    code, out, err = run(name)

    assert (code, out) == (4, "")
    assert "'mahavishnu up'" in err


def test_a_port_in_use_is_one_sentence_as_json_too(run: Run, environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment["MAHAVISHNU_REDIS_PORT"] = str(taken.getsockname()[1])

        code, out, err = run("up", "--format", "json")

    assert (code, out) == (4, "")
    error = json.loads(err)["error"]
    assert error["code"] == "stack_part_failed"
    assert error["details"]["port"] == int(environment["MAHAVISHNU_REDIS_PORT"])


def test_logs_of_an_unknown_part_name_the_known_ones(run: Run) -> None:
    run("up", "--detach")

    code, _, err = run("logs", "nobody")

    assert code == 2
    assert "Unknown part 'nobody'. Use one of: agent, beat, redis, supervisor." in err
