"""The command line as a process, with a real stack: Redis, agent, worker groups."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools.embedded import stack
from tests.fixtures.warm import MAHAVISHNU, Program
from tests.waiting import eventually

#: What takes long to import, and what `pools list` needs none of: its time is nearly all imports.
SLOW = frozenset({"celery", "kombu", "kubernetes", "flower", "httpx", "mcp", "prometheus_client", "rich"})


class CommandLine:
    """Runs ``mahavishnu`` in one directory with one data directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.env = {**os.environ, "MAHAVISHNU_DATA_DIR": str(self.data), "COLUMNS": "200"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return Program([*MAHAVISHNU, *arguments], env=self.env, stdout=pipe, stderr=pipe, text=True, cwd=self.directory)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=90)
            return process.returncode, out, err

    def json(self, *arguments: str, code: int = 0) -> Any:
        found, out, err = self.run(*arguments, "--format", "json")
        assert found == code, err
        return json.loads(out if out else err)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, valkey_binary: Path) -> Iterator[CommandLine]:
    """Return a command line with a running stack and the pools ``north`` and ``south``."""
    found = CommandLine(tmp_path_factory.mktemp("cli"))
    code, _, err = found.run("up", "--detach")
    assert code == 0, err
    for name in ("north", "south"):
        found.json("pools", "spawn", "--name", name, "--min", "2", "--max", "4", "--worker-type", "shell")
    yield found
    stack.stop(found.data, drain_seconds=0)


@pytest.fixture
def nowhere(tmp_path: Path) -> CommandLine:
    """Return a command line without a stack."""
    return CommandLine(tmp_path)


# ── pools ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_spawned_pools_are_listed_as_json_table_and_markdown(line: CommandLine) -> None:
    pools = {pool["name"]: pool for pool in line.json("pools", "list")["pools"]}
    _, table, _ = line.run("pools", "list")
    _, markdown, _ = line.run("pool", "list", "-f", "markdown")

    assert pools["north"]["status"] == "running"
    assert (pools["north"]["workers"], pools["north"]["max_workers"]) == (2, 4)
    assert re.search(r"│ pool_\w+ │ north +│ mahavishnu │ ● running │ +2 │ 2-4 +│", table)
    assert re.search(r"\| pool_\w+ \| south \| mahavishnu \| running \| 2 \| default \|", markdown)
    assert "\x1b[" not in table


def test_a_list_that_was_narrowed_does_not_say_that_there_are_no_pools(line: CommandLine) -> None:
    assert line.run("pools", "list", "--by-type", "session-buddy")[1].startswith("No such pools.")


def test_a_pool_is_shown_by_name_and_by_id(line: CommandLine) -> None:
    pool = line.json("pools", "get", "north")

    assert line.json("pools", "get", pool["pool_id"])["name"] == "north"


def test_spawning_an_equal_pool_again_returns_it_and_another_one_is_refused(line: CommandLine) -> None:
    same = ["pools", "spawn", "--name", "north", "--min", "2", "--max", "4", "--worker-type", "shell"]

    assert line.json(*same)["pool_id"] == line.json("pools", "get", "north")["pool_id"]
    error = line.json(*same, "--region", "elsewhere", code=2)["error"]
    assert error["code"] == "pool_conflict"
    assert "region" in error["message"]


def test_a_pool_is_scaled_paused_resumed_and_closed(line: CommandLine) -> None:
    line.json("pools", "spawn", "--name", "short-lived", "--worker-type", "shell", "--max", "2")

    assert line.json("pools", "scale", "short-lived", "--target", "2")["workers"] == 2
    assert line.json("pools", "scale", "short-lived", "--target", "3", code=2)["error"]["code"] == "scale_out_of_range"
    assert line.json("pools", "scale", "short-lived", "--target", "3", "--max", "3")["max_workers"] == 3
    assert line.json("pools", "pause", "short-lived")["status"] == "paused"
    assert line.json("pools", "resume", "short-lived")["status"] == "running"
    assert len(line.json("pools", "close", "short-lived")["closed"]) == 1
    assert line.json("pools", "get", "short-lived", code=3)["error"]["code"] == "pool_gone"


def test_an_unknown_worker_type_is_refused_by_name(line: CommandLine) -> None:
    error = line.json("pools", "spawn", "--name", "odd", "--worker-type", "no-such-type", code=2)["error"]

    assert "no-such-type" in error["message"]
    assert "odd" not in [pool["name"] for pool in line.json("pools", "list")["pools"]]


def test_health_and_statistics_of_a_running_stack(line: CommandLine) -> None:
    health = line.json("pools", "health")

    assert health["status"] == "healthy"
    assert {pool["name"] for pool in health["pools"]} >= {"north", "south"}
    assert line.json("pools", "health", "--pool", "north")["pools"][0]["workers"] == 2
    assert line.json("pools", "stats", "--by-type")["by_type"]["mahavishnu"]["pools"] >= 2


# ── tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_runs_on_the_named_pool(line: CommandLine) -> None:
    pool = line.json("pools", "get", "north")

    result = line.json("pools", "execute", "north", "--prompt", "echo hello")

    assert (result["status"], result["output"].strip(), result["pool_id"]) == ("completed", "hello", pool["pool_id"])


def test_the_printed_result_reads_as_in_the_documents(line: CommandLine) -> None:
    (line.directory / "test.py").write_text("import os\n", encoding="utf-8")

    code, out, err = line.run(
        "pools", "execute", "--pool", "north", "--task-type", "analyze", "--payload", '{"file": "test.py"}'
    )

    assert code == 0, err
    assert re.fullmatch(r"✓ Routed to pool: pool_\w+\n  Task: task_\w+\n", err)
    assert out == "✓ Task completed\n  Status: completed\n  Output: Analysis complete: 1 issues found\n"


def test_a_routed_task_runs_on_one_of_the_pools(line: CommandLine) -> None:
    result = line.json(
        "pool", "route", "--worker-type", "shell", "--prompt", "echo routed", "--selector", "round_robin"
    )

    assert result["output"].strip() == "routed"
    assert result["pool_id"] in {pool["pool_id"] for pool in line.json("pools", "list")["pools"]}


def test_tasks_of_one_affinity_key_stay_on_one_pool(line: CommandLine) -> None:
    arguments = [
        "pools",
        "route",
        "--worker-type",
        "shell",
        "--prompt",
        "true",
        "--selector",
        "affinity",
        "--affinity",
        "somebody",
    ]

    assert len({line.json(*arguments)["pool_id"] for _ in range(3)}) == 1


def test_a_failing_command_ends_with_1_and_shows_its_exit_code(line: CommandLine) -> None:
    result = line.json("pools", "execute", "--worker-type", "shell", "--prompt", "echo seen; exit 3", code=1)

    assert (result["status"], result["exit_code"]) == ("failed", 3)


def test_a_task_over_its_timeout_has_failed(line: CommandLine) -> None:
    result = line.json("pools", "execute", "--worker-type", "shell", "--prompt", "sleep 30", "--timeout", "0.5", code=1)

    assert result["status"] == "timeout"


def test_the_end_of_ones_own_waiting_is_5_and_leaves_the_task(line: CommandLine) -> None:
    started = [
        "pools",
        "execute",
        "--worker-type",
        "shell",
        "--prompt",
        "sleep 3; echo done",
        "--idempotency-key",
        "patient",
    ]

    assert line.json(*started, "--wait-timeout", "0.2", code=5)["error"]["code"] == "wait_timeout"
    assert line.json(*started)["output"].strip() == "done"


def test_a_task_not_waited_for_is_followed_to_its_outcome(line: CommandLine) -> None:
    receipt = line.json("pools", "execute", "north", "--prompt", "echo later", "--no-wait")

    assert receipt["status"] == "queued"
    result = line.json("pools", "task", receipt["task_id"], "--follow")
    assert (result["status"], result["output"].strip()) == ("completed", "later")
    assert line.json("pools", "task", receipt["task_id"])["status"] == "completed"


def test_a_running_task_is_cancelled(line: CommandLine) -> None:
    task_id = line.json("pools", "execute", "north", "--prompt", "sleep 60", "--no-wait")["task_id"]
    eventually(lambda: line.json("pools", "task", task_id)["status"] == "running", within=30)

    line.json("pools", "cancel", task_id)

    assert line.json("pools", "task", task_id, "--follow", code=1)["status"] == "cancelled"


def test_ctrl_c_cancels_the_task_that_was_waited_for(line: CommandLine) -> None:
    marker = line.directory / "started"
    process = line.start("pools", "execute", "north", "--prompt", f"touch {marker}; sleep 60", "--idempotency-key", "c")
    eventually(marker.exists, within=30)

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    task_id = re.search(r"Cancelled task (\w+)", err)
    assert task_id is not None, err
    assert line.json("pools", "task", task_id[1], "--follow", code=1)["status"] == "cancelled"


def test_a_list_is_split_over_pools_and_reduced(line: CommandLine) -> None:
    payload = json.dumps({"files": ["test.py", "no-such-file.py"]})
    (line.directory / "test.py").write_text("import os\n", encoding="utf-8")
    arguments = ["pools", "distribute", "-t", "analyze", "--payload", payload, "-s", "map_reduce"]

    result = line.json(*arguments, "--reducer", "analysis", code=1)

    assert (result["strategy"], result["total"], result["successful"], result["failed"]) == ("map_reduce", 2, 1, 1)
    assert [item["status"] for item in result["items"]] == ["completed", "failed"]
    assert result["reduced"]["by_rule"] == {"F401": 1}


def test_a_distribution_says_what_it_does_and_shows_progress_apart_from_the_data(line: CommandLine) -> None:
    (line.directory / "test.py").write_text("import os\n", encoding="utf-8")

    code, out, err = line.run(
        "pools", "distribute", "-t", "analyze", "--payload", '{"files": ["test.py"]}', "--format", "progress"
    )

    assert code == 0, err
    assert "Distributing task across" in err
    assert "100%" in err
    assert out.startswith("✓ Distribution completed\n  Total: 1\n  Successful: 1\n  Failed: 0\n")


#: Arguments after ``pools``, the exit code, and what the message must name.
REFUSED = [
    (["get", "nobody"], 3, ["nobody", "north"]),
    (["execute", "nobody", "--prompt", "true"], 3, ["nobody"]),
    (["task", "task_nothing"], 3, ["task_nothing"]),
    (["cancel", "task_nothing"], 3, ["task_nothing"]),
    (["execute", "--prompt", "true", "--tag", "gpu"], 3, ["north", "gpu"]),
    (["execute", "-t", "no-such-type", "--payload", "{}"], 2, ["no-such-type", "analyze"]),
    (["execute", "-t", "analyze", "--payload", '{"fil": "a"}'], 2, ["payload", "fil"]),
    (["distribute", "-t", "analyze", "--payload", "{}"], 2, ["files"]),
    (["execute", "-t", "shell", "--payload", '{"command": "' + "x" * 2_000_000 + '"}'], 2, ["1048576"]),
]


@pytest.mark.parametrize(("arguments", "code", "named"), REFUSED)
def test_what_cannot_be_done_is_refused_by_name(
    line: CommandLine, arguments: list[str], code: int, named: list[str], tmp_path: Path
) -> None:
    if len(arguments[-1]) > 100_000:
        (tmp_path / "payload.json").write_text(arguments[-1], encoding="utf-8")
        arguments = [*arguments[:-1], f"@{tmp_path}/payload.json"]

    found, out, err = line.run("pools", *arguments)

    assert (found, out) == (code, ""), err
    assert all(name in err for name in named), err
    assert "Traceback" not in err


# ── no stack ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("arguments", [["list"], ["health"], ["execute", "--prompt", "true"], ["spawn", "-n", "a"]])
def test_without_a_stack_the_way_to_start_one_is_named_and_none_is_started(
    nowhere: CommandLine, arguments: list[str]
) -> None:
    code, out, err = nowhere.run("pools", *arguments)

    assert (code, out) == (4, "")
    assert "mahavishnu up" in err
    assert not nowhere.data.exists()


def test_a_redis_that_is_not_there_ends_with_4(nowhere: CommandLine) -> None:
    nowhere.env["MAHAVISHNU_REDIS_URL"] = "redis://:secret@127.0.0.1:1/0"

    error = nowhere.json("pools", "list", code=4)["error"]

    assert error["code"] == "redis_unavailable"
    assert "secret" not in json.dumps(error)


def test_listing_pools_loads_nothing_that_takes_long(line: CommandLine) -> None:
    env = {**line.env, "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run([*MAHAVISHNU, "pools", "list"], env=env, capture_output=True, text=True, timeout=90)
    loaded = done.stderr

    found = {entry.rsplit("|", 1)[1].strip().split(".")[0] for entry in loaded.splitlines() if "|" in entry}
    assert done.returncode == 0
    assert "redis" in found
    assert not found & SLOW
    assert not [name for name in ("mahavishnu_pools.schemas.kubernetes", "opentelemetry.context") if name in loaded]
