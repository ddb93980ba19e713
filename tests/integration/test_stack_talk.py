"""What ``up`` and ``down`` say on stderr: what they wait for, what differs, where the stack is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mahavishnu_pools.embedded import planning, stack
from mahavishnu_pools.embedded.planning import differing, digests
from mahavishnu_pools.embedded.state import PartState, read_state
from mahavishnu_pools.embedded.supervisor import Supervisor
from mahavishnu_pools.settings import Settings
from tests.fixtures import warm
from tests.fixtures.local_stack import kill
from tests.waiting import eventually

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, valkey_binary: Path) -> Iterator[Run]:
    """Return a function that runs the program in a directory of its own; keywords are settings in its environment."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("MAHAVISHNU_")}
    base |= {"XDG_DATA_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[2])}

    def to_the_end(*arguments: str, **settings: str) -> tuple[int, str, str]:
        given = {f"MAHAVISHNU_{name.upper()}": value for name, value in settings.items()}
        argv = [*warm.MAHAVISHNU, *arguments]
        done = warm.run(argv, env={**base, **given}, cwd=tmp_path, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    yield to_the_end
    for directory in (tmp_path / "data", tmp_path / "home" / "mahavishnu"):
        stack.stop(directory, drain_seconds=0)


def parts_in(directory: Path) -> tuple[PartState, ...]:
    state = read_state(directory)
    return () if state is None else state.parts


@pytest.mark.slow
def test_down_says_how_many_tasks_it_waits_for_and_what_becomes_of_them(run: Run, tmp_path: Path) -> None:
    here = {"data_dir": str(tmp_path / "data")}
    run("up", "--detach", **here, drain_timeout="1")
    run("pools", "spawn", "--name", "p", "--worker-type", "shell", **here)
    run("pools", "execute", "p", "--prompt", "sleep 60", "--no-wait", **here)
    eventually(lambda: json.loads(run("pools", "get", "p", "--format", "json", **here)[1])["running"] == 1)

    code, _, said = run("down", **here, drain_timeout="1")

    assert code == 0
    assert (
        "1 task is running. Waiting up to 1 s; what still runs then is handed back and runs again at the next "
        "'mahavishnu up'.\n"
    ) in said
    run("up", "--detach", **here, drain_timeout="1")
    eventually(lambda: json.loads(run("pools", "get", "p", "--format", "json", **here)[1])["running"] == 1)


def test_down_has_nothing_to_say_when_nothing_runs(run: Run, tmp_path: Path) -> None:
    run("up", "--detach", "--data-dir", str(tmp_path / "data"))

    assert run("down", "--data-dir", str(tmp_path / "data"))[2] == f"Stopped the stack in {tmp_path / 'data'}.\n"


def test_up_with_other_settings_names_them_and_how_to_apply_them(run: Run, tmp_path: Path) -> None:
    run("up", "--detach", imports="json")
    same = run("up", "--detach", imports="json")[2]
    other = run("up", "--detach", imports="csv", durability="strict")[2]
    state = read_state(tmp_path / "home" / "mahavishnu")
    assert state is not None
    kill(state.supervisor)
    repaired = run("up", "--detach")[2]

    assert same == "It was running already. Stop it with: mahavishnu down\n"
    assert other.splitlines()[0] == (
        "The running stack has other values of: durability, imports. 'mahavishnu down' and 'mahavishnu up' apply yours."
    )
    assert "other values of: imports." in repaired


def test_the_stack_of_a_named_directory_is_named_in_what_to_type_next(run: Run, tmp_path: Path) -> None:
    where = str(tmp_path / "data")

    first = run("up", "--detach", "--data-dir", where)[2]
    second = run("up", "--detach", "--data-dir", where)[2]
    by_environment = run("up", "--detach", data_dir=where)[2]

    assert first == f"Other commands find it with: export MAHAVISHNU_DATA_DIR={where}\n"
    assert f"It was running already. Stop it with: mahavishnu down --data-dir {where}\n" in second
    assert by_environment == "It was running already. Stop it with: mahavishnu down\n"


def test_only_settings_with_another_value_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = digests(Settings(data_dir=tmp_path, drain_timeout=5), (Path.cwd(),))

    assert differing(Settings(data_dir=tmp_path / "other", drain_timeout=5.0), there) == []
    assert differing(Settings(node_tags=("gpu",), imports=()), there) == ["drain_timeout", "node_tags"]
    assert differing(Settings(drain_timeout=7), {}) == []
    monkeypatch.chdir(tmp_path)
    assert differing(Settings(drain_timeout=5), there) == ["allowed_roots"]


def test_redis_behind_sentinel_is_shown_as_it_is_configured(tmp_path: Path) -> None:
    url = "sentinel://me:hidden@one:26379,two:26379/service"
    spec = planning.plan(Settings(data_dir=tmp_path, redis_url=url))  # type: ignore[arg-type]

    row = Supervisor(spec).state().part("redis")

    assert row is not None
    assert row.url == "sentinel://me:***@one:26379,two:26379/service"


@pytest.mark.slow
def test_every_command_of_pools_and_check_reaches_the_stack_of_a_named_directory(run: Run, tmp_path: Path) -> None:
    there = ("--data-dir", str(tmp_path / "data"))
    elsewhere = {"redis_url": "redis://127.0.0.1:1/0"}
    run("up", "--detach", *there)
    spawned = run("pools", "spawn", "--name", "p", "--worker-type", "shell", *there)

    assert spawned[0] == 0
    for command in (("pools", "list"), ("pools", "get", "p"), ("pools", "dead", "list"), ("check",)):
        assert run(*command, *there)[0] == 0
        assert run(*command, *there, **elsewhere)[0] == 0
        code, _, said = run(*command)
        assert (code, f"No stack is running in {tmp_path / 'home' / 'mahavishnu'}." in said) == (4, True)
    code, out, _ = run("pools", "execute", "p", "--prompt", "pwd", *there)
    assert (code, str(tmp_path) in out) == (0, True)


@pytest.mark.slow
def test_up_says_that_it_waits_for_the_end_of_a_stack_that_is_being_stopped(run: Run, tmp_path: Path) -> None:
    here = {"data_dir": str(tmp_path / "data"), "drain_timeout": "3"}
    run("up", "--detach", **here)
    run("pools", "spawn", "--name", "p", "--worker-type", "shell", **here)
    run("pools", "execute", "p", "--prompt", "sleep 60", "--no-wait", **here)
    eventually(lambda: json.loads(run("pools", "get", "p", "--format", "json", **here)[1])["running"] == 1)

    with ThreadPoolExecutor(1) as threads:
        down = threads.submit(run, "down", **here)
        eventually(lambda: any(part.is_stopping for part in parts_in(tmp_path / "data")))
        code, _, said = run("up", "--detach", **here)

        assert down.result()[0] == 0
    assert (code, said) == (0, "It is being stopped just now. Waiting for its end; then it is started again.\n")
