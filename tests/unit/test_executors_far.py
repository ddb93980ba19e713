"""What goes to another instance, through which it came, what its end means, and which output is known already."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.pools.factory import pool_type
from mahavishnu_pools.routing.eligibility import Need, View, cannot_run
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.logs import LogPiece
from mahavishnu_pools.store.pools import PoolRecord
from workers.executors.delegated_task import Origin, loop_refusal, outcome_of, request_of, skipped
from workers.executors.far_output import written_since
from workers.outcome import may_retry

ORIGIN = Origin("i_here", "pool_1", "task_1")
MARK = "Delegated to http://far/mcp as task t.\n"


def test_a_request_holds_what_was_asked_for_and_nothing_that_is_an_affair_of_this_instance() -> None:
    spec = TaskSpec(
        prompt="x",
        priority=7,
        timeout=9,
        max_retries=2,
        env={"A": "b"},
        metadata={"k": "v", "federation": {"chain": ["i_first"]}},
        idempotency_key="mine",
        affinity="repo",
        approval="required",
        memory=False,
    )

    assert request_of(spec, ORIGIN, routed=False) == {
        "prompt": "x",
        "priority": 7,
        "timeout": 9.0,
        "max_retries": 2,
        "env": {"A": "b"},
        "memory": False,
        "idempotency_key": "federation:i_here:task_1",
        "metadata": {
            "k": "v",
            "federation": {"chain": ["i_first", "i_here"], "pool_id": "pool_1", "task_id": "task_1"},
        },
    }
    assert request_of(spec, ORIGIN, routed=True)["pool_affinity"] == "repo"


def test_keys_of_long_ids_are_short_and_differ() -> None:
    keys = {Origin("i", "p", letter * 500).key for letter in "ab"}

    assert len(keys) == 2
    assert max(map(len, keys)) <= 200


@pytest.mark.parametrize("said", [None, "i_there", {"chain": "i_there"}, {"chain": None}, {}, 5])
def test_a_chain_that_is_none_counts_as_none(said: Any) -> None:
    spec = TaskSpec(prompt="x", metadata={"federation": said})

    assert loop_refusal(spec, here="i_here", there="i_there") is None
    assert loop_refusal(spec, here="i_here", there="i_here") is not None


@pytest.mark.parametrize(
    ("there", "here", "error"),
    [
        ("completed", "completed", None),
        ("failed", "failed", "why"),
        ("timeout", "timeout", "why"),
        ("cancelled", "cancelled", "why"),
        ("dead", "failed", "It is a dead letter there: why"),
        ("refused", "failed", "It was refused there: why"),
        ("rubbish", "failed", "why"),
    ],
)
def test_ends_there_are_ends_here_and_are_not_tried_again(there: str, here: str, error: str | None) -> None:
    outcome = outcome_of(
        {"status": there, "error": error and "why", "exit_code": 4, "value": [1], "metadata": {"m": 1}}
    )

    assert (outcome.status, outcome.error, outcome.exit_code, outcome.value) == (here, error, 4, [1])
    assert not may_retry(outcome, TaskSpec(prompt="x", max_retries=5), 0)
    assert "final" not in outcome.model_dump()


def test_output_that_is_known_is_left_out_to_the_character() -> None:
    pieces = [("stdout", "äbc"), ("system", "remark"), ("stderr", "def"), ("system", "later")]

    assert skipped(pieces, 4) == ([("stderr", "ef"), ("system", "later")], 0)
    assert skipped(pieces, 100) == ([], 94)
    assert skipped(pieces, 0) == (pieces, 0)


def test_what_was_written_since_the_last_mark_counts() -> None:
    before = [LogPiece("1-0", "stdout", "of another run"), LogPiece("2-0", "system", MARK)]
    known = [*before, LogPiece("3-0", "stdout", "ab"), LogPiece("4-0", "system", "x"), LogPiece("5-0", "stderr", "c")]

    assert written_since(known, MARK) == 3
    assert written_since(known, "another mark") == -1
    assert written_since([*known, LogPiece("6-0", "stdout", "d", after_cut=True)], MARK) is None
    assert written_since([*known, LogPiece("6-0", "system", "… 9 bytes cut: slow …")], MARK) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"endpoint": None}, "needs another instance"),
        ({"endpoint": "host:8680"}, "no address"),
        ({"endpoint": "http://me:word@host/mcp"}, "token_secret"),
        ({"max_workers": 201}, "more than 200"),
        ({"replicas": 2}, "one node"),
        ({"worker_type": "shell"}, "other instance's affair"),
        ({"extra_config": {"token": "abc"}}, "token_secret, token_env"),
        ({"extra_config": {"token_secret": "A", "token_env": "B"}}, "beside token_env"),
        ({"extra_config": {"remote_pool": "A", "remote_tags": ["b"]}}, "beside remote_tags"),
        ({"extra_config": {"remote_tags": "gpu"}}, "list of texts"),
        ({"extra_config": {"patience": True}}, "number of seconds"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(fields: dict[str, Any], said: str) -> None:
    given = {"name": "far", "pool_type": "mahavishnu-remote", "endpoint": "https://host:8680/mcp", **fields}

    with pytest.raises(errors.InvalidField, match=said):
        pool_type("mahavishnu-remote").check(PoolConfig.model_validate(given))


def test_any_task_but_celerys_own_may_go_there() -> None:
    config = PoolConfig(name="far", pool_type="mahavishnu-remote", endpoint="https://host/mcp")
    facts: dict[str, Any] = {"reason": None, "assigned": (), "queued": 0, "running": 0, "groups": (), "counts": {}}
    record = PoolRecord("pool_1", config, PoolStatus.RUNNING, workers=1, created=0.0, **facts)
    view = View(1, (record,), ())

    assert view.takes_prose(record)
    assert [cannot_run(view, record, Need(kind)) for kind in ("prompt", "shell", "anything")] == [None] * 3
    assert "another instance" in str(cannot_run(view, record, Need("my.task", celery=True)))
    assert "reducer" in str(cannot_run(view, record, Need("reduce:own")))
