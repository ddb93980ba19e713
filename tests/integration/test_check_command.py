"""The command ``check`` with real agents: what it prints, how it ends, and what agents say of themselves."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools.store import keys
from tests.fixtures import warm
from tests.fixtures.agents import Farm
from tests.fixtures.valkey import free_port


class Shell:
    """Runs ``mahavishnu`` against a farm's server."""

    def __init__(self, redis_url: str, namespace: str, directory: Path) -> None:
        self._env = {
            **os.environ,
            "MAHAVISHNU_REDIS_URL": redis_url,
            "MAHAVISHNU_NAMESPACE": namespace,
            "MAHAVISHNU_DATA_DIR": str(directory / "client"),
            "MAHAVISHNU_NODE_HEARTBEAT": "0.3",
        }

    def __call__(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return warm.run([*warm.MAHAVISHNU, *arguments], env={**self._env, **env}, text=True, timeout=60)


@pytest.fixture
def mahavishnu(redis_url: str, namespace: str, tmp_path: Path) -> Shell:
    return Shell(redis_url, namespace, tmp_path)


def data(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_agents_tell_their_programs_limits_and_clock(
    farm: Farm, mahavishnu: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    qwen = programs / "qwen"
    qwen.write_text("#!/bin/sh\necho 9.8.7-beta\n")
    qwen.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)  # of the agent; the command below has another one
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-do-not-show-me")
    farm.agent().wait_ready()
    farm.wait_running(farm.create(worker_type="terminal-qwen"))

    done = mahavishnu("check", "--format", "json", PATH="/usr/bin:/bin", DASHSCOPE_API_KEY="")

    (node,) = data(done)["nodes"]
    report = node["report"]
    found = {one["worker_type"]: one for one in report["programs"]}
    assert found["terminal-qwen"] == {
        "worker_type": "terminal-qwen",
        "program": "qwen",
        "path": str(qwen),
        "version": "9.8.7-beta",
        "problem": None,
        "logged_out": None,
        "login": True,
        "login_sign": "DASHSCOPE_API_KEY",
    }
    assert "sk-do-not-show-me" not in done.stdout
    assert found["shell"]["path"]
    assert found["shell"]["login"] is None
    assert report["path"] == path
    assert abs(report["clock_skew"]) < 1
    assert report["limits"]["open_files"] > 0


def test_a_system_in_order_is_healthy_under_both_names_and_in_every_format(farm: Farm, mahavishnu: Shell) -> None:
    farm.agent().wait_ready()
    farm.wait_running(farm.create(worker_type="shell"))

    for arguments in (["check"], ["validate-production"], ["check", "--format", "markdown"]):
        done = mahavishnu(*arguments)

        assert done.returncode == 0, done.stdout + done.stderr
        assert "HEALTHY" in done.stdout
        assert "node1" in done.stdout


def test_what_is_found_ends_with_1_and_is_healthy_after_the_repair(farm: Farm, mahavishnu: Shell) -> None:
    farm.agent().wait_ready()
    pool = farm.create(worker_type="shell")
    farm.wait_running(pool)
    farm.store.redis.hset(keys.key("pool_names", prefix=farm.store.prefix), "ghost", "pool_000000000000")

    found = mahavishnu("check")
    assert found.returncode == 1
    assert "registry_pool_names" in found.stdout
    assert "check --repair" in found.stdout
    repaired = mahavishnu("check", "--repair", "--format", "json")
    assert repaired.returncode == 1
    assert data(repaired)["repaired"] == {"registry_pool_names": 1}
    assert mahavishnu("check").returncode == 0


def test_pools_without_any_agent_are_a_fault(farm: Farm, mahavishnu: Shell) -> None:
    farm.create(worker_type="shell")

    done = mahavishnu("check", "--format", "json")

    assert done.returncode == 1
    assert [one["kind"] for one in data(done)["findings"]] == ["no_agent"]


def test_a_server_that_does_not_answer_ends_with_4(mahavishnu: Shell) -> None:
    done = mahavishnu(
        "check", MAHAVISHNU_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0", MAHAVISHNU_SUBMIT_TIMEOUT="0.5"
    )

    assert done.returncode == 4
    assert "does not answer" in done.stderr


def test_the_printed_json_is_the_documented_one(mahavishnu: Shell) -> None:
    row = next(line for line in Path("docs/cli.md").read_text().splitlines() if line.startswith("| `check` |"))

    printed = data(mahavishnu("check", "--format", "json"))

    assert [name for name in printed if f'"{name}"' not in row] == []
