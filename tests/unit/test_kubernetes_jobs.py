"""The manifests of Jobs: exactly what is sent, valid for every supported version, and nothing that could change."""

from __future__ import annotations

import base64
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools import errors
from mahavishnu_pools.kube.jobs import Box, JobTask, check, job_manifest, secret_manifest
from mahavishnu_pools.schemas.pool import PoolConfig
from tests.fakes.kube_pods import expand


def pool(**fields: Any) -> PoolConfig:
    return PoolConfig(name="my.Pool", pool_type="kubernetes", **fields)


def task(**fields: Any) -> JobTask:
    given = {"task_id": "task_0123456789abcdef", "number": 0, "argv": ("true",), "timeout": 60.0, "grace": 5.0}
    return JobTask(**{**given, **fields})


def container(config: PoolConfig, one: JobTask) -> dict[str, Any]:
    found: dict[str, Any] = job_manifest(config, one, pool_id="pool_1")["spec"]["template"]["spec"]["containers"][0]
    return found


#: What the Pod of the plainest Job is.
POD: dict[str, Any] = {
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": 5,
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "containers": [
        {
            "name": "task",
            "image": "python:3.13-slim",
            "command": ["true"],
            "workingDir": "/workspace",
            "env": [{"name": "HOME", "value": "/tmp"}, {"name": "A", "value": "b"}],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "mahavishnu-work", "mountPath": "/workspace"},
                {"name": "mahavishnu-tmp", "mountPath": "/tmp"},
            ],
        }
    ],
    "volumes": [
        {"name": "mahavishnu-work", "emptyDir": {}},
        {"name": "mahavishnu-tmp", "emptyDir": {}},
    ],
}


def test_a_job_runs_once_with_the_least_rights_and_goes_by_itself() -> None:
    made = job_manifest(pool(), task(env={"A": "b"}), pool_id="pool_1")

    labels = {
        "app.kubernetes.io/name": "mahavishnu",
        "app.kubernetes.io/managed-by": "mahavishnu",
        "mahavishnu.io/pool": "my.Pool",
        "mahavishnu.io/region": "default",
        "mahavishnu.io/pool-id": "pool_1",
        "mahavishnu.io/task": "task_0123456789abcdef",
    }
    notes = {"mahavishnu.io/task-id": "task_0123456789abcdef"}
    assert made == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "mhv-task-0123456789abcdef-0-0b01870459",
            "namespace": "mahavishnu",
            "labels": labels,
            "annotations": notes,
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 365,
            "ttlSecondsAfterFinished": 300,
            "template": {
                "metadata": {"labels": labels, "annotations": notes},
                "spec": POD,
            },
        },
    }


#: A pool with all there is to say of Jobs.
EVERYTHING: dict[str, Any] = {
    "container_image": "example.org/tools:1",
    "image_pull_policy": "Always",
    "image_pull_secrets": ["pull"],
    "env": {"PRICE": "$5"},
    "env_from": ["secret:keys", "configmap:settings"],
    "volumes": [{"name": "data", "mount_path": "/data", "claim": "data"}],
    "workdir": "/data/work",
    "repo": {"url": "git@example.org:team/app.git", "ref": "main", "secret": "deploy-key"},
    "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
    "node_selector": {"disk": "ssd"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "service_account": "robot",
    "labels": {"team": "a"},
    "active_deadline_seconds": 100,
}


@pytest.mark.parametrize("version", ["1.30", "1.34", "1.37"])
@pytest.mark.parametrize(
    ("config", "one"),
    [
        (pool(), task()),
        (pool(**EVERYTHING), task(stdin=b"prompt", secrets={"TOKEN": "x"}, env={"A": "b"})),
        (pool(repo="https://example.org/a.git#v1"), task(task_id="x" * 200)),
        (pool(repo={"url": "https://example.org/a.git", "secret": "login"}), task(task_id="Ä odd/id?" * 9)),
        (pool(), task(as_arguments=True, box=Box(image="a:1", user=5, resources={"limits": {"cpu": "500m"}}))),
    ],
    ids=["plain", "everything", "long id", "odd id", "container"],
)
def test_every_manifest_is_valid(version: str, config: PoolConfig, one: JobTask) -> None:
    kubernetes_validate.validate(job_manifest(config, one, pool_id="pool_1"), version, strict=True)
    secret = secret_manifest(config, one, pool_id="pool_1", job_uid="u-1")
    kubernetes_validate.validate(secret, version, strict=True)
    assert len(one.name) <= 63


def test_everything_said_of_a_pool_is_in_its_jobs() -> None:
    made = job_manifest(pool(**EVERYTHING), task(), pool_id="pool_1")["spec"]
    spec = made["template"]["spec"]

    assert made["activeDeadlineSeconds"] == 100
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("robot", True)
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    [clone], [main] = spec["initContainers"], spec["containers"]
    assert clone["command"][3:] == ["clone", "git@example.org:team/app.git", "main", "1"]
    assert clone["workingDir"] == main["workingDir"] == "/data/work"
    assert {"name": "PRICE", "value": "$$5"} in main["env"]
    assert main["resources"] == {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")), min_size=1, max_size=4))
def test_no_argument_or_variable_changes_on_its_way(texts: list[str]) -> None:
    one = task(argv=tuple(texts), env={"A": texts[0]})
    check(one)

    made = container(pool(), one)

    known = {"HOME": "/root", "A": "changed"}
    assert [expand(text, known) for text in made["command"]] == texts
    assert expand(made["env"][-1]["value"], known) == texts[0]


def test_standard_input_and_secrets_are_in_a_secret_that_belongs_to_the_job() -> None:
    prompt = "`rm -rf` $(HOME) \"'\n" * 25_000
    one = task(stdin=prompt.encode(), secrets={"stdin": "s3cret"}, argv=("claude", "-p"))
    check(one)

    made = container(pool(), one)
    secret = secret_manifest(pool(), one, pool_id="pool_1", job_uid="u-1")

    script, file, *rest = made["command"][2:]
    assert expand(script, {}) == 'exec "$@" <"$0"'
    assert (file, rest) == ("/var/run/mahavishnu/stdin-", ["claude", "-p"])
    assert base64.b64decode(secret["data"]["stdin-"]).decode() == prompt
    assert base64.b64decode(secret["data"]["stdin"]) == b"s3cret"
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert "s3cret" not in str(made)


def test_a_retry_has_a_job_of_its_own_and_a_lost_bridge_has_not() -> None:
    assert task(number=0).name == task(number=0).name != task(number=1).name


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"argv": ("sh", "-c", "x" * 131072)}, "Linux takes 131071"),
        ({"env": {"A": "x" * 131071}}, "env.A"),
        ({"stdin": b"x" * (1024 * 1024 + 1)}, "a Job can be given 1048576"),
        ({"argv": tuple("x" * 100_000 for _ in range(8))}, "a Job can hold"),
        ({"argv": ("a\0b",)}, "NUL"),
        ({"argv": ("\udcff",)}, "no text"),
        ({"env": {"A B": "x"}}, "name of a variable"),
        ({"secrets": {"A/B": "x"}}, "key of a Secret"),
    ],
)
def test_what_could_not_arrive_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(errors.InvalidField, match=problem):
        check(task(**fields))
