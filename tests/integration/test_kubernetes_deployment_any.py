"""The objects of a deployment on every cluster: one on loopback and, with ``-m kubernetes_real``, a real one."""

from __future__ import annotations

import os
import secrets

import pytest

from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.objects import base_name, kubernetes_of
from mahavishnu_pools.pools.kubernetes_deployment import DeploymentOutside, status_of
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings
from tests.fixtures.clusters import NAMESPACE
from tests.waiting import eventually_async

#: A real cluster may have to pull an image first.
WITHIN = 180.0

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
        return [kind for kind in KINDS if await cluster.get(kind, base_name(config)) is not None]


async def test_objects_are_made_scaled_repeated_and_removed(config: PoolConfig, outside: DeploymentOutside) -> None:
    pool_id = "pool_0123456789ab"
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
