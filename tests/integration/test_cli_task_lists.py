"""Commands about many tasks, on a real stack: sent as a file, listed, followed, cancelled, sent again."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fixtures.command_line import Cli


def write_tasks(*tasks: Any) -> str:
    Path("tasks.jsonl").write_text("".join(f"{json.dumps(task)}\n" for task in tasks))
    return "tasks.jsonl"


def test_tasks_of_a_file_run_as_one_batch_where_the_user_stands(cli: Cli, pool: str, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    source = write_tasks({"prompt": "pwd"}, "echo as text", {"prompt": "pwd", "cwd": "below"})

    done = cli.json("pools", "submit", "--file", source, "--wait", "--pool", pool)

    assert [item["output"].strip() for item in done["items"]] == [str(tmp_path), "as text", str(tmp_path / "below")]
    assert (done["total"], done["successful"], done["failed"]) == (3, 3, 0)
    assert {item["batch_id"] for item in done["items"]} == {done["batch_id"]}


def test_each_prompt_is_a_task_of_one_batch(cli: Cli, pool: str) -> None:
    prompts = ("--prompt", "echo a", "--prompt", "false", "--prompt", "echo c")
    done = cli.json("pools", "execute", pool, *prompts, code=1)
    later = cli.json("pools", "route", "--affinity", pool, *prompts, "--no-wait")
    single = cli.json("pools", "execute", pool, "--prompt", "echo")
    refused = cli.json("pools", "execute", pool, *prompts, "--idempotency-key", "k", code=2)

    assert [item["status"] for item in done["items"]] == ["completed", "failed", "completed"]
    assert {item["batch_id"] for item in done["items"]} == {done["batch_id"]}
    assert cli.json("pools", "task", "--batch", later["batch_id"])["task_ids"] == later["task_ids"]
    assert cli.json("pools", "task", "--batch", single["batch_id"])["task_ids"] == [single["task_id"]]
    assert "--idempotency-key" in refused["error"]["message"]


def test_nothing_is_sent_when_one_task_of_a_file_cannot_be_used(cli: Cli, pool: str) -> None:
    source = write_tasks({"prompt": "echo"}, {"promt": "echo"})

    error = cli.json("pools", "submit", "--file", source, code=2)["error"]

    assert "line 2" in error["message"]
    assert "Did you mean 'prompt'?" in error["message"]
    assert cli.json("pools", "tasks", "--pool", pool) == {"tasks": []}


def test_a_batch_is_shown_followed_and_its_failures_are_sent_again(cli: Cli, pool: str) -> None:
    source = write_tasks("echo fine", "test -e mended && echo mended")
    batch = cli.json("pools", "submit", "--file", source, "--pool", pool)["batch_id"]

    first = cli.json("pools", "task", "--batch", batch, "--follow", code=1)
    shown = cli.json("pools", "task", "--batch", batch)
    Path("mended").touch()
    again = cli.json("pools", "retry", "--batch", batch, "--failed")
    second = cli.json("pools", "task", "--batch", again["batch_id"], "--follow")

    assert [item["status"] for item in first["items"]] == ["completed", "failed"]
    assert [task["status"] for task in shown["tasks"]] == ["completed", "failed"]
    assert list(again["retried"]) == [first["items"][1]["task_id"]]
    assert [item["output"] for item in second["items"]] == ["mended\n"]


def test_what_did_not_fail_is_not_sent_again(cli: Cli, pool: str) -> None:
    task_id = cli.json("pools", "execute", pool, "--prompt", "echo")["task_id"]

    again = cli.json("pools", "retry", task_id)

    assert again == {"batch_id": None, "retried": {}, "skipped": {task_id: "it is completed"}}
    assert cli.json("pools", "retry", "task_0000000000000000", code=3)["error"]["code"] == "task_not_found"


def test_tasks_are_listed_newest_first_and_by_status_pool_batch_and_time(cli: Cli, pool: str) -> None:
    cli("pools", "spawn", "--name", f"{pool}-2", "--worker-type", "shell")
    failed = cli.json("pools", "execute", pool, "--prompt", "exit 3", code=1)["task_id"]
    done = cli.json("pools", "execute", f"{pool}-2", "--prompt", "echo hi")["task_id"]
    cli("pools", "pause", pool)
    waiting = cli.json("pools", "execute", pool, "--prompt", "echo later", "--no-wait")["task_id"]
    soon = (datetime.now(UTC) + timedelta(hours=1)).astimezone().strftime("%Y-%m-%dT%H:%M:%S")

    def listed(*options: str) -> list[str]:
        found = [task["task_id"] for task in cli.json("pools", "tasks", *options)["tasks"]]
        return [task_id for task_id in found if task_id in (failed, done, waiting)]  # the stack has other pools

    assert listed() == [waiting, done, failed]
    assert listed("--status", "failed") == [failed]
    assert listed("--status", "queued", "--status", "completed") == [waiting, done]
    assert listed("--pool", pool) == [waiting, failed]
    assert listed("--limit", "1") == [waiting]
    assert listed("--since", "1h") == [waiting, done, failed]
    assert listed("--since", soon) == []
    assert "echo later" in cli("pools", "tasks")
    assert cli.json("pools", "cancel", "--pool", pool)["cancelled"] == 1


def test_what_a_task_printed_is_read_later_with_its_streams_apart(cli: Cli, pool: str) -> None:
    task_id = cli.json("pools", "execute", pool, "--prompt", "echo out; echo problem >&2")["task_id"]

    out = cli("pools", "logs", task_id)

    assert (out, cli.err) == ("out\n", "problem\n")
    assert cli("pools", "logs", task_id, "--follow") == "out\n"


def test_what_waits_in_all_pools_is_cancelled(cli: Cli, pool: str) -> None:
    cli("pools", "pause", pool)
    ids = [cli.json("pools", "execute", pool, "--prompt", "echo", "--no-wait")["task_id"] for _ in range(2)]

    # Something may wait in other tests' pools, too.
    assert cli.json("pools", "cancel", "--status", "queued")["cancelled"] >= 2
    assert [cli.json("pools", "task", one)["status"] for one in ids] == ["cancelled"] * 2


def test_items_come_from_a_file_standard_input_or_a_pattern(
    cli: Cli, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (Path(name)).mkdir()
    Path("items.txt").write_text("x\n\ny\n")

    def outputs(*options: str) -> list[str]:
        done = cli.json("pools", "distribute", "--pool", pool, *options)
        return [item["output"].strip() for item in done["items"]]

    assert outputs("--prompt", "echo Fix {item}", "--items-from", "items.txt") == ["Fix x", "Fix y"]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"z\n")))
    assert outputs("--prompt", "echo {item}", "--items-from", "-") == ["z"]
    here = Path.cwd()
    assert outputs("--prompt", "pwd", "--cwd", "{item}", "--items-from", "[ab]") == [str(here / "a"), str(here / "b")]
    assert outputs("--prompt", "pwd", "--cwd", "{item}", "--items-from", f"{here}/[ab]") == [
        str(here / "a"),
        str(here / "b"),
    ]
    missing = cli.json("pools", "distribute", "--prompt", "x {item}", code=2)["error"]["message"]
    assert missing.startswith("--items-from: is missing.")
    assert (
        "no file matches"
        in cli.json("pools", "distribute", "--prompt", "x", "--items-from", "*.no", code=2)["error"]["message"]
    )
