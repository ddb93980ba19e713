"""What `make run` offers to type next can be typed as it is."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from mahavishnu_pools.demo.job import next_steps


def test_a_directory_elsewhere_is_named_to_the_pool_and_to_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "with space"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)

    words = [shlex.split(step) for step in next_steps(None, directory=there, example="a.py")]

    assert words[1][-2:] == ["--allowed-root", str(there)]
    assert words[2][-6:] == ["--cwd", str(there), "--task-type", "analyze", "--payload", '{"file": "a.py"}']


def test_a_directory_below_is_left_to_where_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path)

    words = [shlex.split(step) for step in next_steps(None, directory=tmp_path / "src", example="a.py")]

    assert words[1][-2:] == ["--worker-type", "shell"]
    assert words[2][-1] == '{"file": "src/a.py"}'


def test_a_stack_that_stays_is_named_in_every_command(tmp_path: Path) -> None:
    steps = next_steps(tmp_path, directory=tmp_path, example="a.py")

    assert all(step.startswith(f"MAHAVISHNU_DATA_DIR={tmp_path} ") for step in steps)
