"""The password of the embedded server is changed without losing a task; old and new hold together for a while."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import rotation, stack, valkey
from mahavishnu_pools.settings import Settings

Command = Callable[..., str]


@pytest.fixture
def command(tmp_path: Path, valkey_binary: Path) -> Iterator[Command]:
    def called(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "mahavishnu_pools.cli.main", *arguments],
            env={**os.environ, "MAHAVISHNU_DATA_DIR": str(tmp_path / "data")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == code, done.stderr
        return done.stdout or done.stderr

    yield called
    stack.stop(tmp_path / "data", drain_seconds=0)


@pytest.mark.slow
def test_a_running_stack_goes_on_with_another_password_and_loses_no_task(command: Command, tmp_path: Path) -> None:
    def accepted(url: str) -> bool:
        with redis.Redis.from_url(url) as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return False

    def url() -> str:
        return str(json.loads((tmp_path / "data" / "stack.json").read_text())["redis_url"])

    def submitted(prompt: str) -> str:
        printed = command("pools", "execute", "one", "--prompt", prompt, "--no-wait", "--format", "json")
        return str(json.loads(printed)["task_id"])

    command("up", "--detach")
    command("pools", "spawn", "--name", "one", "--worker-type", "shell")
    tasks = [submitted("sleep 1; echo ran"), submitted("echo waited")]
    old = url()

    command("rotate")
    new = url()
    together = (accepted(old), accepted(new))
    outcomes = [command("pools", "task", task, "--follow") for task in tasks]
    again = command("rotate", code=2)
    command("rotate", "--finish")
    apart = (accepted(old), accepted(new))

    assert old != new
    assert together == (True, True)
    assert apart == (False, True)
    assert all("Status: COMPLETED" in outcome for outcome in outcomes)
    assert "mahavishnu rotate --finish" in again
    assert "hi" in command("pools", "execute", "one", "--prompt", "echo hi")


def test_the_password_of_a_stack_that_does_not_run_is_changed_for_its_next_start(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    (tmp_path / "db").mkdir()
    first = valkey.write_config(tmp_path / "db", port=7001, keep_port=True, strict=False)

    assert rotation.rotate(settings) is None
    second = valkey.write_config(tmp_path / "db", port=7001, keep_port=True, strict=False)
    finished = (rotation.finish(settings), rotation.finish(settings))
    third = valkey.write_config(tmp_path / "db", port=7001, keep_port=True, strict=False)

    assert second.password != first.password == second.also
    assert finished == (True, False)
    assert (third.password, third.also) == (second.password, None)
    assert (tmp_path / "db" / "server.conf").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_rotated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.StackNotRunning, match="There is no stack in"):
        rotation.rotate(Settings(data_dir=tmp_path))
    with pytest.raises(errors.InvalidConfig, match="a server of your own"):
        rotation.rotate(Settings(data_dir=tmp_path, redis_url="redis://elsewhere:6379/0"))  # type: ignore[arg-type]
