"""Pools whose workers are a Deployment, through the real client: every Pod is a real agent with a real worker group."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.settings import Settings
from tests.fakes.kube_api import KubeApi
from tests.fakes.kube_deployments import Deployments
from tests.waiting import eventually, eventually_async

#: What is left when all is removed: by it the Pods find Redis, for the tests' own server is on loopback.
SECRET = ["secrets/redis"]

SHORT = {"node_heartbeat": 0.3, "kill_grace": 0.5, "drain_timeout": 1.0, "node_lost_after": 8.0, "lease_ttl": 4.0}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubeApi]:
    found = KubeApi("mahavishnu")
    found.machine.path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    yield found
    found.stop()


@pytest.fixture
def cluster(api: KubeApi) -> Iterator[Deployments]:
    found = Deployments(api)
    found.start()
    yield found
    found.stop()


@pytest_asyncio.fixture
async def manager(settings: Settings, api: KubeApi) -> AsyncIterator[PoolManager]:
    # The agents take their times from here, too.
    found = PoolManager(settings=settings.model_copy(update={**SHORT, "spawn_timeout": 30.0}))
    url = base64.b64encode(settings.redis_url.get_secret_value().encode()).decode()  # type: ignore[union-attr]
    secret = {"kind": "Secret", "metadata": {"name": "redis"}, "data": {"url": url}}
    api._do(api.machine.store.add("secrets", "mahavishnu", secret))
    yield found
    await found.close()


@pytest.fixture
def pool(api: KubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr("mahavishnu_pools.pools.spawning.LOOK_OUTSIDE", 0.5)
    return {
        "name": "cloud",
        "pool_type": "kubernetes",
        "mode": "deployment",
        "container_image": "example.org/mahavishnu:1",
        "kubeconfig": str(api.kubeconfig(tmp_path)),
        "redis_url_secret": "redis/url",
        "worker_type": "shell",
        "start_timeout": 30.0,
        "max_workers": 4,
    }


def pods(api: KubeApi) -> list[str]:
    return [one["metadata"]["name"] for one in api.objects("pods")]


async def test_a_pool_runs_tasks_in_its_pods_is_scaled_and_leaves_nothing(
    manager: PoolManager, pool: dict[str, Any], api: KubeApi, cluster: Deployments
) -> None:
    pool_id = await manager.spawn_pool(**pool)

    result = await manager.execute_on_pool("cloud", {"prompt": "echo done"}, wait_timeout=30)
    assert (result["output"] or "").strip() == "done"
    assert pods(api)[0] in str(result["worker_id"])

    info = await manager.scale_pool("cloud", 2)
    assert (info.workers, len(info.nodes)) == (2, 2)
    assert sorted(info.nodes) == sorted(pods(api))
    [scaler] = api.objects("horizontalpodautoscalers")
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 4)
    with pytest.raises(errors.ScaleOutOfRange):
        await manager.scale_pool("cloud", 5)

    # Spawned once more it is the same pool, and stays as it was scaled.
    assert await manager.spawn_pool(**pool) == pool_id
    assert api.objects("horizontalpodautoscalers")[0]["spec"]["minReplicas"] == 2

    await manager.close_pool("cloud")
    eventually(api.left, until=lambda left: left == SECRET, within=30)
    assert await manager.list_pools() == []


@pytest.mark.slow
async def test_the_cluster_scales_by_load_and_the_pool_follows(
    manager: PoolManager, pool: dict[str, Any], cluster: Deployments
) -> None:
    await manager.spawn_pool(**pool)

    cluster.asked["mhv-cloud"] = 3

    async def workers() -> int:
        return (await manager.pool_info("cloud")).workers

    await eventually_async(workers, until=lambda seen: seen == 3, within=30)


@pytest.mark.slow
async def test_a_task_of_a_pod_that_is_gone_runs_in_another_one(
    manager: PoolManager, pool: dict[str, Any], api: KubeApi, cluster: Deployments, tmp_path: Path
) -> None:
    await manager.spawn_pool(**pool, min_workers=2, auto_scale=False)
    first = tmp_path / "first"
    [submitted] = await manager.submit_many([{"prompt": f"mkdir {first} && sleep 300; echo again"}], pool="cloud")

    async def look() -> TaskResult:
        return await manager.task(submitted.task_id)

    found = await eventually_async(look, until=lambda seen: seen.status == "running" and first.exists(), within=30)
    [lost] = [name for name in pods(api) if name in str(found.worker_id)]

    cluster.kill(lost)

    ended = await eventually_async(look, until=lambda seen: seen.status == "completed", within=60)
    assert (ended.attempts, (ended.output or "").strip()) == (2, "again")
    assert lost not in str(ended.worker_id)


async def test_an_image_that_cannot_be_pulled_ends_the_spawn_and_leaves_nothing(
    manager: PoolManager, pool: dict[str, Any], api: KubeApi, cluster: Deployments
) -> None:
    with pytest.raises(errors.PoolNotReady, match=r"ErrImagePull|ImagePullBackOff"):
        await manager.spawn_pool(**{**pool, "container_image": "example.org/missing:1"})

    eventually(api.left, until=lambda left: left == SECRET, within=30)
    assert await manager.list_pools() == []


async def test_pods_over_the_quota_are_told_at_once(
    manager: PoolManager, pool: dict[str, Any], api: KubeApi, cluster: Deployments
) -> None:
    cluster.quota = 0

    with pytest.raises(errors.PoolNotReady, match="exceeded quota: team"):
        await manager.spawn_pool(**pool)

    eventually(api.left, until=lambda left: left == SECRET, within=30)


@pytest.mark.parametrize(
    ("fields", "denied", "says"),
    [
        ({}, ("patch", "deployments"), "patch deployments.apps.*manifest --rbac"),
        ({"namespace": "elsewhere"}, None, "'elsewhere' does not exist.*create_namespace"),
        ({"workers_per_pod": 3}, None, "multiple of the 3 workers"),
        ({"replicas": 2}, None, "replicas"),
        ({"context": "wrong"}, None, "wrong"),
        ({"redis_url_secret": None}, None, "MAHAVISHNU_KUBERNETES_REDIS_URL"),
    ],
)
async def test_what_the_cluster_would_refuse_is_refused_before_anything_is_made(
    manager: PoolManager,
    pool: dict[str, Any],
    api: KubeApi,
    fields: dict[str, Any],
    denied: tuple[str, str] | None,
    says: str,
) -> None:
    api.denied = {denied} if denied else set()

    with pytest.raises(errors.InvalidInput, match=says):
        await manager.spawn_pool(**{**pool, **fields})

    assert api.left() == SECRET
    assert await manager.list_pools() == []


async def test_a_deployment_of_another_pool_is_not_touched(
    manager: PoolManager, pool: dict[str, Any], api: KubeApi
) -> None:
    foreign = {"metadata": {"name": "mhv-cloud", "annotations": {"mahavishnu.io/pool-id": "pool_other"}}, "spec": {}}
    api._do(api.machine.store.add("deployments", "mahavishnu", foreign))

    with pytest.raises(errors.InvalidField, match="of pool pool_other"):
        await manager.spawn_pool(**pool)

    assert "deployments/mhv-cloud" in api.left()


async def test_an_autoscaler_without_metrics_is_reported_and_no_failure(
    manager: PoolManager, pool: dict[str, Any], cluster: Deployments
) -> None:
    await manager.spawn_pool(**pool)

    async def health() -> dict[str, Any]:
        return await manager.health_check("cloud")

    found = await eventually_async(health, until=lambda seen: "FailedGet" in str(seen["pools"][0]["reason"]), within=30)
    assert found["status"] == "healthy"


@pytest.mark.slow
async def test_a_namespace_is_made_when_asked_for(
    manager: PoolManager, pool: dict[str, Any], api: KubeApi, cluster: Deployments
) -> None:
    api._do(api.machine.store.drop(("namespaces", "", "mahavishnu")))

    await manager.spawn_pool(**{**pool, "create_namespace": True})

    assert [one["metadata"]["name"] for one in api.objects("namespaces")] == ["mahavishnu"]


@pytest.mark.slow
async def test_a_cluster_that_is_away_for_a_moment_is_asked_again(
    manager: PoolManager, pool: dict[str, Any], api: KubeApi, cluster: Deployments
) -> None:
    for fault in ({"status": 429, "after": 0}, {"status": 500}, {"cut": "before"}, {"cut": "after"}):
        api.inject(method="PATCH", **fault)

    await manager.spawn_pool(**pool)
    spawned = len(pods(api))
    api.inject(method="DELETE", cut="after", times=2)
    await manager.close_pool("cloud")

    assert spawned == 1
    eventually(api.left, until=lambda left: left == SECRET, within=30)


@pytest.mark.slow
async def test_a_pool_whose_cluster_does_not_answer_stays_and_can_be_closed_later(
    manager: PoolManager, pool: dict[str, Any], api: KubeApi, cluster: Deployments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mahavishnu_pools.pools.kubernetes_deployment.PATIENCE", 1.0)
    await manager.spawn_pool(**pool)
    fault = api.inject(path="deployments", times=1000, status=503)

    with pytest.raises(errors.ClusterUnavailable):
        await manager.close_pool("cloud")
    assert [one.name for one in await manager.list_pools()] == ["cloud"]

    fault.times = 0
    await manager.close_pool("cloud")
    eventually(api.left, until=lambda left: left == SECRET, within=30)


async def test_a_pool_without_a_living_pod_is_closed_although_its_cluster_is_gone(
    manager: PoolManager, pool: dict[str, Any], api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mahavishnu_pools.pools.kubernetes_deployment.PATIENCE", 0.5)
    await manager.spawn_pool(**pool, wait=False)  # nobody makes Pods here
    api.inject(path="deployments", times=1000, status=503)

    await manager.close_pool("cloud")

    assert await manager.list_pools() == []
