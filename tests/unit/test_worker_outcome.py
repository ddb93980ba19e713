"""What is written for how an attempt ended: outcome, Celery's result, or a retry."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from celery import Celery

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.store.leases import Held
from workers.outcome import RETRY_MOST, Attempt, celery_meta, ending, may_retry, retry_delay

SPEC = TaskSpec(prompt="x")
FAILED = Outcome(status="failed", error="It broke.")
CURABLE = Outcome(status="failed", error="Busy.", retryable="overload")


def _attempt(retries: int = 0) -> Attempt:
    held = Held("l", "1", "t", "pool_1")
    return Attempt(held, 5, "w", "shell", started=1_700_000_000.0, duration=1.5, retries=retries)


@pytest.mark.parametrize(
    ("outcome", "spec", "retries", "again"),
    [
        (FAILED, SPEC, 0, False),
        (CURABLE, SPEC, 2, True),
        (CURABLE, SPEC, 3, False),
        (CURABLE, TaskSpec(prompt="x", max_retries=0), 0, False),
        (FAILED, TaskSpec(prompt="x", max_retries=1), 0, True),
        (FAILED, TaskSpec(prompt="x", max_retries=1), 1, False),
        (Outcome(status="timeout"), TaskSpec(prompt="x", max_retries=1), 0, True),
        (Outcome(status="cancelled"), TaskSpec(prompt="x", max_retries=9), 0, False),
        (Outcome(status="completed"), TaskSpec(prompt="x", max_retries=9), 0, False),
    ],
)
def test_a_task_runs_again_for_curable_causes_or_when_it_asks_for_it(
    outcome: Outcome, spec: TaskSpec, retries: int, again: bool
) -> None:
    assert may_retry(outcome, spec, retries) is again


def test_retries_wait_longer_each_time_but_never_for_ever_and_not_all_alike() -> None:
    for retries in range(40):
        most = min(RETRY_MOST, 2.0**retries)
        assert most / 2 <= retry_delay(retries) <= most
    assert len({retry_delay(3) for _ in range(5)}) > 1


def test_an_ending_is_a_retry_or_the_one_outcome() -> None:
    assert "retry" in ending(CURABLE, SPEC, _attempt(), result_ttl=60).arguments
    once = ending(CURABLE, SPEC, replace(_attempt(3), waited=0.25), result_ttl=60).arguments
    assert "outcome" in once
    assert "0.250000 1.500000" in once, "its times"


@pytest.mark.parametrize(
    ("outcome", "state", "error"),
    [
        (FAILED, "FAILURE", errors.TaskFailed),
        (Outcome(status="timeout", error="Too long."), "FAILURE", errors.TaskTimeout),
        (Outcome(status="cancelled", error="Enough."), "REVOKED", Exception),
    ],
)
def test_stock_celery_reads_state_and_error_of_a_result(outcome: Outcome, state: str, error: type[Exception]) -> None:
    backend = Celery("x", backend="cache+memory://", set_as_current=False).backend

    found = backend.decode_result(celery_meta(outcome, _attempt()))

    assert found["status"] == state
    assert isinstance(found["result"], error)
    assert (outcome.error or "") in str(found["result"])


def test_the_result_of_a_completed_task_says_who_ran_it_and_how_long() -> None:
    outcome = Outcome(status="completed", output="done", value={"a": 1})

    meta = json.loads(celery_meta(outcome, _attempt()))

    assert meta["status"] == "SUCCESS"
    result = meta["result"]
    assert (result["output"], result["value"], result["attempts"], result["duration"]) == ("done", {"a": 1}, 5, 1.5)
    assert (result["task_id"], result["pool_id"], result["worker_id"]) == ("t", "pool_1", "w")


def test_half_characters_are_made_whole_where_an_outcome_is_written() -> None:
    limited = Outcome(status="failed", error="429 \udcff 😀", retryable="rate_limit", metadata={"worker_type": "w"})
    done = Outcome(status="completed", output="\ud83d", value=["\udc00", "C:\\ud800"])

    for outcome in (limited, done, FAILED):
        texts = [one for one in ending(outcome, SPEC, _attempt(9), result_ttl=60).arguments if isinstance(one, str)]
        for text in texts:
            if text.startswith("{"):
                json.dumps(json.loads(text), ensure_ascii=False).encode()
    meta = json.loads(celery_meta(done, _attempt()))["result"]
    assert (meta["output"], meta["value"]) == ("\ufffd", ["\ufffd", "C:\\ud800"])
    assert json.loads(celery_meta(limited, _attempt()))["result"]["exc_message"] == ["429 \ufffd 😀"]
