"""What is read of the usage that AI programs report, and of a provider that wants to be left alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mahavishnu_pools.schemas.task import Outcome
from workers.executors.usage import told, usage_of


@pytest.mark.parametrize(
    ("metadata", "usage"),
    [
        (
            {"usage": {"input_tokens": 3, "cache_read_input_tokens": 40, "output_tokens": 5}, "total_cost_usd": 0.25},
            {"input": 43, "output": 5, "usd": 0.25},
        ),
        ({"usage": {"input_tokens": 3, "output_tokens": 5}}, {"input": 3, "output": 5}),
        ({"stats": {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}}, {"input": 3, "output": 5}),
        ({}, {}),
        ({"usage": "much"}, {}),
        ({"usage": {"input_tokens": -3, "output_tokens": "5"}, "total_cost_usd": True}, {}),
    ],
)
def test_tokens_and_cost_are_read_as_each_program_reports_them(metadata: dict[str, Any], usage: dict[str, Any]) -> None:
    assert usage_of(metadata) == usage


def test_a_run_that_told_nothing_tells_nothing() -> None:
    assert told(Outcome(status="completed", metadata={"pid": 1}), "shell", now=0.0) == ""


def test_too_many_requests_of_an_ai_program_cool_its_worker_type_down() -> None:
    metadata = {"worker_type": "claude", "limit_resets_at": 1100}
    outcome = Outcome(status="failed", error="claude reports: 429", retryable="rate_limit", metadata=metadata)

    assert json.loads(told(outcome, "prompt", now=1000.0)) == {
        "type": "prompt",
        "cool": {"worker": "claude", "why": "claude reports: 429", "seconds": 100.0},
    }


@pytest.mark.parametrize("resets", [900, 10**10, "soon", None])
def test_an_end_that_is_past_or_absurd_is_not_believed(resets: Any) -> None:
    metadata = {"worker_type": "claude", "limit_resets_at": resets}
    outcome = Outcome(status="failed", error="429", retryable="rate_limit", metadata=metadata)

    assert "seconds" not in json.loads(told(outcome, "prompt", now=1000.0))["cool"]


@pytest.mark.parametrize("cause", ["overload", "connection", None])
def test_other_causes_cool_nothing_down(cause: Any) -> None:
    outcome = Outcome(status="failed", error="503", retryable=cause, metadata={"worker_type": "claude"})

    assert told(outcome, "prompt", now=1000.0) == ""


def test_a_web_request_that_is_refused_cools_no_worker_type_down() -> None:
    assert told(Outcome(status="failed", error="429", retryable="rate_limit"), "http", now=0.0) == ""


def test_a_program_that_is_not_logged_in_rests_on_its_node() -> None:
    metadata = {"worker_type": "claude", "logged_out": True, "usage": {"input_tokens": 0}}
    outcome = Outcome(status="failed", error="claude reports: Not logged in", metadata=metadata)

    assert json.loads(told(outcome, "prompt", now=1000.0)) == {
        "type": "prompt",
        "cool": {"worker": "claude", "why": "claude reports: Not logged in", "here": True},
    }
