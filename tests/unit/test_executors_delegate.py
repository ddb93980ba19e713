"""The bridge to a Session-Buddy server that answers rubbish, or that cannot be one."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import ToolAnswer
from workers.executors.delegate import Delegate
from workers.executors.remote_answer import outcome_of
from workers.executors.remote_pool import Endpoint, _knows_tasks


@pytest.mark.parametrize("status", [["completed"], {"a": 1}, None, 5])
def test_an_answer_whose_status_is_none_is_read_as_a_sentence(status: Any) -> None:
    outcome = outcome_of(ToolAnswer(text="❌ Failed to execute task: rubbish", value={"status": status}, failed=True))

    assert (outcome.status, outcome.error) == ("failed", "Session-Buddy reports: rubbish")


@pytest.mark.parametrize(
    "schema",
    [{}, {"properties": None}, {"properties": []}, {"properties": {"context": None}}, {"properties": {"context": {}}}],
)
def test_a_schema_that_tells_nothing_of_task_ids_is_no_promise(schema: dict[str, Any]) -> None:
    assert not _knows_tasks(schema)
    assert _knows_tasks({"properties": {"context": {"properties": {"task_id": {"type": "string"}}}}})


@pytest.mark.parametrize("endpoint", [Endpoint("ftp://x/mcp"), Endpoint("http://127.0.0.1:1/mcp", token="one two")])
def test_an_endpoint_that_cannot_be_used_is_refused_and_leaves_no_thread(endpoint: Endpoint) -> None:
    with pytest.raises(errors.InvalidField) as refused:
        Delegate(endpoint, "pool_a", report=lambda _: None).start()

    assert "one two" not in str(refused.value)
    assert not [one for one in threading.enumerate() if one.name == "delegate" and one.is_alive()]
