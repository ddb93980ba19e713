"""What the commands make of the options about Kubernetes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mahavishnu_pools.schemas.pool import ClusterPlace
from tests.fakes.cli_manager import pool_info
from tests.fakes.cli_shell import Shell


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def deployment() -> list[str]:
    options = "--name cloud --mode deployment --image example.org/mahavishnu:1 --redis-url-secret redis/url"
    return ["manifest", *options.split()]


def documents(shell: Shell) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all(shell.out)}


def test_all_options_reach_the_configuration(shell: Shell, tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text("resources: {limits: {cpu: 4}}\ntolerations: [{operator: Exists}]\nnamespace: other\n")
    options = (
        "--name cloud --type kubernetes --mode deployment --namespace team --create-namespace --context prod "
        "--kubeconfig /etc/kube --image registry:5000/a/b:1 --image-pull-policy Always --image-pull-secret one "
        "--image-pull-secret two --request cpu=500m --limit memory=1Gi --node-selector disk=ssd --label team=ai "
        "--env-from secret:keys --service-account ai --workdir /srv --workers-per-pod 2 --min 2 --max 4 "
        "--autoscaling none --redis-url-secret redis/url --region eu"
    )

    assert shell("spawn", *options.split(), "--kubernetes-file", str(more)) == 0

    config = shell.manager.called("spawn_pool")["config"]
    found = config.kubernetes
    assert (found.mode, found.namespace, found.create_namespace, found.context) == ("deployment", "team", True, "prod")
    assert (found.kubeconfig, found.image, found.image_pull_policy) == ("/etc/kube", "registry:5000/a/b:1", "Always")
    assert found.image_pull_secrets == ("one", "two")
    assert (found.resources.requests, found.resources.limits) == ({"cpu": "500m"}, {"cpu": "4", "memory": "1Gi"})
    assert (found.node_selector, found.labels) == ({"disk": "ssd"}, {"team": "ai"})
    assert [source.name for source in found.env_from] == ["keys"]
    assert (found.service_account, found.workdir, found.workers_per_pod, found.autoscaling) == ("ai", "/srv", 2, "none")
    assert (found.tolerations[0].operator, config.region) == ("Exists", "eu")


def test_an_image_for_containers_of_other_pools_stays_where_it_was(shell: Shell) -> None:
    assert shell("spawn", "--name", "a", "--worker-type", "container", "--container-image", "alpine:3") == 0

    assert shell.manager.called("spawn_pool")["config"].extra_config == {"container_image": "alpine:3"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("spawn --name a --mode job", "--mode: is for pools of type kubernetes"),
        ("spawn --name a --type kubernetes --image UPPER", "--container-image: must be an image reference"),
        ("spawn --name a --type kubernetes --namespace A_b", "--namespace: 'A_b' must be"),
        ("spawn --name a --type kubernetes --request cpu", "must be written KEY=VALUE"),
        ("spawn --name a --type kubernetes --request cpu=2 --limit cpu=1", "more than its limit"),
        ("spawn --name a --type kubernetes --in-cluster --context c", "--in-cluster excludes"),
        ("manifest", "Name a pool that is there"),
        ("manifest local --name x", "not both"),
        ("manifest --name a --type mahavishnu", "only kubernetes pools have manifests"),
        ("manifest --name a --mode deployment", "needs container_image"),
        ("manifest --name a --mode deployment --image a:1", "redis_url"),
        ("manifest --name a --mode deployment --image a:1 --workers-per-pod 3", "multiple of 3"),
    ],
)
def test_what_cannot_be_is_said_in_the_words_of_the_options(shell: Shell, arguments: str, says: str) -> None:
    assert shell(*arguments.split()) == 2

    assert says.lower() in shell.err.lower()


def test_a_file_with_unknown_fields_is_refused_with_the_nearest(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    file.write_text("tolerationz: []\n")

    assert shell("spawn", "--name", "a", "--type", "kubernetes", "--kubernetes-file", str(file)) == 2

    assert "'tolerations'" in shell.err


def test_a_manifest_is_yaml_for_kubectl(shell: Shell, deployment: list[str]) -> None:
    assert shell(*deployment, "--request", "cpu=1") == 0

    found = documents(shell)
    assert list(found) == [
        "ServiceAccount",
        "ConfigMap",
        "Deployment",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
    ]
    [container] = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "1"}}
    assert "&id" not in shell.out
    assert shell.out.endswith("\n")


def test_a_password_that_is_printed_is_pointed_out(
    shell: Shell, deployment: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAHAVISHNU_KUBERNETES_REDIS_URL", "redis://:secret@redis:6379")

    assert shell(*deployment[:-2]) == 0

    assert documents(shell)["Secret"]["type"] == "Opaque"
    assert "keep it out of repositories" in shell.err


def test_the_manifest_of_a_pool_of_jobs_is_an_example_of_one(shell: Shell) -> None:
    assert shell("manifest", "--name", "cloud", "--create-namespace") == 0

    assert list(documents(shell)) == ["Namespace", "Job"]


def test_the_rights_are_printed_for_an_account(shell: Shell) -> None:
    assert shell("manifest", "--rbac", "--account", "bridge", "--namespace", "team") == 0

    found = documents(shell)
    assert list(found) == ["ServiceAccount", "Role", "RoleBinding"]
    assert found["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": "bridge", "namespace": "team"}]


def test_a_pool_says_in_which_cluster_way_and_image_its_pods_are(shell: Shell) -> None:
    place = ClusterPlace(mode="job", namespace="ai", context="prod", container_image="tools:1")
    shell.manager.pools = [pool_info("cloud", pool_type="kubernetes", kubernetes=place)]

    assert shell("get", "cloud") == 0
    shown = dict(line.split(maxsplit=1) for line in shell.out.splitlines() if len(line.split()) > 1)
    assert [shown[name] for name in ("Mode:", "Namespace:", "Context:", "Image:")] == ["job", "ai", "prod", "tools:1"]

    assert shell("get", "cloud", "--format", "json") == 0
    assert json.loads(shell.out)["kubernetes"] == dict(place)
