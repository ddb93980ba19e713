"""Which pools may get a task, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.routing.eligibility import Need, PoolFilter, View, sift, validate
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.pools import GroupInfo, NodeInfo, PoolRecord

PROMPT = Need()


def pool(
    name: str, *, status: str = "running", ready: bool = True, reason: str | None = None, **config: Any
) -> PoolRecord:
    config = {"worker_type": "terminal-claude", **config}
    group = GroupInfo(node="n", status="ready" if ready else "starting", workers=1)
    return PoolRecord(
        pool_id=f"pool_{name}",
        config=PoolConfig(name=name, **config),
        status=PoolStatus(status),
        workers=1,
        created=1.0,
        reason=reason,
        assigned=("n",),
        queued=0,
        running=0,
        groups=(group,),
        counts={},
    )


def view(*pools: PoolRecord, programs: tuple[str, ...] = ("shell", "terminal-claude")) -> View:
    return View(1, pools, (NodeInfo(name="n", pid=1, started=1.0, programs=programs),))


@pytest.mark.parametrize("status", list(PoolStatus))
def test_only_running_and_degraded_pools_are_candidates(status: PoolStatus) -> None:
    sifted = sift(view(pool("p", status=status, reason="because")), PROMPT)

    if status in ("running", "degraded"):
        assert (sifted.candidates, sifted.reasons) == (("pool_p",), {})
    else:
        assert (sifted.candidates, sifted.reasons) == ((), {"p": f"it is {status.value} (because)"})


@pytest.mark.parametrize("status", list(PoolStatus))
def test_a_key_stays_bound_to_a_pool_that_will_take_tasks_again(status: PoolStatus) -> None:
    kept = sift(view(pool("p", status=status)), PROMPT).keep

    assert bool(kept) == (status not in ("draining", "stopped", "failed"))


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        (PoolFilter(), None),
        (PoolFilter(pool_type="mahavishnu", region="eu", tags=("a", "b"), worker_type="terminal-claude"), None),
        (PoolFilter(pool_type="kubernetes"), "its type is mahavishnu, not kubernetes"),
        (PoolFilter(region="us"), "its region is eu, not us"),
        (PoolFilter(tags=("a", "gpu", "big")), "it lacks the tag gpu, big"),
        (PoolFilter(worker_type="shell"), "its worker type is terminal-claude, not shell"),
    ],
)
def test_a_filter_says_what_a_pool_lacks(filters: PoolFilter, reason: str | None) -> None:
    sifted = sift(view(pool("p", region="eu", tags=("a", "b"))), PROMPT, filters=filters)

    assert sifted.reasons == ({"p": reason} if reason else {})


def test_only_named_pools_are_taken() -> None:
    sifted = sift(view(pool("a"), pool("b")), PROMPT, only=["pool_b"])

    assert (sifted.candidates, sifted.reasons) == (("pool_b",), {"a": "it was not named"})


@pytest.mark.parametrize(
    ("need", "config", "reason"),
    [
        (Need("prompt"), {"worker_type": None}, "no AI program"),
        (Need("prompt", worker_type="terminal-claude"), {"worker_type": "shell"}, None),
        (Need("prompt", worker_type="terminal-codex"), {"worker_type": "shell"}, "no program for terminal-codex"),
        (Need("prompt", session=True), {"worker_type": "shell"}, "only those have sessions"),
        (Need("prompt", session=True), {"worker_type": "terminal-claude"}, None),
        (Need("prompt", worker_type="terminal-claude", session=True), {"worker_type": "shell"}, None),
        (Need("shell"), {"worker_type": None}, None),
        (Need("analyze"), {"worker_type": "shell"}, None),
        (Need("mystery"), {"worker_type": "shell"}, "does not know the task type 'mystery'"),
        (Need("mystery"), {"worker_type": None}, "does not know the task type 'mystery'"),
        (Need("mystery"), {"worker_type": "terminal-claude"}, None),
        (Need("mystery"), {"worker_type": "my-own-ai"}, None),
        (Need("user.task", celery=True), {"worker_type": None}, None),
        (Need("prompt"), {"pool_type": "session-buddy"}, None),
        (Need("shell"), {"pool_type": "session-buddy"}, "prompts only"),
        (Need("prompt", celery=True), {"pool_type": "kubernetes", "worker_type": "shell"}, "makes Jobs of"),
        (Need("prompt"), {"pool_type": "kubernetes", "worker_type": None}, None),
        (Need("shell"), {"pool_type": "kubernetes", "worker_type": None}, None),
        (Need("container"), {"pool_type": "kubernetes", "worker_type": None}, None),
        (Need("analyze"), {"pool_type": "kubernetes", "worker_type": None}, "spawn it with mode: deployment"),
        (Need("mystery"), {"pool_type": "kubernetes", "worker_type": "shell"}, "does not know the task type"),
        (Need("mystery"), {"pool_type": "kubernetes", "worker_type": "terminal-claude"}, None),
    ],
)
def test_a_pool_must_be_able_to_run_the_task(need: Need, config: dict[str, Any], reason: str | None) -> None:
    sifted = sift(view(pool("p", **config)), need)

    if reason is None:
        assert sifted.reasons == {}
    else:
        assert reason in sifted.reasons["p"]


@pytest.mark.parametrize("worker_type", ["shell", "terminal-claude"])
def test_a_container_task_goes_where_docker_or_podman_is(worker_type: str) -> None:
    one, need = pool("p", worker_type=worker_type), Need("container")

    assert sift(view(one, programs=("shell", "container")), need).candidates == ("pool_p",)
    assert sift(View(1, (one,), ()), need).candidates == ("pool_p",)
    assert "no node of it has docker or podman" in sift(view(one), need).reasons["p"]


def test_a_container_task_is_refused_where_the_engine_does_not_answer_with_the_reason() -> None:
    node = NodeInfo(name="n", pid=1, started=1.0, programs=("shell",), unusable={"container": "docker is silent"})
    seen = View(1, (pool("p", worker_type="shell"),), (node,))

    said = sift(seen, Need("container")).reasons["p"]
    assert said == "no node of it can run containers now (n: docker is silent)"
    assert "docker is silent" in sift(seen, Need("prompt", worker_type="container")).reasons["p"]


def test_a_celery_task_goes_where_it_is_loaded() -> None:
    loaded = replace(pool("loaded"), celery_tasks=frozenset({"user.task"}))
    other = replace(pool("other"), celery_tasks=frozenset())
    starting = pool("starting")

    sifted = sift(view(loaded, other, starting), Need("user.task", celery=True))

    assert sifted.candidates == ("pool_loaded", "pool_starting")
    assert "has not loaded the Celery task 'user.task'" in sifted.reasons["other"]


def test_a_reducer_runs_where_it_is_loaded_and_never_as_a_prompt() -> None:
    loaded = replace(pool("loaded"), task_types={"reduce:longest": {}})
    jobs = replace(loaded, pool_id="pool_jobs", config=PoolConfig(name="jobs", pool_type="kubernetes"))
    understands_prose = pool("prose")

    sifted = sift(view(loaded, jobs, understands_prose), Need("reduce:longest"))

    assert sifted.candidates == ("pool_loaded",)
    assert "has not loaded the reducer 'longest'" in sifted.reasons["prose"]


def test_nobody_says_no_before_the_first_group_has_reported() -> None:
    starting = pool("p", worker_type=None, ready=False)

    assert sift(view(starting), PROMPT).candidates == ("pool_p",)


def test_an_unregistered_type_is_refused_where_nobody_understands_prose() -> None:
    spec = TaskSpec(task_type="mystery", payload={"a": 1})

    validate(view(pool("claude")), spec)
    validate(view(), spec.model_copy(update={"worker_type": "terminal-claude"}))
    with pytest.raises(errors.UnknownChoice, match="analyze"):
        validate(view(pool("shell", worker_type="shell")), spec)


def test_a_pool_is_found_by_name_and_id() -> None:
    known = view(pool("a"), pool("b"))

    assert known.find("b") is known.find("pool_b") is known.pools[1]
    assert known.find("c") is None
