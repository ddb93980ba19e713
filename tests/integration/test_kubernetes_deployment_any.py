"""The objects of a deployment on every cluster: one on loopback and, with ``-m kubernetes_real``, a real one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.deployments import types_name
from mahavishnu_pools.kube.objects import base_name, kubernetes_of
from mahavishnu_pools.pools.kubernetes_deployment import DeploymentOutside, status_of
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings
from tests.fakes.kube_api import KubeApi
from tests.fixtures.clusters import NAMESPACE
from tests.waiting import eventually_async

#: A real cluster may have to pull an image first.
WITHIN = 180.0

POOL = "pool_0123456789ab"

KINDS = (
    *("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget"),
    *("ConfigMap", "Secret", "ServiceAccount"),
)


@pytest.fixture(params=["local", pytest.param("real", marks=pytest.mark.kubernetes_real)])
def config(request: pytest.FixtureRequest) -> PoolConfig:
    if request.param == "local":
        cluster: KubernetesConfig = request.getfixturevalue("kube_config")
    elif "kubernetes_real" not in request.config.getoption("-m") or "KUBECONFIG" not in os.environ:
        pytest.skip("a real cluster is used with -m kubernetes_real and KUBECONFIG only (make test-kubernetes)")
    else:
        cluster = KubernetesConfig(namespace=NAMESPACE)
    # An image without this package: its Pods are made, and end at once.
    more = {"mode": "deployment", "container_image": "python:3.13-slim"}
    name = f"trial-{secrets.token_hex(3)}"
    return PoolConfig(name=name, pool_type="kubernetes", max_workers=3, kubernetes={**cluster.model_dump(), **more})


@pytest.fixture
def outside(config: PoolConfig) -> DeploymentOutside:
    return DeploymentOutside(config, Settings(redis_url="redis://:secret@redis.example.org:6379/0"))


async def left(config: PoolConfig) -> list[str]:
    async with Cluster(kubernetes_of(config)) as cluster:
        found = [kind for kind in KINDS if await cluster.get(kind, base_name(config)) is not None]
        return found + ["types"] * (await cluster.get("ConfigMap", types_name(config)) is not None)


async def test_objects_are_made_scaled_repeated_and_removed(config: PoolConfig, outside: DeploymentOutside) -> None:
    pool_id = POOL
    try:
        await outside.check(config)
        assert await left(config) == []

        await outside.make(pool_id, config)
        assert await left(config) == list(KINDS)

        await outside.scale(pool_id, config, workers=2)
        await outside.make(pool_id, config)  # as when it is spawned again
        async with Cluster(kubernetes_of(config)) as cluster:
            scaler = await cluster.get("HorizontalPodAutoscaler", base_name(config))
        assert scaler is not None
        assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 3)
    finally:
        await outside.remove(pool_id, config)
    await eventually_async(lambda: left(config), until=lambda found: found == [], within=WITHIN)
    await outside.remove(pool_id, config)  # what is gone is no error


@pytest.mark.parametrize("gone", [False, True], ids=["whole", "without its Deployment"])
async def test_removing_does_not_ask_today_s_settings_what_was_made(
    config: PoolConfig, gone: bool, tmp_path: Path
) -> None:
    types = tmp_path / "types.yaml"
    types.write_text("worker_types:\n- name: mine\n  command: [mine]\n")
    url = "redis://:secret@redis.example.org:6379/0"
    before = DeploymentOutside(config, Settings(redis_url=url, worker_types_file=types))
    own = {**kubernetes_of(config).model_dump(), "redis_url_secret": "redis/url"}
    today = config.model_copy(update={"auto_scale": False, "kubernetes": KubernetesConfig(**own)})
    try:
        await before.make(POOL, config)
        if gone:
            async with Cluster(kubernetes_of(config)) as cluster:
                await cluster.delete("Deployment", base_name(config))

        await DeploymentOutside(today, Settings(redis_url=url)).remove(POOL, today)

        await eventually_async(lambda: left(config), until=lambda found: found == [], within=WITHIN)
    finally:
        await before.remove(POOL, config)


@pytest.mark.parametrize("scaler", ["hpa", "keda"])
async def test_how_many_pods_there_are_is_the_autoscalers_affair(
    kube: KubeApi, kube_config: KubernetesConfig, scaler: str
) -> None:
    more = {"mode": "deployment", "container_image": "python:3.13-slim", "autoscaling": scaler}
    kubernetes = {**kube_config.model_dump(), **more}
    config = PoolConfig(name="scaled", pool_type="kubernetes", max_workers=4, kubernetes=kubernetes)
    outside = DeploymentOutside(config, Settings(redis_url="redis://:secret@redis.example.org:6379/0"))
    kind, least = {"hpa": ("HorizontalPodAutoscaler", "minReplicas"), "keda": ("ScaledObject", "minReplicaCount")}[
        scaler
    ]
    await outside.make(POOL, config)
    async with Cluster(kubernetes_of(config)) as cluster:
        await cluster.patch("Deployment", base_name(config), {"spec": {"replicas": 3}})  # as it does under load
        asked = len(kube.requests)

        await outside.scale(POOL, config, workers=2)
        touched = [path for method, path in kube.requests[asked:] if method == "PATCH" and "/deployments/" in path]
        await outside.make(POOL, config)  # as when it is spawned again

        deployment, made = (
            await cluster.get("Deployment", base_name(config)),
            await cluster.get(kind, base_name(config)),
        )
    assert deployment is not None
    assert made is not None
    assert touched == []
    assert (deployment["spec"]["replicas"], made["spec"][least]) == (3, 2)


@pytest.mark.kubernetes_real
@pytest.mark.parametrize("config", ["real"], indirect=True)
async def test_pods_that_cannot_work_are_told_with_their_last_words(
    config: PoolConfig, outside: DeploymentOutside
) -> None:
    pool_id = "pool_0123456789ab"
    try:
        await outside.make(pool_id, config)
        found = await eventually_async(
            lambda: status_of(config), until=lambda seen: seen is not None and seen.lasting, within=WITHIN
        )
        assert found is not None
        assert "mahavishnu_workers" in str(found.problem)
    finally:
        await outside.remove(pool_id, config)
