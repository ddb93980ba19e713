"""Other commands on a real stack: run, restart, nodes, agent, shell, config, completion, workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mahavishnu_pools.embedded import stack
from mahavishnu_pools.embedded.private import PrivateStack
from tests.fakes.run_context import install_program
from tests.fixtures.command_line import Cli
from tests.fixtures.terminal import Terminal
from tests.waiting import eventually

PROGRAM = [sys.executable, "-P", "-m", "mahavishnu_pools.cli.main"]

ANSWER = """printf '{"type":"result","subtype":"success","is_error":false,"result":"Done: %s"}\\n' "$(cat)" """


# ── run ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_runs_with_its_streams_and_its_failure(cli: Cli, pool: str) -> None:
    out = cli("run", "--pool", pool, "--", "sh", "-c", "echo out; echo --format; echo problem >&2")

    assert out == "out\n--format\n"
    assert cli.err == "problem\n"
    assert cli("run", "--pool", pool, "--", "false", code=1) == ""
    assert "exit code 1" in cli.err


def test_a_prompt_runs_and_its_answer_is_printed(cli: Cli, pool: str) -> None:
    assert cli("run", "--pool", pool, "echo $((6 * 7))") == "42\n"
    assert cli.json("run", "--pool", pool, "echo hi")["output"] == "hi\n"
    assert "PROMPT or -- COMMAND: is missing" in cli.json("run", code=2)["error"]["message"]


@pytest.mark.slow
def test_run_starts_a_stack_and_makes_a_pool_when_there_is_none(tmp_path: Path, valkey_binary: Path) -> None:
    environment = {**os.environ, "MAHAVISHNU_DATA_DIR": str(tmp_path / "data")}

    try:
        done = subprocess.run(
            [*PROGRAM, "run", "--", "pwd"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=110
        )
    finally:
        stack.stop(tmp_path / "data", drain_seconds=0)

    assert (done.returncode, done.stdout) == (0, f"{tmp_path}\n"), done.stderr
    assert "goes on. Stop it with: mahavishnu down" in done.stderr
    assert "Making pool default" in done.stderr


# ── pools restart, nodes ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restart_replaces_the_group_and_loses_no_task(cli: Cli, pool: str) -> None:
    group = cli.json("pools", "execute", pool, "--prompt", "echo $PPID")["output"]
    started = f"touch {pool}.began; while [ ! -e {pool}.began ]; do sleep 0.02; done; sleep 0.3; echo through"
    running = cli.json("pools", "execute", pool, "--prompt", started, "--no-wait")["task_id"]
    waiting = [cli.json("pools", "execute", pool, "--prompt", "echo", "--no-wait")["task_id"] for _ in range(3)]

    assert cli.json("pools", "restart", pool)["status"] == "running"

    for task_id in (running, *waiting):
        assert cli.json("pools", "task", task_id, "--follow")["status"] == "completed"
    assert cli.json("pools", "execute", pool, "--prompt", "echo $PPID")["output"] != group


def test_the_rate_of_a_pool_is_changed_and_shown(cli: Cli, pool: str) -> None:
    changed = cli.json("pools", "limits", "--rate", pool, "120/m")
    out = cli("pools", "limits")

    assert [one["rate_limit"] for one in changed["pools"] if one["name"] == pool] == ["120/m"]
    assert "120/m" in out
    assert "30/m" in cli.json("pools", "limits", "--rate", pool, "often", code=2)["error"]["message"]
    assert cli.json("pools", "limits", "--rate", "nobody", "1/s", code=3)["error"]["code"] == "pool_not_found"
    unlimited = cli.json("pools", "limits", "--rate", pool, "none")
    assert pool not in [one["name"] for one in unlimited["pools"]]


def test_the_nodes_are_listed_with_their_pools(cli: Cli, pool: str) -> None:
    (node,) = cli.json("nodes")["nodes"]

    assert node["alive"] is True
    assert pool in node["pools"]
    assert "shell" in node["programs"]
    assert node["name"] in cli("nodes")


@pytest.mark.slow
def test_an_agent_joins_with_its_tags(cli: Cli, shared_stack: PrivateStack, tmp_path: Path) -> None:
    argv = [*PROGRAM, "agent", "--name", "second", "--tag", "gpu", "--tag", "big", "--region", "north"]
    environment = {**os.environ, "MAHAVISHNU_REDIS_URL": shared_stack.redis_url}
    with subprocess.Popen([*argv, "--data-dir", "second"], env=environment, cwd=tmp_path) as agent:
        try:
            eventually(lambda: len(cli.json("nodes")["nodes"]) == 2, within=60)
            cli("pools", "spawn", "--name", "on-second", "--worker-type", "shell", "--node", "gpu")
            nodes = {node["name"]: node for node in cli.json("nodes")["nodes"]}
            cli("pools", "close", "on-second")
        finally:
            agent.terminate()
            agent.wait(timeout=60)
        eventually(lambda: len(cli.json("nodes")["nodes"]) == 1, within=60)

    assert (nodes["second"]["tags"], nodes["second"]["region"]) == (["gpu", "big"], "north")
    assert nodes["second"]["pools"] == ["on-second"]
    assert agent.returncode == 0


def test_an_agent_without_a_redis_says_what_is_missing(cli: Cli) -> None:
    assert "--redis-url: is missing" in cli("agent", code=2) + cli.err


# ── shell, config, completion, workers ───────────────────────────────────────────────────────────────────────────────


def test_lines_piped_into_the_shell_run_and_may_await(cli: Cli, pool: str, tmp_path: Path) -> None:
    lines = [
        "maha_app.pool_manager",
        "pools = await maha_app.pool_manager.list_pools()",
        f"any(one.name == {pool!r} for one in pools)",
        "from mahavishnu_pools.pools import MemoryAggregator",
        "1 / 0",
        "print('still here')",
    ]

    done = subprocess.run(
        [*PROGRAM, "shell"], input="\n".join(lines) + "\n", cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert done.stdout.splitlines()[1:] == ["True", "still here"]
    assert "PoolManager" in done.stdout.splitlines()[0]
    assert "ZeroDivisionError" in done.stderr
    assert done.returncode == 1


def test_settings_are_shown_with_where_they_come_from_and_secrets_masked(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text("default_worker_type: shell\nakosha_url: http://me:word@host:1/mcp\n")
    monkeypatch.setenv("MAHAVISHNU_SETTINGS_FILE", "own.yaml")
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", "redis://:geheim@somewhere:6379/0")
    monkeypatch.setenv("MAHAVISHNU_AKOSHA_TOKEN", "geheim-too")

    shown = {row["name"]: (row["value"], row["source"]) for row in cli.json("config", "show")["settings"]}
    table = cli("config", "show", "--changed")

    assert shown["redis_url"] == ("redis://:***@somewhere:6379/0", "MAHAVISHNU_REDIS_URL")
    assert shown["akosha_token"] == ("********", "MAHAVISHNU_AKOSHA_TOKEN")
    assert shown["default_worker_type"] == ("shell", "own.yaml")
    assert shown["node_region"] == ("default", "default")
    assert "geheim" not in table + json.dumps(shown)
    assert "word@" not in table
    assert "node_region" not in table
    assert cli.json("config", "show", "no_such", code=2)["error"]["code"] == "unknown_choice"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for_each_shell(cli: Cli, shell: str) -> None:
    assert "_MAHAVISHNU_COMPLETE=" in cli("completion", shell)


@pytest.fixture
def with_program(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose PATH has the program."""
    program = tmp_path / "bin" / "mahavishnu"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m mahavishnu_pools.cli.main "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}


_BASH = (
    'eval "$(mahavishnu completion bash)"; COMP_WORDS=(mahavishnu pools get pool-); COMP_CWORD=3; '
    '_mahavishnu_completion mahavishnu; printf "%s\\n" "${COMPREPLY[@]}"'
)
_FISH = 'mahavishnu completion fish | source; complete -C "mahavishnu pools get pool-"'


@pytest.mark.parametrize(("shell", "script"), [("bash", _BASH), ("fish", _FISH)], ids=["bash", "fish"])
def test_shells_complete_the_names_of_pools(
    cli: Cli, pool: str, with_program: dict[str, str], shell: str, script: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} on this machine")

    done = subprocess.run([shell, "-c", script], env=with_program, capture_output=True, text=True, timeout=120)

    assert pool in done.stdout.splitlines(), done.stderr


def test_zsh_completes_the_names_of_pools_as_they_are_typed(
    cli: Cli, pool: str, with_program: dict[str, str], tmp_path: Path
) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("there is no zsh on this machine")
    lines = ("autoload -Uz compinit; compinit -u -D", 'eval "$(mahavishnu completion zsh)"', "PS1='READY> '")
    (tmp_path / ".zshrc").write_text("\n".join(lines))
    with Terminal(["zsh", "-i"], env={**with_program, "ZDOTDIR": str(tmp_path)}) as terminal:
        assert terminal.shows("READY> "), terminal.seen
        terminal.type(f"mahavishnu pools get {pool[:-2]}\t".encode())
        assert terminal.shows(pool), terminal.seen


def test_the_older_verbs_run_a_prompt_here_and_have_workers_in_a_pool(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = install_program(tmp_path / "bin", "qwen", ANSWER)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    run = cli.json("workers", "execute", "--prompt", "Write code", "--count", "3")
    spawned = cli.json("workers", "spawn", "--type", "shell", "--count", "3")

    assert [result["output"] for result in run["results"]] == ["Done: Write code"] * 3
    assert (spawned["name"], spawned["workers"]) == ("workers-shell", 3)
