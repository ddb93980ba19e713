"""Tasks as Jobs through the real client: how each end shows, and that faults of the API change nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from mahavishnu_pools.schemas.task import Outcome
from tests.fakes.kube_api import KubeApi
from tests.fakes.run_context import RecordingLog, make_context, shell_task
from tests.fixtures.clusters import bridge_to, job_context
from tests.waiting import eventually
from workers.executors.interface import RunContext
from workers.executors.job_bridge import JobBridge
from workers.executors.registry import execute


def run(bridge: JobBridge, script: str, **overrides: Any) -> Outcome:
    return execute(job_context(bridge, script, **overrides))


def begun(pool: ThreadPoolExecutor, context: RunContext) -> Future[Outcome]:
    """Run a task in another thread, and wait until it has printed something."""
    future = pool.submit(execute, context)
    log = context.log
    assert isinstance(log, RecordingLog)
    eventually(lambda: log.text() or future.done(), within=30)
    return future


# ── ends ──


def test_memory_that_was_too_little_is_named(kube_config: KubernetesConfig) -> None:
    limited = kube_config.model_validate({**kube_config.model_dump(), "resources": {"limits": {"memory": "64Mi"}}})
    with bridge_to(limited) as bridge:
        found = run(bridge, "echo half; kill -9 $$")

    assert (found.status, found.exit_code, found.output) == ("failed", 137, "half\n")
    assert "memory of 64Mi was too little (OOMKilled)" in str(found.error)


def test_an_image_that_cannot_be_pulled_is_named_and_leaves_nothing(
    kube: KubeApi, kube_config: KubernetesConfig
) -> None:
    with bridge_to(kube_config.model_copy(update={"container_image": "example.org/missing:1"})) as bridge:
        found = run(bridge, "true")

        assert found.status == "failed"
        assert "its image cannot be pulled (ImagePullBackOff, example.org/missing:1)" in str(found.error)
        assert "not found" in str(found.error)
        eventually(kube.left, until=lambda left: left == [])


def test_a_pod_that_no_node_takes_fails_after_its_time_with_the_reason(
    kube: KubeApi, kube_config: KubernetesConfig
) -> None:
    kube.machine.unschedulable = "0/3 nodes are available: 3 Insufficient memory."
    with bridge_to(kube_config.model_copy(update={"start_timeout": 2.0})) as bridge:
        found = run(bridge, "true")

    assert (found.status, found.retryable) == ("failed", "overload")
    assert "did not start within 2 s: no node takes it: 0/3 nodes are available" in str(found.error)


def test_a_job_whose_pod_the_cluster_refuses_fails_with_what_it_noted(
    kube: KubeApi, kube_config: KubernetesConfig
) -> None:
    kube.machine.pod_refusal = "pods are forbidden: exceeded quota: team, requested: pods=1, used: pods=5"
    with bridge_to(kube_config.model_copy(update={"start_timeout": 2.0})) as bridge:
        found = run(bridge, "true")

    assert (found.status, found.retryable) == ("failed", "overload")
    assert "Error creating: pods are forbidden: exceeded quota: team" in str(found.error)


@pytest.mark.slow
def test_the_deadline_of_the_pool_is_a_timeout(kube_config: KubernetesConfig) -> None:
    with bridge_to(kube_config.model_copy(update={"active_deadline_seconds": 1})) as bridge:
        found = run(bridge, "echo half; sleep 60")

    assert (found.status, found.output) == ("timeout", "half\n")


def test_a_pod_that_the_cluster_takes_away_makes_the_task_run_again(kube: KubeApi, jobs: JobBridge) -> None:
    with ThreadPoolExecutor(1) as pool:
        future = begun(pool, job_context(jobs, "echo half; sleep 60"))
        kube.evict("mhv-task")
        found = future.result(30)

    assert (found.status, found.output, found.retryable) == ("failed", "half\n", "overload")
    assert "taken away by the cluster: The node was low on resource: memory." in str(found.error)


@pytest.mark.slow
def test_a_full_quota_is_waited_for(kube: KubeApi, jobs: JobBridge) -> None:
    kube.job_quota = 1
    with ThreadPoolExecutor(2) as pool:
        first = begun(pool, job_context(jobs, "echo one; sleep 60"))
        second = pool.submit(run, jobs, "echo two")
        eventually(
            lambda: [path for method, path in kube.requests if method == "POST"], until=lambda posts: len(posts) > 2
        )
        kube.job_quota = 2

        assert second.result(30).output == "two\n"
        kube.delete("jobs", kube.objects("jobs")[0]["metadata"]["name"])
        first.result(30)


def test_a_quota_that_stays_full_is_named(kube: KubeApi, kube_config: KubernetesConfig) -> None:
    kube.job_quota = 0
    with bridge_to(kube_config.model_copy(update={"start_timeout": 2.0})) as bridge:
        found = run(bridge, "true")

    assert (found.status, found.retryable) == ("failed", "overload")
    assert "A quota of the cluster is used up" in str(found.error)
    assert "limited: count/jobs.batch=0" in str(found.error)


def test_a_job_whose_making_was_never_answered_does_not_run_beside_the_retry(
    kube: KubeApi, kube_config: KubernetesConfig
) -> None:
    with bridge_to(kube_config.model_copy(update={"start_timeout": 3.0})) as bridge:
        kube.inject(method="POST", path="/jobs$", cut="after")
        kube.inject(method="POST", path="/jobs$", status=503, reason="ServiceUnavailable", times=1000)
        found = run(bridge, "sleep 60")

        assert (found.status, found.retryable, kube.made("jobs")) == ("failed", "overload", 1)
        eventually(kube.left, until=lambda left: left == [])


def test_an_exit_code_counts_when_the_watch_of_pods_is_behind(kube: KubeApi, jobs: JobBridge) -> None:
    kube.inject(path="/pods$", status=500, reason="InternalError", times=8)
    kube.end_watches()

    found = run(jobs, "exit 3")

    assert (found.status, found.exit_code, found.retryable) == ("failed", 3, None)


def test_a_right_that_is_lost_later_fails_the_task_with_its_name(kube: KubeApi, jobs: JobBridge) -> None:
    kube.denied.add(("create", "jobs"))

    assert "does not allow to create jobs" in str(run(jobs, "true").error)


# ── what is given ──


def test_what_is_too_large_is_refused_before_anything_is_made(kube: KubeApi, jobs: JobBridge) -> None:
    found = run(jobs, "true " + "x" * 131_072)

    assert found.status == "failed"
    assert "Linux takes 131071" in str(found.error)
    assert kube.made("jobs") == kube.made("secrets") == 0


def test_secrets_reach_the_task_and_nobody_else(kube: KubeApi, jobs: JobBridge, tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    file.write_text("API_KEY=very-secret-value\n")
    file.chmod(0o600)
    services = {"jobs": jobs, "secrets_file": file}

    found = run(jobs, "echo $API_KEY; echo ${#API_KEY}", secrets=("API_KEY",), services=services)

    assert found.output == "•••\n17\n"
    assert "very-secret-value" not in str([*kube.objects("jobs"), *kube.objects("pods")])


def test_a_container_task_names_its_own_image_and_limits(kube: KubeApi, jobs: JobBridge) -> None:
    payload = {"image": "tools:1", "command": "echo $WORD", "shell": True, "env": {"WORD": "hi"}, "memory": "64m"}

    found = execute(make_context({"task_type": "container", "payload": payload}, services={"jobs": jobs}))

    [made] = kube.objects("jobs")[0]["spec"]["template"]["spec"]["containers"]
    assert found.output == "hi\n"
    assert (made["image"], made["resources"]) == ("tools:1", {"limits": {"memory": "64Mi"}})
    assert "command" not in made


def test_what_a_task_needs_is_asked_of_the_cluster(kube: KubeApi, jobs: JobBridge) -> None:
    spec = shell_task("echo hi", needs=["gpu=1", "memory=64MiB", "cpu=0.25"])

    found = execute(make_context(spec, services={"jobs": jobs}))

    asked = {"cpu": "250m", "memory": "67108864", "nvidia.com/gpu": "1"}
    [made] = kube.objects("jobs")[0]["spec"]["template"]["spec"]["containers"]
    assert found.output == "hi\n"
    assert made["resources"] == {"requests": asked, "limits": asked}


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"task_type": "python", "payload": {"callable": "os:getcwd"}}, "runs in a worker's own process"),
        ({"task_type": "container", "payload": {"image": "a", "mounts": ["/a:/b"]}}, "payload.mounts"),
        ({"task_type": "container", "payload": {"image": "a", "user": "root"}}, "must be a number"),
        ({"task_type": "mystery"}, "mystery"),
        ({"prompt": "hello"}, "no worker type"),
    ],
)
def test_what_is_no_command_for_a_container_is_refused(
    kube: KubeApi, jobs: JobBridge, spec: dict[str, Any], problem: str
) -> None:
    found = execute(make_context(spec, services={"jobs": jobs}))

    assert found.status == "failed"
    assert problem in str(found.error)
    assert kube.made("jobs") == 0


def test_a_directory_of_the_sender_s_machine_is_not_the_container_s(
    kube: KubeApi, jobs: JobBridge, tmp_path: Path
) -> None:
    assert run(jobs, "pwd", cwd=str(tmp_path)).output.endswith("mahavishnu-work\n")
    assert run(jobs, "pwd", cwd="sub/dir").output.endswith("mahavishnu-work/sub/dir\n")


# ── faults ──


def several(bridge: JobBridge, go: Path, *, trouble: Callable[[], object]) -> list[Outcome]:
    """Run four tasks through some trouble, one of which prints all the while."""
    scripts = [f"echo begun; until [ -e {go} ]; do sleep 0.05; done; echo end {number}" for number in range(3)]
    scripts.append("echo begun; for n in 1 2 3 4 5 6 7 8 9; do echo $n; sleep 0.1; done; echo end 3")
    with ThreadPoolExecutor(4) as pool:
        running = [begun(pool, job_context(bridge, script)) for script in scripts]
        trouble()
        go.touch()
        return [one.result(60) for one in running]


TROUBLES: dict[str, Callable[[KubeApi], object]] = {
    "watches end": KubeApi.end_watches,
    "history is forgotten": KubeApi.forget_history,
    "every connection is cut": KubeApi.cut_all,
    "the server restarts": KubeApi.restart,
    "watches are refused": lambda kube: (
        kube.inject(method="GET", path="/(jobs|pods)$", times=6, status=500),
        kube.cut_all(),
    ),
    "watches are gone": lambda kube: (
        kube.inject(method="GET", path="/(jobs|pods)$", times=2, status=410),
        kube.cut_all(),
    ),
    "logs break": lambda kube: (kube.inject(method="GET", path="/log$", times=6, cut="before"), kube.cut_all()),
    "answers are slow": lambda kube: (kube.inject(path="", times=20, delay=0.5), kube.cut_all()),
}


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(name, marks=() if name in ("the server restarts", "every connection is cut") else pytest.mark.slow)
        for name in TROUBLES
    ],
)
def test_outcomes_and_output_are_whole_whatever_happens_to_the_api(
    kube: KubeApi, jobs: JobBridge, tmp_path: Path, trouble: str
) -> None:
    found = several(jobs, tmp_path / "go", trouble=lambda: TROUBLES[trouble](kube))

    assert [one.status for one in found] == ["completed"] * 4
    assert [one.output for one in found[:3]] == [f"begun\nend {number}\n" for number in range(3)]
    assert found[3].output == "begun\n" + "".join(f"{number}\n" for number in range(1, 10)) + "end 3\n"
    assert kube.made("jobs") == 4


@pytest.mark.parametrize(
    "fault",
    [
        {"cut": "before"},
        {"cut": "after"},
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in (
                {"status": 429, "reason": "TooManyRequests", "after": 1},
                {"status": 500, "reason": "InternalError"},
                {"status": 503, "reason": "ServiceUnavailable", "times": 2},
                {"delay": 1.0},
            )
        ),
    ],
    ids=str,
)
def test_a_task_is_one_job_whatever_happens_when_it_is_made(
    kube: KubeApi, jobs: JobBridge, fault: dict[str, Any]
) -> None:
    kube.inject(method="POST", path="/jobs$", **fault)

    assert run(jobs, "echo done").output == "done\n"
    assert kube.made("jobs") == 1


def test_a_cancel_holds_when_the_api_is_away_at_that_moment(kube: KubeApi, jobs: JobBridge) -> None:
    context = job_context(jobs, "echo begun; sleep 60")
    with ThreadPoolExecutor(1) as pool:
        future = begun(pool, context)
        kube.inject(method="DELETE", times=2, cut="before")
        threading.Thread(target=context.cancellation.cancel).start()

        assert future.result(30).status == "cancelled"
    eventually(kube.left, until=lambda left: left == [])


@pytest.mark.slow
def test_two_hundred_jobs_run_at_once_over_a_restart_of_the_server(
    kube: KubeApi, jobs: JobBridge, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    script = f"echo begun; until [ -e {go} ]; do sleep 1; done; echo end"
    with ThreadPoolExecutor(200) as pool:
        running = [pool.submit(run, jobs, script, timeout=300.0) for _ in range(200)]
        running_now = lambda: sum(one["status"].get("phase") == "Running" for one in kube.objects("pods"))  # noqa: E731
        eventually(running_now, until=lambda count: count == 200, within=90)
        kube.restart()
        go.touch()
        found = [one.result(90) for one in running]

    assert {(one.status, one.output) for one in found} == {("completed", "begun\nend\n")}
    assert kube.made("jobs") == 200
    # One of each kind, which the server ends after a while and at its restart.
    assert kube.watches <= 20
