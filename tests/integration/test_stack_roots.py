"""Pools that are kept over ``down`` go on to work in their directory, wherever the next ``up`` is called."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mahavishnu_pools.embedded import stack
from tests.fixtures import warm

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, valkey_binary: Path) -> Iterator[Run]:
    """Return a function that runs the program in a directory: ``a`` or ``b``."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("MAHAVISHNU_")}
    base |= {"MAHAVISHNU_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(Path(__file__).parents[2])}

    def to_the_end(place: str, *arguments: str) -> tuple[int, str, str]:
        (tmp_path / place).mkdir(exist_ok=True)
        argv = [*warm.MAHAVISHNU, *arguments]
        done = warm.run(argv, env=base, cwd=tmp_path / place, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    yield to_the_end
    stack.stop(tmp_path / "data", drain_seconds=0)


@pytest.mark.slow
def test_a_pool_goes_on_where_it_was_made_after_a_start_elsewhere(run: Run, tmp_path: Path) -> None:
    execute = ("pools", "execute", "p", "--prompt", "pwd", "--format", "json")
    run("a", "up", "--detach")
    run("a", "pools", "spawn", "--name", "p", "--worker-type", "shell")
    while_running = run("b", "up", "--detach")[2]
    run("a", "down")

    code, _, told = run("b", "up", "--detach")

    assert "The running stack has other values of: allowed_roots." in while_running
    assert code == 0
    assert f"Tasks may also work where earlier stacks were started: {tmp_path / 'a'}. " in told
    for place in ("a", "b"):
        code, printed, _ = run(place, *execute)
        assert (code, json.loads(printed)["output"]) == (0, f"{tmp_path / place}\n")

    run("b", "down")
    assert run("b", "up", "--detach", "--only-here")[2] == ""
    code, printed, _ = run("a", *execute)
    assert (code, "'mahavishnu down' and 'mahavishnu up' there" in json.loads(printed)["error"]) == (1, True)
    assert run("b", *execute)[0] == 0
