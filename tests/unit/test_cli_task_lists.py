"""What lists of tasks show on a terminal of 80 columns, and of a command."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mahavishnu_pools.cli import dead_documents, task_documents, task_lists
from mahavishnu_pools.cli.formats.cells import width_of
from mahavishnu_pools.cli.formats.table import TableFormat
from mahavishnu_pools.schemas.dead import DeadLetter
from mahavishnu_pools.schemas.routing import RoutedCandidate, Routing
from mahavishnu_pools.schemas.task_brief import TaskBrief
from mahavishnu_pools.store.task_briefs import SUMMARY_LENGTH, summary_of
from tests.fakes.cli_manager import MOMENT


def brief(command: Any = ("true",), **fields: Any) -> TaskBrief:
    """Return a shell task as the store reads it."""
    spec = json.dumps({"task_type": "shell", "payload": {"command": command}})
    given = {"task_id": "task_4534660a28baaf23", "task_type": "shell", "status": "completed", "created_at": MOMENT}
    return TaskBrief(**{**given, "summary": summary_of(spec, complete=True), **fields})


def what(task: TaskBrief) -> str:
    """Return what a table with room for all says is to be done."""
    row = TableFormat().render(task_lists.task_list([task], limit=9)).splitlines()[4]
    return row.split(" │ ")[4].strip()


def test_dead_letters_show_commands_as_they_are_typed() -> None:
    about = {"pool_id": "pool_1", "cause": "losses", "died_at": MOMENT, "summary": brief(["rm", "a b"]).summary}
    typed = DeadLetter(task_id="task_1", task_type="shell", **about)
    other = DeadLetter(task_id="task_2", task_type="x", **about)

    text = TableFormat().render(dead_documents.dead_list([typed, other]))

    assert "rm 'a b'" in text
    assert '{"command": ["rm", "a b"]}' in text
    assert dead_documents.dead_list([typed]).data["dead"][0]["summary"] == '{"command": ["rm", "a b"]}'


@pytest.mark.parametrize("status", ["completed", "awaiting_approval"])
def test_80_columns_show_the_whole_status_and_enough_to_know_a_task_by(status: str) -> None:
    tasks = [brief(["sleep", "123456789"], status=status, pool_id="a-pool-with-quite-a-long-name", duration=1.0)]

    text = TableFormat(width=80).render(task_lists.task_list(tasks, limit=9))

    assert max(width_of(line) for line in text.splitlines()) <= 80
    assert f" {status} " in text
    assert "sleep 123456789" in text


def test_a_moment_is_shown_whole_or_not_at_all() -> None:
    tasks = [brief(["echo", "word " * 15], pool_id="local", duration=1.0)]

    texts = [TableFormat(width=width).render(task_lists.task_list(tasks, limit=9)) for width in range(80, 200, 5)]

    assert {("Created" in text, "2026-02-05 10:23:45 UTC" in text) for text in texts} == {(True, True), (False, False)}


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["sh", "-c", "echo a; date"], "sh -c 'echo a; date'"),
        ("echo a && date", "echo a && date"),
        (["echo", "x" * 200], "echo '" + "x" * (SUMMARY_LENGTH - 23) + "…'"),
        ("y" * 200, "y" * (SUMMARY_LENGTH - 14) + "…"),
        (None, '{"command": null}'),
    ],
)
def test_a_command_is_shown_as_it_is_typed_also_its_beginning(command: Any, shown: str) -> None:
    assert what(brief(command)) == shown


@pytest.mark.parametrize("summary", [None, "[1]", "7", '{"command": ["a", "\\u00…', '{"task_type": "shell", "pay…'])
def test_what_is_no_readable_command_is_shown_as_it_is(summary: str | None) -> None:
    assert what(brief(summary=summary)) == (summary or "–")


def test_why_a_pool_was_left_out_is_never_cut() -> None:
    reason = "it is in region default, not eu-west, and has none of the tags that were asked for"
    candidate = RoutedCandidate(pool_id="pool_1", name="one", load=0.0)
    found = {"strategy": "least_loaded", "pool_id": "pool_1", "candidates": (candidate,), "left_out": {"two": reason}}
    routing = Routing(**found, at=MOMENT)

    text = TableFormat(width=80).render(task_documents.routed(routing))

    assert f"Left out:\n  two: {reason}" in text
    assert "chosen" in text
