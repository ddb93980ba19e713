"""What a task is told of those it comes after: everything that fits, cut honestly, in the form its kind can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from mahavishnu_pools import errors
from mahavishnu_pools.routing.graphs import in_order, levels, linked
from mahavishnu_pools.schemas.dependency import PARENTS_MOST, ParentResult
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.task_types import task_type
from tests.fakes.run_context import install_program, make_context
from tests.store.world import World
from workers.executors.informed import with_prompt
from workers.executors.interface import RunContext
from workers.executors.registry import execute
from workers.parents import BYTES_MOST, VARIABLE, as_json, parent_reader, with_parents
from workers.task_types.registry import TaskTypeRegistry

BUILD = ParentResult(task_id="task_1", name="build", status="completed", output="12 files", value={"files": 12})
ALL = "## build: completed\n12 files\n\n## task_2: failed\n3 failed"
TEST = ParentResult(task_id="task_2", status="failed", error="3 failed", exit_code=1)


def spec(**fields: Any) -> dict[str, Any]:
    return {"prompt": "x", "after": ["task_1"], **fields}


def told(given: dict[str, Any], *parents: ParentResult, **context: Any) -> Any:
    """Run a task that was told of these parents, as a worker does."""
    services = {**context.pop("services", {}), "parents": lambda _: parents}
    found = with_parents(make_context(given, **context, services=services))
    assert isinstance(found, RunContext)
    return execute(found)


def test_a_command_finds_the_results_in_its_environment() -> None:
    page = (Path(__file__).parents[2] / "docs" / "dependencies.md").read_text(encoding="utf-8")
    documented = next(part for part in page.split("`") if VARIABLE in part and "jq" in part).split(" \\| ")[0]
    command = {"task_type": "shell", "payload": {"command": documented, "shell": True}}
    built = BUILD.model_copy(update={"output": "12\nfiles\n"})

    outcome = told({**command, "after": ["task_1", "task_2"]}, built, TEST)

    assert json.loads(outcome.output) == [
        {"task_id": "task_1", "name": "build", "status": "completed", "output": "12\nfiles\n", "value": {"files": 12}},
        {"task_id": "task_2", "status": "failed", "error": "3 failed", "exit_code": 1},
    ]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Go on", f"Go on\n\nResults of the tasks before this one:\n\n{ALL}"),
        ("With {parents}.", f"With {ALL}."),
        ("{parents.build}, {parents.task_2}, {parents.other}", "12 files, 3 failed, {parents.other}"),
    ],
)  # fmt: skip
def test_a_prompt_for_an_ai_program_has_the_results_where_it_asks_for_them(
    tmp_path: Path, prompt: str, expected: str
) -> None:
    program = install_program(tmp_path / "bin", "claude", "cat\n")
    env = {"PATH": f"{program}:/usr/bin:/bin"}

    outcome = told(spec(prompt=prompt), BUILD, TEST, worker_type="terminal-claude", env=env)

    assert expected in outcome.output


def test_a_prompt_has_values_as_json() -> None:
    value = {"ok": True, "left": None, "word": "é"}
    only = ParentResult(task_id="task_1", status="completed", output="", value=value)

    assert '{"ok": true, "left": null, "word": "é"}' in with_prompt(make_context(spec(), parents=(only,)), "{parents}")


def test_a_shell_is_given_no_command_that_others_put_out() -> None:
    evil = ParentResult(task_id="task_1", status="completed", output="; echo evil")

    outcome = told(spec(prompt="echo {parents}"), evil, worker_type="shell")

    assert outcome.output == "{parents}\n"


def test_a_python_function_is_told_when_it_has_a_parameter_for_it(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(
        "def told(word, parents=None):\n    return [word, parents]\n\ndef plain(word):\n    return word\n"
    )

    def call(name: str, *parents: ParentResult, **kwargs: Any) -> Any:
        payload = {"callable": f"steps:{name}", "args": ["a"], "kwargs": kwargs}
        given = {"task_type": "python", "payload": payload, "env": {"PYTHONPATH": str(tmp_path)}}
        return told({**given, "after": ["task_1"]}, *parents, python_callables=("steps:*",)).value

    assert call("told", BUILD) == ["a", [BUILD.model_dump(mode="json")]]
    assert call("told") == ["a", None]
    assert call("told", BUILD, parents=7) == ["a", 7]
    assert call("plain", BUILD) == "a"


class Report(BaseModel):
    title: str
    parents: list[ParentResult] = []


@task_type("report", payload=Report, mode="call")
def report(payload: Report, context: RunContext) -> list[str]:
    return [payload.title, *(str(one.output) for one in payload.parents), *(one.task_id for one in context.parents)]


def test_a_task_type_of_ones_own_is_told_in_its_payload_when_that_has_a_field_for_it() -> None:
    services = {"task_types": TaskTypeRegistry([report])}

    outcome = told({"task_type": "report", "payload": {"title": "t"}, "after": ["task_1"]}, BUILD, services=services)

    assert outcome.value == ["t", "12 files", "task_1"]


def test_a_task_whose_record_knows_nothing_of_it_or_that_cannot_ask_does_not_run() -> None:
    def silent(_: str) -> None:
        raise errors.RedisUnavailable("away")

    for services, status, retryable in (
        ({}, "failed", None),
        ({"parents": lambda _: None}, "failed", None),
        ({"parents": silent}, "failed", "connection"),
    ):
        outcome = with_parents(make_context(spec(), services=services))
        assert not isinstance(outcome, RunContext)
        assert (outcome.status, outcome.retryable) == (status, retryable)


@pytest.mark.parametrize("count", [1, 3, PARENTS_MOST])
def test_results_are_cut_so_that_an_environment_can_hold_them_and_say_so(world: World, count: int) -> None:
    pool = world.pool("p")
    output = '"é\n' * 60_000
    lease = world.lease(pool)
    ids = world.to(pool, count)
    while claims := world.claim(lease, pool, 100):
        world.store.run_many(
            [world.finish_call(world.held(lease, pool, claim), output=output[: 200_000 // count]) for claim in claims]
        )
    (child,) = world.submit(after=ids)

    parents = parent_reader(world.store)(child)

    assert parents is not None
    assert [one.task_id for one in parents] == ids
    text = as_json(parents)
    assert len(text) <= BYTES_MOST
    assert text.isascii()
    assert all(one.truncated and output.startswith(str(one.output)) for one in parents)
    if count < 10:
        assert len(text) > BYTES_MOST * 0.8


def test_a_result_that_was_not_kept_is_told_as_expired(world: World) -> None:
    pool = world.pool("p")
    (gone,) = world.finished(pool, 1)
    (child,) = world.submit(after=[gone])
    world.redis.hset(world.key("task", child), f"p:{gone}", "completed")
    world.redis.delete(world.key("task", gone))

    assert parent_reader(world.store)(child) == (ParentResult(task_id=gone, status="completed", expired=True),)


def test_tasks_are_put_in_order_and_kept_together_where_that_goes() -> None:
    assert in_order("abab", [[], [], [], []]) == [0, 2, 1, 3]
    assert in_order("abab", [[3], [], [], []]) == [1, 3, 2, 0]
    assert in_order("aa", [[1], [0]]) == []
    assert levels({"c": ["b", "gone"], "b": ["a"], "a": []}) == [["a"], ["b"], ["c"]]
    count = 20_000
    assert in_order("a" * count, [[index + 1] for index in range(count - 1)] + [[]]) == list(reversed(range(count)))


def test_a_long_cycle_is_told_in_short() -> None:
    count = 20_000
    tasks = [TaskSpec(prompt="x", after=((index + 1) % count,)) for index in range(count)]

    with pytest.raises(errors.InvalidField, match=r"task 0 after task 1 after .* after … after task 0"):
        linked(tasks, [f"task_{index}" for index in range(count)])
