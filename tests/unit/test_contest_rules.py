"""What contests are made of: candidates, their pools, and who may judge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.routing.contests import Rules, batch_of, candidates_of, judge_of, least_busy
from mahavishnu_pools.routing.eligibility import Need, View, sift
from mahavishnu_pools.routing.judging import refuse_call
from mahavishnu_pools.schemas.batch_payloads import JUDGE_CALL
from mahavishnu_pools.schemas.contest import Contest, ContestKind, result_of, verdict_of, with_verdict
from mahavishnu_pools.schemas.task import TaskResult, TaskSpec, TaskStatus
from tests.unit.test_routing_eligibility import pool, view


def test_there_is_a_candidate_for_each_combination() -> None:
    rules = Rules(ContestKind.RACE, 1, pools=("a", "b"), worker_types=("x", "y"), copies=2)
    tasks = [TaskSpec(prompt="p", idempotency_key="k", affinity="z"), TaskSpec(prompt="q", idempotency_key="k")]

    found = candidates_of(tasks, rules)

    assert len(found) == 16
    assert [(one.spec.prompt, one.spec.worker_type, one.pool) for one in found[:5]] == [
        ("p", "x", "a"),
        ("p", "x", "a"),
        ("p", "x", "b"),
        ("p", "x", "b"),
        ("p", "y", "a"),
    ]
    assert {(one.spec.idempotency_key, one.spec.affinity) for one in found} == {(None, None)}


def test_a_key_has_one_batch_and_others_have_their_own() -> None:
    assert batch_of("k") == batch_of("k") != batch_of("l")
    assert batch_of(None) != batch_of(None)
    assert batch_of("k\ud800").startswith("batch_")


def test_candidates_go_where_the_least_is_to_do_for_each_worker() -> None:
    big = replace(pool("big"), workers=4, queued=1)
    small, busy = pool("small"), replace(pool("busy"), running=3)
    taken: dict[str, int] = {}

    for _ in range(6):
        target = least_busy([busy, big, small], taken)
        taken[target] = taken.get(target, 0) + 1

    assert taken == {"pool_small": 2, "pool_big": 4}


@pytest.mark.parametrize(
    ("judge", "kind"),
    [
        ({"prompt": "which?"}, "judge"),
        ({"task_type": "prompt", "payload": {"prompt": "which?"}}, "judge"),
        ({"task_type": "python", "payload": {"callable": "m:f", "kwargs": {"a": 1}}}, "judge:python"),
        ({"task_type": "reduce:best", "payload": {}}, "reduce:best"),
    ],
)
def test_a_judge_reads_the_batch(judge: dict[str, Any], kind: str) -> None:
    found = judge_of(TaskSpec(**judge, timeout=7), "b")

    assert (found.task_type, found.payload["batch_id"], found.timeout, found.prompt) == (kind, "b", 7, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"task_type": "shell", "payload": {"command": "true"}},
        {"prompt": "x", "after": ["task_1"]},
        {"prompt": "x", "affinity": "a"},
        {"prompt": "x", "idempotency_key": "k"},
    ],
)
def test_what_cannot_judge_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidField, match=r"^judge"):
        judge_of(TaskSpec(**wrong), "b")


def test_a_judge_needs_a_pool_of_this_instance_and_a_prompt_one_with_a_program() -> None:
    here, blind = pool("here"), pool("blind", worker_type=None)
    far = pool("far", worker_type=None, pool_type="mahavishnu-remote", endpoint="http://127.0.0.1:1/mcp")

    found = sift(view(here, blind, far), Need("judge"))
    called = sift(view(here, blind, far), Need("judge:python"))

    assert found.candidates == ("pool_here",)
    assert "no AI program" in found.reasons["blind"]
    assert "no batches of this one" in found.reasons["far"]
    assert called.candidates == ("pool_here", "pool_blind")


def result(place: int, status: str = "completed", **fields: Any) -> TaskResult:
    return TaskResult(task_id=f"t{place}", status=TaskStatus(status), **fields)


def test_a_judge_that_has_not_ended_decides_nothing_and_a_bad_verdict_nobody() -> None:
    contest = Contest(kind=ContestKind.BEST_OF, judge_id="t9")
    candidates = [result(0, output="a"), result(1, "failed")]

    found = [
        result_of("b", contest, candidates, judge)
        for judge in (result(9, "queued"), result(9, value=1), result(9, value={"winner": 0, "reason": 5}))
    ]

    assert [(one.status, one.winner, one.output) for one in found] == [
        ("open", None, None),
        ("failed", None, None),
        ("won", 0, "a"),
    ]
    assert verdict_of([], candidates) is None


@pytest.mark.parametrize(
    ("value", "winners", "reason"),
    [({"winner": 1, "reason": "short"}, ("t1",), "short"), (0, (), "Its judge named no candidate that has an answer.")],
)
def test_what_a_judge_said_is_the_decision_of_its_batch(value: Any, winners: tuple[str, ...], reason: str) -> None:
    contest = Contest(kind=ContestKind.BEST_OF, judge_id="t9")
    candidates, ended = [result(0, "failed"), result(1)], datetime(2030, 1, 1, tzinfo=UTC)

    found = with_verdict(contest, result(9, value=value, finished_at=ended), candidates)

    assert (found.winners, found.reason, found.decided_at) == (winners, reason, ended)
    assert with_verdict(contest, result(9, "running"), candidates) == contest


def test_a_judge_that_no_node_may_call_is_refused_before_anything_runs() -> None:
    judge = TaskSpec(task_type=JUDGE_CALL, payload={"batch_id": "b", "callable": "jury:best"})
    there = view(pool("p"))

    def seen(*callables: str) -> View:
        return replace(there, nodes=(there.nodes[0].model_copy(update={"callables": callables}),))

    for pools in ((), ("p",)):
        with pytest.raises(errors.InvalidField, match=r"'jury:best' is not allowed.* on n\. Add it, or 'jury:\*'"):
            refuse_call(seen("other:*", "jury:worst"), judge, pools=pools)
        refuse_call(seen("jury:*"), judge, pools=pools)
        refuse_call(seen("jury:best"), judge, pools=pools)
        refuse_call(there, judge, pools=pools)  # an agent that does not say it
    refuse_call(seen(), TaskSpec(prompt="which?"), pools=())
