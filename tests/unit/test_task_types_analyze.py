"""What the task types `analyze` and `reduce` do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import errors, reducer
from mahavishnu_pools.schemas.task import TaskResult, TaskStatus
from tests.fakes.run_context import run
from workers.task_types.registry import TaskTypeRegistry

# ── analyze, reduce ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "issues.py").write_text("import os\nimport sys\ntry:\n    x = 1\nexcept:\n    x = 2\n")
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "binary.py").write_bytes(b"x = 1\0\xff")
    (tmp_path / "ruff.toml").write_text("lint.select = ['E722']\n")
    (tmp_path / "-odd name.py").write_text("import os\n")
    return tmp_path


def _analyze(project: Path, **payload: Any) -> Any:
    return run({"task_type": "analyze", "payload": payload}, default_cwd=project)


def test_a_file_is_analysed_and_its_issues_counted(project: Path) -> None:
    outcome = _analyze(project, file="issues.py")

    assert (outcome.status, outcome.output) == ("completed", "Analysis complete: 3 issues found")
    assert outcome.value["file"] == "issues.py"
    assert outcome.value["issues"] == 3
    assert outcome.value["by_rule"] == {"F401": 2, "E722": 1}
    assert outcome.value["findings"][0]["line"] == 1


def test_a_clean_file_and_an_odd_name_are_no_trouble(project: Path) -> None:
    assert _analyze(project, path="good.py").output == "Analysis complete: 0 issues found"
    assert _analyze(project, files=["-odd name.py"]).value["issues"] == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("broken.py", "does not parse: line 1"),
        ("binary.py", "no text file"),
        ("missing.py", "does not exist"),
        ("/dev/null", "no ordinary file"),
    ],
)
def test_a_file_that_cannot_be_analysed_is_a_failure_that_says_why(project: Path, name: str, sentence: str) -> None:
    outcome = _analyze(project, file=name)

    assert outcome.status == "failed"
    assert sentence in outcome.error


@pytest.mark.parametrize("how", ["file", "files", "path", "directory", "link", "above"])
def test_what_lies_outside_the_allowed_roots_is_not_read(tmp_path: Path, how: str) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret" / "s.py"
    root.mkdir()
    secret.parent.mkdir()
    secret.write_text("password = 'hunter2'\nimport os\n")
    (root / "link.py").symlink_to(secret)
    payload: dict[str, Any] = {
        "file": {"file": str(secret)},
        "files": {"files": [str(secret)]},
        "path": {"path": str(secret)},
        "directory": {"path": str(secret.parent)},
        "link": {"path": str(root)},
        "above": {"file": "../secret/s.py"},
    }[how]

    spec = {"task_type": "analyze", "payload": payload}
    outcome = run(spec, default_cwd=root, allowed_roots=(root,))

    assert outcome.status == "failed"
    assert "is outside the allowed roots" in outcome.error
    assert "F401" not in str(outcome)


def test_files_below_an_allowed_root_are_read_wherever_the_task_runs(project: Path, tmp_path: Path) -> None:
    spec = {"task_type": "analyze", "payload": {"file": str(project / "issues.py")}}

    assert run(spec, allowed_roots=(project,)).value["issues"] == 3


def test_one_bad_file_of_several_fails_the_task_but_the_others_are_analysed(project: Path) -> None:
    outcome = _analyze(project, files=["issues.py", "broken.py", "missing.py"])

    assert outcome.status == "failed"
    assert outcome.error.startswith("2 of 3 files cannot be analysed.")
    assert outcome.value["issues"] == 3
    assert len(outcome.value["failures"]) == 2


def test_a_directory_is_analysed_with_all_below_it(project: Path) -> None:
    for name in ("broken.py", "binary.py"):
        (project / name).unlink()
    (project / "deep").mkdir()
    (project / "deep" / "more.py").write_text("import os\n")

    outcome = _analyze(project, path=".")

    assert (outcome.value["file_count"], outcome.value["issues"]) == (4, 5)


def test_rules_come_from_the_task_or_from_the_project_when_asked(project: Path) -> None:
    assert _analyze(project, file="issues.py", rules=["F"]).value["by_rule"] == {"F401": 2}
    assert _analyze(project, file="issues.py", use_project_config=True).value["by_rule"] == {"E722": 1}


def _results() -> list[TaskResult]:
    return [
        TaskResult(task_id="a", status=TaskStatus.COMPLETED, value={"file": "a", "issues": 2, "by_rule": {"F401": 2}}),
        TaskResult(task_id="b", status=TaskStatus.FAILED, error="does not parse"),
        TaskResult(task_id="c", status=TaskStatus.COMPLETED, output="text"),
        TaskResult(
            task_id="d", status=TaskStatus.COMPLETED, value={"files": ["d", "e"], "issues": 1, "by_rule": {"B006": 1}}
        ),
    ]


def _reduce(reducer: str, **services: Any) -> Any:
    payload = {"batch_id": "batch_1", "reducer": reducer}
    return run({"task_type": "reduce", "payload": payload}, services={"batch_reader": lambda _: _results(), **services})


def test_results_are_joined_in_input_order_with_counts() -> None:
    value = _reduce("concat").value

    assert (value["count"], value["completed"], value["failed"]) == (4, 3, 1)
    assert [value["values"][0]["file"], *value["values"][1:3]] == ["a", None, "text"]


def test_analyses_are_added_up() -> None:
    value = _reduce("analysis").value

    assert (value["files"], value["issues"], value["failed"]) == (3, 3, 1)
    assert value["by_rule"] == {"F401": 2, "B006": 1}
    assert value["failures"] == [{"task_id": "b", "error": "does not parse"}]


def test_a_reducer_of_the_users_own_gets_all_results() -> None:
    size = reducer("size")(len)
    registry = TaskTypeRegistry([size])
    services = {"batch_reader": lambda _: _results(), "task_types": registry}

    done = run({"task_type": "reduce:size", "payload": {"batch_id": "b", "reducer": "size"}}, services=services)

    assert done.value == 4


@pytest.mark.parametrize("name", ["", "x" * 81])
def test_a_reducer_has_a_short_name(name: str) -> None:
    with pytest.raises(errors.InvalidField, match="name"):
        reducer(name)


def test_an_unknown_reducer_names_the_known_ones() -> None:
    assert _reduce("nope").error == "Unknown reducer 'nope'. Use one of: analysis, concat."


def test_reducing_without_a_stack_is_one_sentence() -> None:
    assert "cannot read the results" in (run({"task_type": "reduce", "payload": {"batch_id": "b"}}).error or "")
