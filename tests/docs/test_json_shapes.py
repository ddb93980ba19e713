"""The JSON that commands print has the fields that docs/cli.md names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.docs import blocks, reference
from tests.fixtures import warm


def documented(pattern: str) -> set[str]:
    """Return the top-level names of the JSON in the table's row whose first cell begins with the pattern."""
    text = (reference.DOCS / "cli.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| {re.escape(pattern)}[^|]*\| `\{{(.*?)\}}`", text, re.MULTILINE)
    assert found is not None, pattern
    return set(re.findall(r'"(\w+)"', re.sub(r"\[.*\]", "", found.group(1))))


def example(first: str) -> set[str]:
    """Return the names of the example that begins with a name."""
    found = [json.loads(block.text) for block in blocks.blocks("cli.md") if block.language == "json"]
    return next(set(one) for one in found if next(iter(one)) == first)


def test_commands_print_what_the_document_says(tmp_path: Path, environment: dict[str, str]) -> None:
    def call(*arguments: str) -> dict[str, Any]:
        argv = [*warm.MAHAVISHNU, *arguments, "--format", "json"]
        done = warm.run(argv, env=environment, cwd=tmp_path, text=True, timeout=120, check=True)
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    work = ("--task-type", "shell", "--payload", '{"command": "true"}')
    many = ("--task-type", "analyze", "--payload", '{"files": ["none.py"]}', "--no-wait")

    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text('"true"\n')

    assert set(call("up", "--detach")) == documented("`up`, `status`")
    assert set(call("pools", "spawn", "--name", "one", "--worker-type", "shell")) == example("pool_id")
    assert set(call("pools", "list")) == documented("`pools list`")
    assert set(call("pools", "health")) == documented("`pools health`")
    assert set(call("pools", "execute", "one", *work)) == example("task_id") | {"new"}
    found = call("pools", "tasks")
    assert set(found) == documented("`pools tasks`")
    batch = call("pools", "submit", "--pool", "one", "--file", str(tasks))
    assert set(batch) == documented("`pools submit`")
    assert set(call("pools", "task", "--batch", batch["batch_id"])) == documented("`pools task --batch`")
    assert set(call("pools", "retry", found["tasks"][0]["task_id"])) == documented("`pools retry`")
    assert set(call("pools", "discover")) == documented("`pools discover`")
    assert set(call("nodes")) == documented("`nodes`")
    assert set(call("config", "show")) == documented("`config show`")
    task = call("pools", "route", *work, "--no-wait")
    assert set(task) == documented("`pools execute`, `route` with")
    assert set(call("pools", "cancel", task["task_id"])) == documented("`pools cancel`")
    assert set(call("pools", "distribute", *many)) == documented("`pools distribute` with")
    broadcast = call("pools", "distribute", "--strategy", "broadcast", *work)
    assert set(broadcast) == documented("`pools distribute`")
    assert set(call("pools", "close", "one")) == documented("`pools close`")
