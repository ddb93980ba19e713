"""What holds for Jobs on every cluster: one on loopback and, with KUBECONFIG and ``-m kubernetes_real``, a real one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.jobs import pool_selector
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.worker_types import WorkerType
from tests.fakes.run_context import RecordingLog, make_context
from tests.fixtures.clusters import NAMESPACE, bridge_to, job_context
from tests.waiting import eventually
from workers.executors.job_bridge import JobBridge
from workers.executors.registry import execute

#: A real cluster may have to pull an image first.
WITHIN = 120.0


@pytest.fixture(params=["local", pytest.param("real", marks=pytest.mark.kubernetes_real)])
def cluster(request: pytest.FixtureRequest) -> KubernetesConfig:
    if request.param == "local":
        found: KubernetesConfig = request.getfixturevalue("kube_config")
        return found
    if "kubernetes_real" not in request.config.getoption("-m"):
        pytest.skip("a real cluster is used with -m kubernetes_real only (make test-kubernetes)")
    if "KUBECONFIG" not in os.environ:
        pytest.skip("KUBECONFIG names no cluster")
    return KubernetesConfig(namespace=NAMESPACE, ttl_seconds_after_finished=60)


@pytest.fixture
def jobs(cluster: KubernetesConfig) -> Iterator[JobBridge]:
    """Return a bridge to the cluster that leaves nothing behind there."""
    with bridge_to(cluster) as bridge:
        yield bridge
    eventually(lambda: asyncio.run(left(cluster, bridge.pool_id)), until=lambda found: found == [], within=WITHIN)


async def left(config: KubernetesConfig, pool_id: str) -> list[str]:
    found = []
    async with Cluster(config) as cluster:
        for kind in ("Job", "Pod", "Secret"):
            items = (await cluster.find(kind, labels=pool_selector(pool_id)))["items"]
            found += [f"{kind} {one['metadata']['name']}" for one in items]
    return found


def run(bridge: JobBridge, script: str, **overrides: object) -> Outcome:
    return execute(job_context(bridge, script, **{"timeout": WITHIN, **overrides}))


def test_output_and_exit_code_come_back(jobs: JobBridge) -> None:
    good, bad = run(jobs, "echo out; echo err >&2"), run(jobs, "echo half; exit 3")

    assert (good.status, sorted(good.output.split())) == ("completed", ["err", "out"])
    assert (bad.status, bad.output, bad.exit_code) == ("failed", "half\n", 3)


def test_a_timeout_ends_the_pod_and_keeps_what_it_said(jobs: JobBridge) -> None:
    found = run(jobs, "echo begun; sleep 600", timeout=4.0)

    assert (found.status, found.output) == ("timeout", "begun\n")
    assert "remote_may_still_run" not in found.metadata


def test_a_cancel_ends_the_pod_while_its_output_is_seen(jobs: JobBridge) -> None:
    context = job_context(jobs, "echo begun; sleep 600", timeout=600.0)
    log = context.log
    assert isinstance(log, RecordingLog)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, context)
        eventually(log.text, within=WITHIN)
        context.cancellation.cancel()

        assert future.result(WITHIN).status == "cancelled"


def test_a_task_that_was_left_by_one_bridge_is_ended_by_the_next(cluster: KubernetesConfig, jobs: JobBridge) -> None:
    first = job_context(jobs, "echo begun; sleep 2; echo end", timeout=600.0)
    log = first.log
    assert isinstance(log, RecordingLog)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, first)
        eventually(log.text, within=WITHIN)
        first.cancellation.cancel(leave=True)
        assert future.result(WITHIN).status == "cancelled"

    again = run(jobs, "echo begun; sleep 2; echo end", task_id=first.task_id)

    assert (again.status, again.output) == ("completed", "begun\nend\n")


@pytest.mark.parametrize("via", ["argument", "stdin"])
def test_a_program_that_the_image_has_not_got_is_named_with_the_image(jobs: JobBridge, via: str) -> None:
    argv = ("no-such-ai", "{prompt}") if via == "argument" else ("no-such-ai",)
    kind = WorkerType(name="strange", argv=argv, prompt_via=via)
    services = {"jobs": jobs, "worker_types": {"strange": kind}}

    found = execute(make_context({"prompt": "hello"}, worker_type="strange", services=services))

    assert found.status == "failed"
    assert "image python:3.13-slim has no program 'no-such-ai', which worker type 'strange' runs" in str(found.error)


def test_a_prompt_of_half_a_megabyte_with_everything_in_it_arrives_unchanged(jobs: JobBridge) -> None:
    prompt = "`id` $(HOME) $$ ${HOME} \"quotes\" 'more'\n\ttab \\ é 😀\n" * 10_000
    services = {"jobs": jobs, "worker_types": {"cat": WorkerType(name="cat", argv=("cat",), ai=False)}}
    log = RecordingLog()

    found = execute(make_context({"prompt": prompt}, worker_type="cat", services=services, log=log))

    assert found.status == "completed"
    assert len(prompt.encode()) > 500_000
    assert log.text() == prompt


def test_an_argument_arrives_unchanged(jobs: JobBridge) -> None:
    odd = ["$(HOME)", "$$", "$(", "`id`", "a\nb", "it's", "", "$HOME"]
    spec = {"task_type": "shell", "payload": {"command": ["printf", "<%s>", *odd]}, "env": {"HOME": "/x"}}

    found = execute(make_context(spec, services={"jobs": jobs}))

    assert found.output == "".join(f"<{one}>" for one in odd) + "\n"


@pytest.mark.parametrize("task_id", ["x" * 200, "Ä odd/id? --flag", "UPPER_case", "1-2-3"])
def test_ids_of_any_kind_make_jobs(jobs: JobBridge, task_id: str) -> None:
    assert run(jobs, "echo $MAHAVISHNU_TASK_ID", task_id=task_id).output == f"{task_id}\n"
