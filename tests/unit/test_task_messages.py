"""The Celery messages of tasks: what many have in common is written once, and it is the same message."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools.broker.message import Messages, envelope
from mahavishnu_pools.broker.signing import Signer
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.tasks import Envelope


def message(made: Envelope, queue: str = "q") -> dict[str, Any]:
    read: dict[str, Any] = json.loads(made.prefix + queue + made.suffix)
    return read


def made(spec: TaskSpec, task_id: str, messages: Messages | None = None) -> Envelope:
    return envelope(spec, task_id=task_id, max_bytes=100_000, messages=messages)


@given(
    task_type=st.text(min_size=1, max_size=30).filter(str.strip),
    priority=st.integers(0, 9),
    prompt=st.text(max_size=50),
)
def test_a_message_written_with_others_is_the_one_that_is_written_alone(
    task_type: str, priority: int, prompt: str
) -> None:
    spec = TaskSpec.model_validate({"task_type": task_type, "priority": priority, "payload": {"x": prompt}})
    messages = Messages()

    for task_id in ("task_1", "task_2", "task_3"):
        assert made(spec, task_id, messages) == made(spec, task_id)
    other = spec.model_copy(update={"task_type": "other"})
    assert made(other, "task_4", messages) == made(other, "task_4")


def test_a_message_holds_its_own_id_and_specification() -> None:
    messages = Messages()
    specs = [TaskSpec(prompt=f"{number} <task_{number}>") for number in range(3)]

    read = [message(made(spec, f"task_{number}", messages)) for number, spec in enumerate(specs)]

    for number, one in enumerate(read):
        headers, properties = one["headers"], one["properties"]
        ids = (headers["id"], headers["root_id"], properties["correlation_id"], properties["delivery_tag"])
        assert set(ids) == {f"task_{number}"}
        assert json.loads(b64decode(one["body"]))[0] == [{"prompt": f"{number} <task_{number}>"}]
        assert properties["delivery_info"]["routing_key"] == "q"


@pytest.mark.parametrize("count", [1, 3])
def test_each_message_is_signed_by_itself(count: int) -> None:
    signer = Signer([b"key"])
    messages = Messages(signer)

    for number in range(count):
        assert signer.accepts(message(made(TaskSpec(prompt="x"), f"task_{number}", messages)))
