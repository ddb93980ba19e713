"""The client of a cluster: what passes is tried again, what does not is an error that says what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.rights import JOB_RIGHTS
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from tests.fakes.kube_api import KubeApi


def config_map(name: str = "one", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mahavishnu_pools.kube.transport.FIRST_PAUSE", 0.02)


@pytest.fixture
async def cluster(kube_config: KubernetesConfig) -> AsyncIterator[Cluster]:
    async with Cluster(kube_config, patience=5.0) as made:
        yield made


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "reason": "TooManyRequests", "after": 1},
        {"status": 500, "reason": "InternalError", "times": 2},
        {"status": 503, "reason": "ServiceUnavailable"},
        {"cut": "before", "times": 2},
        {"cut": "after"},
    ],
    ids=str,
)
async def test_an_object_is_made_once_whatever_passes_in_between(
    kube: KubeApi, cluster: Cluster, fault: dict[str, Any]
) -> None:
    injected = kube.inject(method="POST", **fault)

    made = await cluster.create(config_map(a="b"))

    assert injected.seen == fault.get("times", 1)
    assert kube.made("configmaps") == 1
    # After a lost answer the object is found to exist.
    assert (made is None) == (fault.get("cut") == "after")


async def test_a_change_that_met_another_is_made_again(kube: KubeApi, cluster: Cluster) -> None:
    kube.inject(method="PATCH", status=409, reason="Conflict")

    await cluster.apply(config_map(a="b"))
    await cluster.patch("ConfigMap", "one", {"data": {"a": None, "c": "d"}})

    found = await cluster.get("ConfigMap", "one")
    assert found is not None
    assert found["data"] == {"c": "d"}


async def test_lists_are_read_in_pieces_and_begun_anew_when_their_place_is_forgotten(
    kube: KubeApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mahavishnu_pools.kube.client.PAGE", 2)
    names = [f"map-{number}" for number in range(5)]
    for name in names:
        await cluster.create(config_map(name))
    asked = len(kube.requests)

    found = await cluster.find("ConfigMap")
    pieces = len(kube.requests) - asked
    kube.inject(method="GET", path="/configmaps$", times=2, status=410, reason="Expired")
    again = await cluster.find("ConfigMap")
    kube.inject(method="GET", path="/configmaps$", times=3, status=410, reason="Expired")
    at_once = await cluster.find("ConfigMap")

    assert pieces == 3
    for one in (found, again, at_once):
        assert [item["metadata"]["name"] for item in one["items"]] == names
    assert found["metadata"]["resourceVersion"]


async def test_what_does_not_exist_is_nothing_and_deleting_it_no_error(kube: KubeApi, cluster: Cluster) -> None:
    assert await cluster.get("ConfigMap", "none") is None
    assert await cluster.delete("ConfigMap", "none") is False

    await cluster.create(config_map())
    assert await cluster.delete("ConfigMap", "one", uid="of another") is False
    assert await cluster.delete("ConfigMap", "one") is True


async def test_a_cluster_that_stays_broken_is_named_after_the_patience(
    kube: KubeApi, kube_config: KubernetesConfig
) -> None:
    kube.inject(status=503, times=1000, message="the server is on fire")

    async with Cluster(kube_config, patience=0.5) as cluster:
        with pytest.raises(errors.ClusterUnavailable, match="the server is on fire") as caught:
            await cluster.find("Job")

    assert caught.value.details()["cluster"] == kube.url


async def test_a_cluster_that_is_not_there_is_named(kube: KubeApi, kube_config: KubernetesConfig) -> None:
    kube.stop_listening()

    async with Cluster(kube_config, patience=0.5) as cluster:
        with pytest.raises(errors.ClusterUnavailable, match="cannot be reached") as caught:
            await cluster.find("Job")

    assert "context 'fake'" in caught.value.message
    kube.listen_again()


async def test_a_missing_right_is_named_with_its_verb_and_resource(kube: KubeApi, cluster: Cluster) -> None:
    kube.denied |= {("create", "jobs"), ("get", "pods/log")}

    assert await cluster.missing_rights(JOB_RIGHTS) == ["create jobs.batch", "get pods/log"]
    with pytest.raises(errors.ClusterRefused, match=r"does not allow to create jobs: .*in the namespace"):
        await cluster.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": {}})


async def test_a_namespace_that_does_not_exist_is_named_with_the_remedy(
    kube: KubeApi, kube_config: KubernetesConfig
) -> None:
    async with Cluster(kube_config.model_copy(update={"namespace": "elsewhere"})) as cluster:
        with pytest.raises(errors.ClusterRefused, match=r"'elsewhere' does not exist.*create_namespace"):
            await cluster.create(config_map())


async def test_new_credentials_are_read_when_the_old_ones_are_refused(
    kube: KubeApi, kube_config: KubernetesConfig, cluster: Cluster, tmp_path: Path
) -> None:
    await cluster.find("Job")
    kube.token = "renewed"
    with pytest.raises(errors.ClusterRefused, match="does not accept these credentials"):
        await cluster.find("Job")

    kube.kubeconfig(tmp_path)

    assert (await cluster.find("Job"))["items"] == []


async def test_a_context_that_does_not_exist_is_refused_with_those_that_do(kube_config: KubernetesConfig) -> None:
    with pytest.raises(errors.InvalidField, match=r"'fakee' is not in .*Contexts that exist: fake\."):
        async with Cluster(kube_config.model_copy(update={"context": "fakee"})):
            pass


@pytest.mark.parametrize(
    ("content", "problem"),
    [("[1]", "cannot be read"), ("{:", "cannot be read"), ("{}", "Contexts that exist: none")],
)
async def test_a_kubeconfig_that_is_none_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(errors.InvalidField, match=problem):
        async with Cluster(KubernetesConfig(kubeconfig=str(file))):
            pass


async def test_without_any_cluster_the_error_says_where_one_would_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for config, problem in (({}, "No Kubernetes cluster is configured"), ({"in_cluster": True}, "does not run in a")):
        with pytest.raises(errors.ClusterUnavailable, match=problem):
            async with Cluster(KubernetesConfig(**config)):
                pass
