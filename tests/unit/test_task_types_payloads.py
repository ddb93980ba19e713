"""What a client refuses at submit: task types that do not exist, payloads that do not fit."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.task_types import BUILT_IN, TaskType, task_type, validate_payload


class Deploy(BaseModel, extra="forbid"):
    service: str
    replicas: int = 1


def _spec(task_type: str, payload: dict[str, Any]) -> TaskSpec:
    return TaskSpec(task_type=task_type, payload=payload)


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("shell", {"command": "ls -l"}),
        ("shell", {"command": ["ls", "-l"]}),
        ("shell", {"command": "ls | wc", "shell": True}),
        ("python", {"callable": "math:sqrt", "args": [1]}),
        ("http", {"url": "HTTPS://example.org", "method": "post", "json": {"a": 1}}),
        ("analyze", {"file": "test.py"}),
        ("analyze", {"files": ["a.py", "b.py"], "rules": ["F", "E501"]}),
        ("analyze", {"path": "src"}),
        ("reduce", {"batch_id": "batch_1"}),
    ],
)
def test_a_payload_that_fits_is_accepted(name: str, payload: dict[str, Any]) -> None:
    validate_payload(_spec(name, payload))


@pytest.mark.parametrize(
    ("name", "payload", "named"),
    [
        ("shell", {}, "payload.command"),
        ("shell", {"command": " "}, "must not be empty"),
        ("shell", {"command": []}, "must not be empty"),
        ("shell", {"command": ["a"], "shell": True}, "shell: true"),
        ("shell", {"command": "a", "colour": 1}, "payload.colour"),
        ("python", {"callable": "math.sqrt"}, "payload.callable"),
        ("http", {"url": "ftp://example.org"}, "payload.url"),
        ("http", {"url": "http://h", "json": 1, "body": "x"}, "not both"),
        ("http", {"url": "http://h", "timeout": -1}, "payload.timeout"),
        ("analyze", {}, "one of file, files and path"),
        ("analyze", {"file": "a", "path": "b"}, "one of file, files and path"),
        ("analyze", {"files": []}, "payload.files"),
        ("analyze", {"file": "a", "rules": ["--fix"]}, "ruff rule codes"),
        ("prompt", {"prompt": " "}, "must not be blank"),
        ("reduce", {}, "payload.batch_id"),
    ],
)
def test_a_payload_that_does_not_fit_names_the_field_and_the_remedy(
    name: str, payload: dict[str, Any], named: str
) -> None:
    with pytest.raises(errors.InvalidField, match=named) as caught:
        validate_payload(_spec(name, payload))

    assert "The fields are:" in caught.value.message


def test_a_blank_prompt_is_refused_and_another_is_fine() -> None:
    validate_payload(TaskSpec(prompt="hello"))
    with pytest.raises(errors.InvalidField, match=r"payload\.prompt"):
        validate_payload(TaskSpec(prompt="\n"))


def test_an_unknown_type_is_refused_naming_the_known_ones_unless_an_ai_gets_it() -> None:
    with pytest.raises(errors.UnknownChoice, match="analyze, container, deploy, http") as caught:
        validate_payload(_spec("compute", {}), known={"deploy": None})

    assert caught.value.known == sorted([*BUILT_IN, "deploy"])
    validate_payload(_spec("compute", {}), ai=True)


def test_a_type_known_without_a_schema_takes_any_payload() -> None:
    validate_payload(_spec("deploy", {"x": 1}), known={"deploy": None})


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ({}, r"payload\.service: is missing"),
        ({"service": 1}, r"payload\.service: must be of JSON type string"),
        ({"service": "s", "replicas": []}, r"payload\.replicas: must be of JSON type integer"),
        ({"service": "s", "other": 1}, r"payload\.other: is unknown"),
    ],
)
def test_a_published_schema_refuses_what_can_be_seen_from_it(payload: dict[str, Any], named: str) -> None:
    with pytest.raises(errors.InvalidField, match=named):
        validate_payload(_spec("deploy", payload), known={"deploy": Deploy.model_json_schema()})


def test_a_published_schema_accepts_what_fits() -> None:
    validate_payload(_spec("deploy", {"service": "s", "replicas": 2}), known={"deploy": Deploy.model_json_schema()})


def test_a_decorated_function_is_a_task_type_and_still_callable() -> None:
    @task_type("deploy", payload=Deploy)
    def deploy(payload: Deploy) -> str:
        return payload.service

    assert isinstance(deploy, TaskType)
    assert (deploy.name, deploy.mode, deploy(Deploy(service="web"))) == ("deploy", "call", "web")


def test_a_task_type_needs_a_name() -> None:
    with pytest.raises(errors.InvalidField):
        task_type("", payload=Deploy)
