"""What a task's page is told, of whatever stands in its record."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue

from mahavishnu_pools.schemas.dependency import Dependencies, Parent
from mahavishnu_pools.schemas.task import TaskResult, TaskStatus
from mahavishnu_pools.server.live.tasks import FILES, PARENTS, Around, view
from mahavishnu_pools.server.live.views import TaskView

MADE: dict[str, JsonValue] = {
    "task_id": "task_1",
    "repository": "/r",
    "node": "n",
    "base": "a" * 40,
    "branch": "mahavishnu/task_1",
}

ABOUT = {"at": 1.0, "version": "1", "actions": False}


def shown(**fields: Any) -> TaskView:
    found = TaskResult(task_id="task_1", status=TaskStatus.WAITING, **fields)
    return view(found, None, around=Around(), about=ABOUT)


@pytest.mark.parametrize(
    ("told", "task_id"),
    [
        ({"task_id": "task_far", "url": "https://far/mcp", "remote": {"task_id": "further"}}, "task_far"),
        ({"task_id": 7, "url": ["x"]}, None),
    ],
)
def test_where_a_task_ran_is_told_as_far_as_it_is_text(told: JsonValue, task_id: str | None) -> None:
    remote = shown(metadata={"remote": told}).remote

    assert remote is not None
    assert remote.task_id == task_id


@pytest.mark.parametrize("told", ["far", 7, ["task_far"], None])
def test_what_a_program_calls_remote_breaks_nothing(told: JsonValue) -> None:
    assert shown(metadata={"remote": told}).remote is None


@pytest.mark.parametrize(
    "told", ["main", {"branch": "--output=x"}, {}, None, {**MADE, "branch": "-x"}, {**MADE, "base": "HEAD"}]
)
def test_what_is_no_change_of_a_worktree_is_not_shown_as_one(told: JsonValue) -> None:
    assert shown(metadata={"worktree": told}).changes is None


def test_of_many_changed_files_the_first_are_told_with_how_many_there_are() -> None:
    files = [{"path": f"f{n}", "insertions": 1, "deletions": 0} for n in range(FILES + 1)]

    changes = shown(metadata={"worktree": {**MADE, "changed": files, "files": 900, "insertions": 901}}).changes

    assert changes is not None
    assert (changes.branch, changes.files, changes.insertions) == ("mahavishnu/task_1", 900, 901)
    assert [one.path for one in changes.changed] == [f"f{n}" for n in range(FILES)]


def test_of_many_tasks_that_one_comes_after_those_are_told_first_that_have_not_ended() -> None:
    ended = [Parent(task_id=f"done{n}", status="completed") for n in range(PARENTS)]
    about = Dependencies(parents=(*ended, Parent(task_id="runs")), on_parent_failure="skip", waits=1)

    after = shown(dependencies=about).after

    assert after is not None
    assert (after.total, after.waits, len(after.parents)) == (PARENTS + 1, 1, PARENTS)
    assert after.parents[0].task_id == "runs"
