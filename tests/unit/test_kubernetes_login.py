"""Credentials of a cluster: certificates and tokens that are renewed, and those that every Pod has."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.config import incluster_config

from mahavishnu_pools import errors
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.paths import KINDS
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from tests.fakes.kube_api import KubeApi
from tests.fixtures.secured import Authority, make_client


@pytest.fixture
def secured(authority: Authority) -> Iterator[KubeApi]:
    """Return a cluster behind TLS that asks for certificates of clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    api = KubeApi(tls=context)
    yield api
    api.stop()


def write(file: Path, api: KubeApi, client: Authority) -> None:
    """Write a kubeconfig with the certificate of a client."""

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    content: dict[str, Any] = {
        "current-context": "secured",
        "clusters": [{"name": "c", "cluster": {"server": api.url, "certificate-authority-data": data(client.ca)}}],
        "users": [
            {
                "name": "u",
                "user": {"client-certificate-data": data(client.certificate), "client-key-data": data(client.key)},
            }
        ],
        "contexts": [{"name": "secured", "context": {"cluster": "c", "user": "u"}}],
    }
    file.write_text(yaml.safe_dump(content))


async def test_a_renewed_certificate_is_used_and_what_runs_is_not_cut_off(
    secured: KubeApi, authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    write(file, secured, make_client(authority, "first"))
    secured.peer = "first"
    async with Cluster(KubernetesConfig(kubeconfig=str(file))) as cluster:
        version = (await cluster.find("ConfigMap"))["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": version}
        async with cluster.stream(KINDS["ConfigMap"].path("mahavishnu"), query=query, idle=30.0) as pieces:
            secured.peer = "second"
            with pytest.raises(errors.ClusterRefused, match="does not accept these credentials"):
                await cluster.find("ConfigMap")

            write(file, secured, make_client(authority, "second"))
            await cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}})

            seen = await anext(aiter(pieces))
    assert b'"one"' in seen


async def test_a_certificate_that_is_none_is_refused_as_part_of_its_context(
    secured: KubeApi, authority: Authority, tmp_path: Path
) -> None:
    file, client = tmp_path / "kubeconfig", make_client(authority, "broken")
    client.certificate.write_text("no certificate")
    write(file, secured, client)

    with pytest.raises(errors.InvalidField, match="certificates cannot be used"):
        async with Cluster(KubernetesConfig(kubeconfig=str(file))):
            pass


@pytest.mark.parametrize("fields", [{"in_cluster": True}, {}], ids=["said", "found"])
async def test_in_a_cluster_the_token_and_the_authority_of_the_pod_are_used_and_new_tokens_at_once(
    secured: KubeApi, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    token = tmp_path / "token"
    token.write_text("secret-token")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority.ca))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(secured.http.port))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    async with Cluster(KubernetesConfig(**fields)) as cluster:
        assert (await cluster.find("Job"))["items"] == []

        secured.token = "renewed"
        token.write_text("renewed")

        assert (await cluster.find("Job"))["items"] == []
        assert str(cluster.place) == secured.url
