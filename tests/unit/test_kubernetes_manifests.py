"""Manifests of pools whose workers are a Deployment: what is sent exactly, and that every known cluster takes it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from mahavishnu_pools import errors
from mahavishnu_pools.kube.deployments import deployment_manifests
from mahavishnu_pools.kube.objects import base_name
from mahavishnu_pools.kube.pod_settings import pod_settings
from mahavishnu_pools.kube.rbac import rbac_manifests
from mahavishnu_pools.kube.rights import rights_of
from mahavishnu_pools.kube.scaling import LOAD_METRICS
from mahavishnu_pools.metrics.definitions import OURS
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings

#: The oldest one that is supported, the one it was tried on, the newest one that is known; and those between.
VERSIONS = ("1.30", "1.34", "1.37")
BETWEEN = ("1.31", "1.32", "1.33", "1.35", "1.36")

EXPECTED = Path(__file__).resolve().parents[1] / "fixtures" / "manifests"

#: Everything that can be said at once.
ALL: dict[str, Any] = {
    "create_namespace": True,
    "image_pull_policy": "Always",
    "image_pull_secrets": ["registry"],
    "env": {"LANG": "C.UTF-8", "QUOTES": '"$(HOME)" `x`\n'},
    "env_from": ["secret:ai-keys", {"kind": "configmap", "name": "more", "prefix": "MORE_", "optional": True}],
    "volumes": [
        {"name": "models", "mount_path": "/models", "claim": "models", "read_only": True},
        {"name": "login", "mount_path": "/login", "secret": "login", "sub_path": "me"},
        {"name": "rules", "mount_path": "/rules", "config_map": "rules"},
        {"name": "scratch", "mount_path": "/scratch", "empty_dir": "5Gi"},
    ],
    "workdir": "/repo",
    "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi", "nvidia.com/gpu": 1}},
    "node_selector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
        {"key": "team", "value": "ai"},
    ],
    "priority_class": "batch",
    "service_account": "ai",
    "labels": {"example.org/team": "ai"},
    "annotations": {"example.org/note": "two\nlines"},
    "security_context": {"read_only_root": False, "add_capabilities": ["NET_BIND_SERVICE"]},
    "grace_period": 600,
    "workers_per_pod": 4,
    "metric": "queue",
    "max_unavailable": "25%",
    "redis_url_secret": "redis/url",
}


def config(**fields: Any) -> PoolConfig:
    given = {"name": "cloud-pool", "region": "us-west-2", "min_workers": 2, "max_workers": 20, **fields}
    return PoolConfig(pool_type="kubernetes", mode="deployment", container_image="example.org/mahavishnu:1", **given)


def manifests(pool: PoolConfig, *, pool_id: str | None = "pool_0123456789ab", **settings: Any) -> list[dict[str, Any]]:
    found = Settings(**{"redis_url": "redis://:pw@redis.example.org:6379/0", **settings})
    return deployment_manifests(pool, pod_settings(pool, found), pool_id=pool_id)


def one(kind: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    [manifest] = [manifest for manifest in found if manifest["kind"] == kind]
    return manifest


def container(found: list[dict[str, Any]]) -> dict[str, Any]:
    [only] = one("Deployment", found)["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize(("name", "fields"), [("plain", {}), ("all", ALL)])
def test_the_manifests_are_exactly_these(name: str, fields: dict[str, Any]) -> None:
    expected = list(yaml.safe_load_all((EXPECTED / f"deployment-{name}.yaml").read_text()))

    assert manifests(config(**fields)) == expected


@pytest.mark.parametrize("version", [*VERSIONS, *(pytest.param(one, marks=pytest.mark.slow) for one in BETWEEN)])
def test_every_supported_version_takes_them(version: str, tmp_path: Path) -> None:
    types = tmp_path / "types.yaml"
    types.write_text("lint:\n  argv: [ruff, check]\n")
    pools = [config(), config(**ALL), config(auto_scale=False), config(metric="queue", target_load=0.25)]
    found = [manifest for pool in pools for manifest in manifests(pool, worker_types_file=types)]
    found += rbac_manifests(rights_of(config(**ALL).kubernetes), namespace="mahavishnu")

    for manifest in found:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_values_of_variables_arrive_unchanged() -> None:
    given = "$(HOME) $$(HOME) $HOME `id` \"'\n"

    [sent] = [
        variable["value"]
        for variable in container(manifests(config(env={"A": given})))["env"]
        if variable["name"] == "A"
    ]

    assert as_the_kubelet_reads(sent, {"HOME": "/root"}) == given


def as_the_kubelet_reads(text: str, known: dict[str, str]) -> str:
    """Expand as ``third_party/forked/golang/expansion`` of Kubernetes does."""
    found, at = "", 0
    while at < len(text):
        name, closed, _ = text[at + 2 :].partition(")")
        if text[at : at + 2] == "$$":
            found, at = found + "$", at + 2
        elif text[at : at + 2] == "$(" and closed:
            found, at = found + known.get(name, f"$({name})"), at + len(name) + 3
        else:
            found, at = found + text[at], at + 1
    return found


def test_the_number_of_pods_is_the_autoscalers_where_there_is_one() -> None:
    scaled, fixed = manifests(config(workers_per_pod=4)), manifests(config(workers_per_pod=4, auto_scale=False))

    assert "replicas" not in one("Deployment", scaled)["spec"]
    hpa = one("HorizontalPodAutoscaler", scaled)["spec"]
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (1, 5)
    assert one("Deployment", fixed)["spec"]["replicas"] == 1
    assert [manifest["kind"] for manifest in fixed if "Auto" in manifest["kind"]] == []


def test_the_metrics_an_autoscaler_looks_at_are_exported_by_pool() -> None:
    exported = {metric.exposed: metric.labels for metric in OURS}

    assert [exported.get(name) for name in LOAD_METRICS] == [("pool",), ("pool",)]


def test_keda_asks_prometheus_for_the_pools_tasks() -> None:
    pool = config(autoscaling="keda", metric="queue", prometheus_url="http://prometheus:9090", workers_per_pod=2)

    spec = one("ScaledObject", manifests(pool))["spec"]

    assert spec["triggers"] == [
        {
            "type": "prometheus",
            "metadata": {
                "serverAddress": "http://prometheus:9090",
                "query": (
                    'sum(mahavishnu_pools_queued_tasks{pool="cloud-pool"})'
                    ' + sum(mahavishnu_pools_running_tasks{pool="cloud-pool"})'
                ),
                "threshold": "2",
            },
        }
    ]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 10)
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "mhv-cloud-pool"}


def test_a_pod_gets_time_to_drain_and_to_end_its_tasks() -> None:
    found = manifests(config(), drain_timeout=90, kill_grace=10)

    assert one("Deployment", found)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 120
    assert one("ConfigMap", found)["data"]["MAHAVISHNU_DRAIN_TIMEOUT"] == "90"


def test_settings_that_workers_share_go_along_and_those_of_this_machine_stay(tmp_path: Path) -> None:
    shared = {"lease_ttl": 12.5, "imports": ("a.b",), "memory_aggregation_enabled": False}
    found = manifests(config(), **shared, data_dir=tmp_path, node_tags=("gpu",))

    assert one("ConfigMap", found)["data"] == {
        "MAHAVISHNU_DRAIN_TIMEOUT": "30",
        "MAHAVISHNU_IMPORTS": '["a.b"]',
        "MAHAVISHNU_LEASE_TTL": "12.5",
        "MAHAVISHNU_MEMORY_AGGREGATION_ENABLED": "false",
        "MAHAVISHNU_NODE_REGION": "us-west-2",
        "MAHAVISHNU_ONLY_POOL": "cloud-pool",
    }


def test_secrets_are_in_the_secret_and_other_ones_make_other_pods() -> None:
    before = manifests(config(), message_signing_key="k" * 16)
    after = manifests(config(), message_signing_key="l" * 16)

    kept = one("Secret", before)["data"]["MAHAVISHNU_MESSAGE_SIGNING_KEY"]
    assert base64.b64decode(kept) == b"k" * 16
    assert "k" * 16 not in yaml.safe_dump([manifest for manifest in before if manifest["kind"] != "Secret"])
    templates = [one("Deployment", found)["spec"]["template"] for found in (before, after)]
    assert templates[0] != templates[1]


@pytest.mark.parametrize(
    "url", [None, "redis://127.0.0.1:6379", "redis://localhost/0", "unix:///run/redis.sock", "redis://[::1]:6379"]
)
def test_a_redis_that_pods_cannot_reach_is_refused(url: str | None) -> None:
    with pytest.raises(errors.InvalidField, match="MAHAVISHNU_KUBERNETES_REDIS_URL"):
        manifests(config(), redis_url=url)

    assert manifests(config(), redis_url=url, kubernetes_redis_url="redis://redis:6379")
    assert manifests(config(redis_url_secret="redis/url"), redis_url=url)


def test_pools_with_long_and_odd_names_have_objects_of_their_own() -> None:
    long = "a" * 62
    names = [base_name(config(name=name)) for name in (f"{long}b", f"{long}c", "Big_Pool.", "big-pool", "9", "a")]

    assert len(set(names)) == len(names)
    assert all(len(name) <= 40 for name in names)
    for name in ("Big_Pool.", "9..", f"{long}-"):
        for manifest in manifests(config(name=name)):
            kubernetes_validate.validate(manifest, "1.34", strict=True)


def test_the_rights_are_the_least_for_the_way_the_pool_runs() -> None:
    job = PoolConfig(name="a", pool_type="kubernetes").kubernetes
    assert job is not None
    kinds = {right.resource for right in rights_of(job)}
    assert kinds == {"jobs", "pods", "pods/log", "secrets"}

    deployment = config(autoscaling="none", redis_url_secret="redis/url").kubernetes
    assert deployment is not None
    kinds = {right.resource for right in rights_of(deployment)}
    assert kinds == {"deployments", "configmaps", "serviceaccounts", "poddisruptionbudgets", "pods"}
    [role] = [one for one in rbac_manifests(rights_of(job), namespace="here") if one["kind"] == "Role"]
    assert role["metadata"]["namespace"] == "here"
    assert [rule for rule in role["rules"] if "*" in str(rule)] == []
