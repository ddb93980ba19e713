"""Judges: what they are asked, and what of their answers is a verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools.schemas.task import Outcome, TaskResult, TaskStatus
from mahavishnu_pools.worker_types import BUILT_IN, WorkerType
from tests.fakes.run_context import install_program, run
from workers.task_types.judge import ALL_CHARACTERS, ANSWER_CHARACTERS, judged, question, said_in


def answers(*outputs: str | None) -> list[TaskResult]:
    """Return candidates that put out these texts; None: one that failed."""
    return [
        TaskResult(
            task_id=f"task_{place}",
            status=TaskStatus.FAILED if output is None else TaskStatus.COMPLETED,
            output=output,
            error="no" if output is None else None,
        )
        for place, output in enumerate(outputs)
    ]


def test_a_prompt_has_the_answers_by_number_where_it_wants_them() -> None:
    asked = question("Which of\n{answers}\nis shortest?", answers("one", None, "three"))

    assert asked.startswith("Which of\n--- Answer 0 ---\none\n\n--- Answer 2 ---\nthree\n\n--- End of the answers ---")
    assert asked.index("is shortest?") < asked.index('{"winner": its number')
    assert question("Which?", answers("one")).startswith("Which?\n\n--- Answer 0 ---\none")


def test_a_long_answer_is_cut_with_a_mark() -> None:
    asked = question("Which?", answers("x" * (ANSWER_CHARACTERS + 7)))

    assert "x" * ANSWER_CHARACTERS + "\n[… 7 more characters were left out]" in asked
    assert "x" * (ANSWER_CHARACTERS + 1) not in asked
    assert len(question("Which?", answers(*["x" * ANSWER_CHARACTERS] * 32))) < ALL_CHARACTERS + 4000


@pytest.mark.parametrize(
    ("said", "winner"),
    [
        ('{"winner": 1, "reason": "short"}', 1),
        (" 1\n", 1),
        ('I like {"a": 1} less.\n```json\n{"winner": 2, "reason": "it has {braces}"}\n```\n', 2),
        ('first {"winner": 1} and then {"winner": 2}', 2),
        ('{"winner": 0}', None),
        ('{"winner": 3}', None),
        ('{"winner": -1}', None),
        ('{"winner": true}', None),
        ('{"winner": "1"}', None),
        ("the second one", None),
        ("", None),
        ("{" * 5000, None),
        ("[" * 100_000, None),
    ],
)
def test_only_a_candidate_that_has_an_answer_can_be_named(said: str, winner: int | None) -> None:
    outcome = judged(Outcome(status="completed", output=said), answers(None, "b", "c"))

    assert outcome.status == ("failed" if winner is None else "completed")
    found = outcome.value if isinstance(outcome.value, dict) else {}
    assert found.get("winner") == winner
    assert found.get("task_id") == (None if winner is None else f"task_{winner}")


def test_what_is_no_json_says_nothing() -> None:
    assert said_in("no {winner} here") is None


def services(candidates: list[TaskResult], **more: Any) -> dict[str, Any]:
    return {"batch_reader": {"b": candidates}.__getitem__, **more}


def test_an_ai_program_reads_the_question(tmp_path: Path) -> None:
    program = install_program(
        tmp_path,
        "wise",
        'q=$(cat); echo "$q" | grep -c "^--- Answer"; echo "{\\"winner\\": 1, \\"reason\\": \\"wise\\"}"\n',
    )
    types = {**BUILT_IN, "wise": WorkerType(name="wise", argv=("wise",))}

    outcome = run(
        {
            "task_type": "judge",
            "payload": {"batch_id": "b", "prompt": "Which?"},
            "env": {"PATH": f"{program}:/usr/bin:/bin"},
        },
        worker_type="wise",
        services=services(answers("a", "b", None), worker_types=types),
    )

    assert (outcome.status, outcome.error) == ("completed", None)
    assert outcome.output.startswith("2\n")
    assert outcome.value == {"winner": 1, "reason": "wise", "task_id": "task_1"}


def test_a_command_stays_as_it_is_and_finds_everything_in_a_file() -> None:
    evil = "$(touch evil); `touch evil`; '; touch evil"
    command = 'test ! -e evil && cp "$MAHAVISHNU_ANSWERS" answers.json && cat answers.json && exit 7 # {answers}'

    outcome = run(
        {"task_type": "judge", "payload": {"batch_id": "b", "prompt": command}},
        worker_type="shell",
        services=services(answers(evil, None)),
    )

    assert outcome.exit_code == 7
    shown = json.loads(outcome.output)
    assert [(one["status"], one["output"], one["error"]) for one in shown] == [
        ("completed", evil, None),
        ("failed", None, "no"),
    ]


LONGEST = """
def longest(answers, least):
    best = max(range(len(answers)), key=lambda place: len(answers[place]["output"]))
    return {"winner": best, "reason": "longest"} if len(answers[best]["output"]) >= least else None
"""


@pytest.mark.parametrize(("least", "status"), [(2, "completed"), (100, "failed")])
def test_a_function_gets_the_answers(write_module: Callable[[str, str], Path], least: int, status: str) -> None:
    folder = write_module("their_judge", LONGEST)
    payload = {"batch_id": "b", "callable": "their_judge:longest", "kwargs": {"least": least}}

    outcome = run(
        {"task_type": "judge:python", "payload": payload, "env": {"PYTHONPATH": str(folder)}},
        python_callables=("their_judge:longest",),
        services=services(answers("a", "bbb", "cc")),
    )

    assert outcome.status == status
    verdict = {"winner": 1, "reason": "longest", "task_id": "task_1"}
    assert outcome.value == (verdict if status == "completed" else None)
    assert status == "completed" or "named no candidate" in str(outcome.error)


def test_a_function_that_is_not_allowed_does_not_judge() -> None:
    payload = {"batch_id": "b", "callable": "os:system"}

    outcome = run({"task_type": "judge:python", "payload": payload}, services=services(answers("a", "b")))

    assert outcome.status == "failed"
    assert "is not allowed on this worker" in str(outcome.error)
