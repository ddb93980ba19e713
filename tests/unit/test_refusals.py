"""What is said of refused values: the caller's words, never those of the library that checks them."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu_pools import errors, names, task_types
from mahavishnu_pools.refusals import renamed
from mahavishnu_pools.routing.celery_app import make_app
from mahavishnu_pools.routing.task_input import build, task_spec
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings

TASKS = [
    ({"task_type": "shell", "timeout": -1}, "timeout: must be greater than 0."),
    ({"task_type": "shell", "timeout": 10**9}, "timeout: must be 604800 or less."),
    ({"task_type": "shell", "timeout": "soon"}, "timeout: must be a number."),
    ({"task_type": "shell", "timeout": float("nan")}, "timeout: must be a finite number."),
    ({"task_type": "shell", "priority": 1.5}, "priority: must be a whole number."),
    ({"task_type": "shell", "env": {"A": 1}}, "env.A: must be a text."),
    ({"task_type": "shell", "idempotency_key": ""}, "idempotency_key: must not be empty."),
    ({"task_type": "shell", "on_worker_lost": "x"}, "on_worker_lost: must be one of 'requeue' or 'fail'."),
    ({"task_type": "shell", "payload": []}, "payload: must be an object."),
    ({}, "A task needs a prompt, or a task_type with its payload."),
]

PAYLOADS = [
    ({}, "payload.command: is missing. The fields are: command, shell."),
    ({"command": 5}, "payload.command: must be a text or a list."),
    ({"command": "ls", "colour": True}, "payload.colour: is unknown."),
    ({"command": "ls", "shell": "maybe"}, "payload.shell: must be true or false."),
    ({"command": ""}, "payload: command must not be empty."),
]


@pytest.mark.parametrize(("given", "text"), TASKS, ids=lambda value: str(value)[:40])
def test_a_refused_task_names_the_argument_and_what_it_must_be(given: dict[str, Any], text: str) -> None:
    with pytest.raises(errors.InvalidField) as caught:
        task_spec(given)

    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(("payload", "text"), PAYLOADS, ids=lambda value: str(value)[:40])
def test_a_refused_payload_names_its_field(payload: dict[str, Any], text: str) -> None:
    with pytest.raises(errors.InvalidField) as caught:
        task_types.validate_payload(task_spec({"task_type": "shell", "payload": payload}))

    assert str(caught.value).startswith(text)


def test_a_rule_about_several_arguments_names_them_as_they_are() -> None:
    with pytest.raises(errors.InvalidField, match=r"^min_workers \(5\) is greater than max_workers \(2\)"):
        build(PoolConfig, {"name": "p", "min_workers": 5, "max_workers": 2})


OPTIONS = {"split_on": "--split-on", "max_workers": "--max", "payload": "--payload", "pool": "--pool", "to": "--to"}

RENAMED = [
    ("payload.command: is missing.", "--payload: command is missing."),
    ("pool: is paused.", "--pool: is paused."),
    ("other: is paused.", "other: is paused."),
    ("Name it with split_on=KEY.", "Name it with --split-on KEY."),
    ("Raise max_workers.", "Raise --max."),
    ("Name another pool to close, or say pool=.", "Name another pool to close, or say --pool."),
    ("'split_on' is no task type; it is /a/split_on.", "'split_on' is no task type; it is /a/split_on."),
]


@pytest.mark.parametrize(("message", "told"), RENAMED)
def test_arguments_are_told_as_options_and_quoted_or_common_words_stay(message: str, told: str) -> None:
    assert renamed(message, OPTIONS.get) == told


@pytest.mark.parametrize(("spec", "says"), [*TASKS, ({"prompt": ""}, "payload.prompt: must not be empty.")])
def test_celerys_way_of_sending_refuses_the_same_before_anything_is_sent(spec: dict[str, Any], says: str) -> None:
    run_task = make_app(Settings(), "redis://127.0.0.1:1/0").tasks[names.RUN_TASK]  # nobody is there to be sent to

    with pytest.raises(errors.InvalidField) as refused:
        run_task.apply_async((spec,), pool="any")

    assert refused.value.message.startswith(says)
