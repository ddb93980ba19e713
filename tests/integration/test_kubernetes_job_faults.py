"""What happens to Jobs beside faults of the API: somebody deletes them, they go by themselves, names come again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from mahavishnu_pools.schemas.task import Outcome
from tests.fakes.kube_api import KubeApi
from tests.fakes.run_context import RecordingLog
from tests.fixtures.clusters import bridge_to, job_context, pool_of
from tests.waiting import eventually
from workers.executors.interface import Cancellation, Limits, RunContext
from workers.executors.job_bridge import EndedTasks, JobBridge
from workers.executors.registry import execute


def begun(pool: ThreadPoolExecutor, context: RunContext) -> Future[Outcome]:
    """Run a task in another thread, and wait until it has printed something."""
    future = pool.submit(execute, context)
    eventually(lambda: printed(context) or future.done(), within=30)
    return future


def printed(context: RunContext) -> str:
    assert isinstance(context.log, RecordingLog)
    return context.log.text()


def secrets_of(bridge: JobBridge, tmp_path: Path, value: str) -> dict[str, Any]:
    file = tmp_path / "secrets.env"
    file.write_text(f"API_KEY={value}\n")
    file.chmod(0o600)
    return {"secrets": ("API_KEY",), "services": {"jobs": bridge, "secrets_file": file}}


@contextlib.contextmanager
def bridge_of(config: KubernetesConfig, pool_id: str, *, ended: EndedTasks = lambda _: set()) -> Iterator[JobBridge]:
    """Give a bridge of one of several that a pool has one after the other; it leaves its Jobs where they are."""
    bridge = JobBridge(pool_of(config), pool_id, report=lambda _: None, ended=ended)
    bridge.start()
    try:
        yield bridge
    finally:
        bridge.close()


def left_behind(config: KubernetesConfig, pool_id: str, *, script: str = "echo begun; sleep 60") -> RunContext:
    """Run a task as a Job that its bridge leaves to the next one."""
    with bridge_of(config, pool_id) as bridge, ThreadPoolExecutor(1) as pool:
        context = job_context(bridge, script)
        future = begun(pool, context)
        context.cancellation.cancel(leave=True)
        future.result(30)
    return context


# ── Jobs that go ──


@pytest.mark.parametrize(("on_worker_lost", "retryable"), [("requeue", "overload"), ("fail", None)])
def test_a_job_that_somebody_deletes_is_a_lost_worker(
    kube: KubeApi, jobs: JobBridge, on_worker_lost: str, retryable: str | None
) -> None:
    with ThreadPoolExecutor(1) as pool:
        future = begun(pool, job_context(jobs, "echo half; sleep 60", on_worker_lost=on_worker_lost))
        kube.delete("jobs", kube.objects("jobs")[0]["metadata"]["name"])
        found = future.result(30)

    assert (found.status, found.output, found.retryable) == ("failed", "half\n", retryable)
    assert "Its Job vanished from the cluster before its end was seen" in str(found.error)


def test_a_job_that_ended_and_went_while_the_cluster_was_away_is_a_lost_worker(
    kube: KubeApi, kube_config: KubernetesConfig, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with (
        bridge_to(kube_config.model_copy(update={"ttl_seconds_after_finished": 0})) as bridge,
        ThreadPoolExecutor(1) as pool,
    ):
        future = begun(pool, job_context(bridge, f"echo half; until [ -e {go} ]; do sleep 0.05; done"))
        kube.stop_listening()
        go.touch()
        eventually(kube.left, until=lambda left: left == [], within=30)
        kube.forget_history()
        kube.listen_again()
        found = future.result(60)

    assert (found.status, found.retryable) == ("failed", "overload")
    assert "went by ttl_seconds_after_finished while the cluster could not be reached" in str(found.error)


def test_a_job_is_asked_for_before_a_pod_that_is_gone_counts_as_lost(
    kube: KubeApi, jobs: JobBridge, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with ThreadPoolExecutor(1) as pool:
        future = begun(pool, job_context(jobs, f"echo half; until [ -e {go} ]; do sleep 0.05; done"))
        kube.stop_listening()
        go.touch()
        eventually(lambda: kube.objects("jobs")[0]["status"].get("conditions"), within=30)
        kube.delete("pods", kube.objects("pods")[0]["metadata"]["name"])
        kube.forget_history()
        # The watch of Jobs comes back after that of Pods.
        kube.inject(method="GET", path="/jobs$", status=500, times=6)
        kube.listen_again()
        found = future.result(60)

    assert (found.status, found.output) == ("completed", "half\n")


@pytest.mark.parametrize(
    ("script", "status", "retryable", "error"),
    [("echo done", "completed", None, None), ("exit 3", "failed", "overload", "Its Pod was taken away")],
)
def test_a_job_that_ended_tells_by_itself_what_its_pod_cannot_tell_any_more(
    kube: KubeApi,
    kube_config: KubernetesConfig,
    script: str,
    status: str,
    retryable: str | None,
    error: str | None,
) -> None:
    context = left_behind(kube_config, pool_id := names.new_pool_id(), script=f"echo begun; sleep 0.3; {script}")
    eventually(lambda: kube.objects("jobs")[0]["status"].get("conditions"), within=30)
    kube.delete("pods", kube.objects("pods")[0]["metadata"]["name"])

    with bridge_of(kube_config, pool_id) as bridge:
        found = execute(job_context(bridge, "is there already", task_id=context.task_id))

    assert (found.status, found.output, found.retryable) == (status, "", retryable)
    assert str(error or None) in str(found.error)
    assert kube.made("jobs") == 1


# ── names that come again ──


def test_a_job_that_is_made_again_gets_its_own_secret(kube: KubeApi, jobs: JobBridge, tmp_path: Path) -> None:
    script = 'printf %s "$API_KEY" | wc -c'
    context = job_context(jobs, script, **secrets_of(jobs, tmp_path, "old-and-stale"))
    first = execute(context)
    # Its Secret is collected later, as it may be in every cluster.
    [name] = [one["metadata"]["name"] for one in kube.objects("jobs")]
    kube.delete("jobs", name, policy="Orphan")

    again = execute(job_context(jobs, script, task_id=context.task_id, **secrets_of(jobs, tmp_path, "fresh")))

    assert [int(one.output or "") for one in (first, again)] == [13, 5]
    assert len({one["metadata"]["name"] for one in kube.objects("secrets")}) == 2


def test_a_task_runs_in_one_pool_after_its_pod_in_another_has_ended(
    kube: KubeApi, kube_config: KubernetesConfig, jobs: JobBridge, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    script = (
        f"if [ -e {marks} ]; then echo again >> {marks}; exit; fi; echo begun | tee {marks}; "
        f"trap 'sleep 2; echo end >> {marks}; exit 1' TERM; sleep 60 & wait"
    )
    limits = Limits(kill_grace=20.0)
    first = job_context(jobs, script, limits=limits)
    with bridge_to(kube_config, name="other") as other, ThreadPoolExecutor(1) as pool:
        future = begun(pool, first)
        found = execute(job_context(other, script, task_id=first.task_id, limits=limits))
        future.result(30)

    assert found.status == "completed"
    assert marks.read_text().split() == ["begun", "end", "again"]


def test_a_job_whose_secret_is_refused_does_not_stay(kube: KubeApi, jobs: JobBridge, tmp_path: Path) -> None:
    kube.denied.add(("create", "secrets"))

    found = execute(job_context(jobs, "true", **secrets_of(jobs, tmp_path, "value")))

    assert found.status == "failed"
    assert "does not allow to create secrets" in str(found.error)
    eventually(kube.left, until=lambda left: left == [], within=30)


# ── following ──


def test_a_log_that_ends_before_its_container_is_followed_on(kube: KubeApi, jobs: JobBridge, tmp_path: Path) -> None:
    first, last = tmp_path / "first", tmp_path / "last"
    wait = "until [ -e {} ]; do sleep 0.05; done; "
    context = job_context(jobs, f"echo begun; {wait.format(first)} echo middle; {wait.format(last)} echo end")
    with ThreadPoolExecutor(1) as pool:
        future = begun(pool, context)
        kube.end_logs()
        first.touch()
        eventually(lambda: printed(context), until=lambda text: text == "begun\nmiddle\n", within=30)
        last.touch()

        assert future.result(30).output == "begun\nmiddle\nend\n"


def test_many_jobs_share_one_watch_of_each_kind_and_nobody_asks_for_them(kube: KubeApi, jobs: JobBridge) -> None:
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda number: execute(job_context(jobs, f"exit {number % 2}")), range(20)))

    assert sorted(one.exit_code for one in found if one.exit_code is not None) == [0] * 10 + [1] * 10
    # Each may end and begin again on a slow machine.
    assert kube.watches < 20
    assert [path for method, path in kube.requests if method == "GET" and "/jobs/" in path] == []


# ── the bridge itself ──


def test_a_bridge_that_has_ended_runs_nothing_and_keeps_nobody_waiting(
    kube: KubeApi, kube_config: KubernetesConfig
) -> None:
    with bridge_to(kube_config) as bridge:
        context = job_context(bridge, "true")
    context.cancellation.cancel()

    assert execute(context).status == "cancelled"
    assert execute(job_context(bridge, "true", cancellation=Cancellation())).status == "cancelled"
    assert kube.made("jobs") == 0


def test_work_of_a_bridge_that_meets_an_unexpected_error_is_logged_and_begun_again(
    kube: KubeApi, kube_config: KubernetesConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("workers.executors.job_bridge.AGAIN_AFTER", 0.01)
    context = left_behind(kube_config, pool_id := names.new_pool_id())
    asked: list[object] = []

    def ended(tasks: Sequence[str]) -> set[str]:
        asked.append(tasks)
        if len(asked) == 1:
            raise RuntimeError("nobody thought of that")
        return {context.task_id}

    with bridge_of(kube_config, pool_id, ended=ended):
        eventually(kube.left, until=lambda found: found == [], within=30)

    assert "is begun again" in caplog.text
