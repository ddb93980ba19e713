"""The file of ``submit``: what is read, and that errors name the file and the line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.cli.task_file import read_tasks
from mahavishnu_pools.store.tasks import no_such_parent
from tests.fakes.cli_shell import Shell


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def _written(*tasks: object) -> str:
    Path("tasks.jsonl").write_text("\n".join(json.dumps(task) if task else "" for task in tasks))
    return "tasks.jsonl"


def test_the_mark_that_editors_on_windows_begin_files_with_is_no_part_of_a_task() -> None:
    Path("tasks.jsonl").write_text('\ufeff{"prompt": "a"}\r\n')

    assert read_tasks("tasks.jsonl", directory=None).tasks == ({"prompt": "a"},)


def test_tasks_get_the_directory_of_their_submitter_unless_they_name_one(tmp_path: Path) -> None:
    Path("tasks.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "cwd": "below"}\n"c"\n')

    tasks = read_tasks("tasks.jsonl", directory="/elsewhere").tasks

    assert [task["cwd"] for task in tasks] == ["/elsewhere", str(tmp_path / "below"), "/elsewhere"]
    assert read_tasks("tasks.jsonl", directory=None).tasks[2] == {"prompt": "c"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no task"),
        ("[]\n", "tasks.jsonl, line 1: task: is no JSON object"),
        ("{\n", "tasks.jsonl, line 1: task: it is no JSON"),
    ],
)
def test_tasks_that_cannot_be_read_are_refused(text: str, problem: str) -> None:
    Path("tasks.jsonl").write_text(text)

    with pytest.raises(errors.InvalidField, match=f"^--file: .*{problem}"):
        read_tasks("tasks.jsonl", directory=None)


@pytest.mark.parametrize(
    ("tasks", "line", "problem"),
    [
        (
            [{"name": "build", "prompt": "x"}, None, {"name": "b", "prompt": "x", "after": ["buld"]}],
            3,
            "'b' comes after 'buld', and there is no such task in the batch. Did you mean 'build'?",
        ),
        ([{"name": "a", "prompt": "x"}, None, {"prompt": "x", "after": ["c"]}], 3, "line 3 comes after 'c'"),
        (
            [{"name": "a", "prompt": "x"}, {"prompt": "x", "after": ["a"]}, None, {"name": "a", "prompt": "x"}],
            4,
            "'a' is the name of two tasks: line 1 and line 4",
        ),
        ([None, {"name": "a", "prompt": "x", "after": ["a"]}, "x"], 2, "'a' comes after itself"),
        (
            [None, {"name": "a", "prompt": "x", "after": ["b"]}, {"name": "b", "prompt": "x", "after": ["a"]}],
            2,
            "none could begin: a (line 2) after b (line 3) after a (line 2)",
        ),
    ],
)
def test_what_is_wrong_with_names_is_told_with_file_and_line(tasks: list[object], line: int, problem: str) -> None:
    with pytest.raises(errors.InvalidField, match=re.escape(problem)) as caught:
        read_tasks(_written(*tasks), directory=None)

    assert caught.value.message.startswith(f"--file: tasks.jsonl, line {line}: after: ")
    assert (caught.value.file, caught.value.line) == ("tasks.jsonl", line)


def test_an_id_that_nobody_knows_is_told_with_file_and_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise no_such_parent("task_0123456789abcdef")

    monkeypatch.setattr(shell.manager, "submit_many", refuse, raising=False)
    name = _written("x", None, {"prompt": "y", "after": ["task_0123456789abcdef"]})

    assert shell("submit", "--file", name) == 2

    assert "--file: tasks.jsonl, line 3: after: no task has the id 'task_0123456789abcdef'" in shell.err
