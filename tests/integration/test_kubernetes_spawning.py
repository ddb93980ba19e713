"""Spawning and closing pools of Jobs: what the cluster would refuse is refused before, and nothing stays behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mahavishnu_pools import errors
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.jobs import JobTask, job_manifest
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from tests.fakes.kube_api import KubeApi
from tests.fakes.worker import FakeNode
from tests.waiting import eventually


@pytest.fixture
def fields(kube: KubeApi, tmp_path: Path) -> dict[str, Any]:
    return {
        "name": "cloud",
        "pool_type": "kubernetes",
        "worker_type": "shell",
        "kubeconfig": str(kube.kubeconfig(tmp_path)),
    }


@pytest.mark.parametrize(
    ("changes", "trouble", "error", "says"),
    [
        ({"context": "fakee"}, {}, errors.InvalidField, r"Contexts that exist: fake"),
        ({"kubeconfig": "/no/such/file"}, {}, errors.InvalidField, r"no file here"),
        ({"namespace": "elsewhere"}, {}, errors.ClusterRefused, r"'elsewhere' does not exist.*create_namespace"),
        (
            {},
            {"denied": {("create", "jobs"), ("get", "pods/log")}},
            errors.ClusterRefused,
            r"create jobs\.batch, get po",
        ),
        (
            {},
            {"pod_refusal": "maximum cpu usage is 2, but limit is 9"},
            errors.ClusterRefused,
            r"maximum cpu usage is 2",
        ),
        ({}, {"job_quota": 0}, errors.ClusterRefused, r"exceeded quota"),
        ({}, {"token": "new"}, errors.ClusterRefused, r"does not accept these credentials"),
        ({"container_image": "Bad Image"}, {}, errors.InvalidField, r"image reference"),
        ({"resources": {"limits": {"cpu": "many"}}}, {}, errors.InvalidField, r"no quantity"),
        ({"worker_type": "container"}, {}, errors.InvalidField, r"docker and podman"),
        ({"endpoint": "http://localhost/mcp"}, {}, errors.InvalidField, r"endpoint"),
    ],
)
async def test_what_could_not_run_is_refused_with_the_reason(
    manager: PoolManager,
    node: FakeNode,
    kube: KubeApi,
    fields: dict[str, Any],
    changes: dict[str, Any],
    trouble: dict[str, Any],
    error: type[Exception],
    says: str,
) -> None:
    for name, value in trouble.items():
        setattr(kube, name, value)

    with pytest.raises(error, match=says):
        await manager.spawn_pool(**{**fields, **changes})

    assert await manager.list_pools() == []
    assert kube.left() == []


@pytest.mark.parametrize("mode", ["job", "deployment"])
async def test_a_cluster_that_cannot_be_reached_is_named_with_its_context(
    manager: PoolManager,
    node: FakeNode,
    kube: KubeApi,
    fields: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    monkeypatch.setattr(f"mahavishnu_pools.pools.kubernetes_{mode.replace('job', 'jobs')}.PATIENCE", 0.3)
    more = {"mode": mode, "container_image": "example.org/mahavishnu:1", "redis_url_secret": "redis/url"}
    kube.stop_listening()

    with pytest.raises(errors.ClusterUnavailable, match=rf"{kube.url} \(context 'fake'\) cannot be reached"):
        await manager.spawn_pool(**fields, **(more if mode == "deployment" else {}))

    assert await manager.list_pools() == []
    kube.listen_again()
    assert kube.left() == []


async def test_without_any_cluster_a_pool_is_refused_with_where_one_would_be_named(
    manager: PoolManager, node: FakeNode, fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    del fields["kubeconfig"]

    with pytest.raises(errors.ClusterUnavailable, match=r"No Kubernetes cluster is configured: .* Name a file"):
        await manager.spawn_pool(**fields)

    assert await manager.list_pools() == []


async def test_a_namespace_is_made_when_that_is_asked_for(
    manager: PoolManager, node: FakeNode, kube: KubeApi, fields: dict[str, Any]
) -> None:
    await manager.spawn_pool(**fields, namespace="elsewhere", create_namespace=True)

    assert [one["metadata"]["name"] for one in kube.objects("namespaces")] == ["mahavishnu", "elsewhere"]


def change_context(file: Path, context: str) -> None:
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, "current-context": context}))


async def test_a_pool_stays_in_its_cluster_when_the_current_context_changes(
    manager: PoolManager, node: FakeNode, kube: KubeApi, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(fields.pop("kubeconfig"))
    monkeypatch.setenv("KUBECONFIG", str(file))
    pool_id = await manager.spawn_pool(**fields)
    change_context(file, "another")

    found = (await manager.get_pool(pool_id)).config.kubernetes

    assert found is not None
    assert (found.kubeconfig, found.context) == (str(file), "fake")
    assert (await manager.pool_info(pool_id)).model_dump()["kubernetes"] == {
        "mode": "job",
        "namespace": "mahavishnu",
        "context": "fake",
        "container_image": "python:3.13-slim",
    }


async def test_closing_takes_the_jobs_of_a_lost_bridge_away(
    manager: PoolManager, node: FakeNode, kube: KubeApi, kube_config: KubernetesConfig, fields: dict[str, Any]
) -> None:
    pool_id = await manager.spawn_pool(**fields)
    config = (await manager.get_pool(pool_id)).config
    task = JobTask(task_id="task_left", number=0, argv=("sleep", "600"), timeout=600.0, grace=1.0)
    async with Cluster(kube_config) as cluster:
        await cluster.create(job_manifest(config, task, pool_id=pool_id))
        await cluster.create(job_manifest(config, task, pool_id="pool_of_another") | {"metadata": {"name": "other"}})

    await manager.close_pool(pool_id)

    eventually(
        lambda: [one["metadata"]["name"] for one in kube.objects("jobs")], until=lambda names: names == ["other"]
    )


async def test_a_pool_can_be_closed_when_its_cluster_is_gone(
    manager: PoolManager, node: FakeNode, kube: KubeApi, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mahavishnu_pools.pools.kubernetes_jobs._CLEAR_PATIENCE", 0.3)
    pool_id = await manager.spawn_pool(**fields)
    kube.stop_listening()

    await manager.close_pool(pool_id)

    assert await manager.list_pools() == []
    kube.listen_again()
