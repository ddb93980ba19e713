"""How Kubernetes pools are described: every form that is taken, and what is refused with what to do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mahavishnu_pools import errors
from mahavishnu_pools.kube.deployment_status import deployment_status
from mahavishnu_pools.kube.naming import label_value, object_name
from mahavishnu_pools.pools.spawning import pool_config
from mahavishnu_pools.schemas.kubernetes_text import is_dns_label, is_label_value, quantity
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings


def built(**fields: Any) -> PoolConfig:
    return pool_config("kubernetes", None, {"name": "cloud", **fields}, settings=Settings())


def test_fields_may_stand_beside_the_others_below_kubernetes_or_in_extra_config() -> None:
    fields = {"namespace": "ai", "container_image": "python:3.13-slim"}

    flat, nested = built(**fields), built(kubernetes=fields)
    seed = PoolConfig(name="cloud", pool_type="kubernetes", extra_config=fields)

    assert flat.kubernetes == nested.kubernetes == seed.kubernetes
    assert seed.kubernetes is not None
    assert (seed.kubernetes.namespace, seed.extra_config) == ("ai", {})


def test_a_configuration_survives_json_and_may_be_changed_by_a_field() -> None:
    config = built(namespace="ai", env_from=["secret:keys"], resources={"limits": {"cpu": 2}})

    again = PoolConfig.model_validate_json(config.model_dump_json())
    other = pool_config(None, config, {"namespace": "other"}, settings=Settings())

    assert again == config
    assert other.kubernetes is not None
    assert (other.kubernetes.namespace, other.kubernetes.env_from) == ("other", config.kubernetes.env_from)  # type: ignore[union-attr]


def test_without_anything_it_is_a_job_in_the_usual_image_and_namespace() -> None:
    found = built().kubernetes

    assert found is not None
    assert (found.mode, found.namespace, found.image) == ("job", "mahavishnu", "python:3.13-slim")
    assert not built().is_deployment
    assert PoolConfig(name="a").kubernetes is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"namespace": "A_b"}, "namespace: 'A_b' must be 1 to 63 small letters"),
        ({"namespace": "n" * 64}, r"namespace: 'n+' must be"),
        ({"container_image": "-x"}, "container_image: must be an image reference"),
        ({"container_image": "oci:/path"}, "container_image"),
        (
            {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "500m"}}},
            "requests 2 of cpu, more than its limit",
        ),
        ({"resources": {"requests": {"cpu": "-1"}}}, "'-1' is no quantity; write 500m"),
        ({"resources": {"limits": {"memory": "0"}}}, "must be greater than zero"),
        ({"resources": {"limits": {"mem ory": "1"}}}, "is no resource"),
        ({"extra_config": {"namespce": "x"}}, "perhaps 'namespace' is meant"),
        ({"namespace": "a", "extra_config": {"namespace": "b"}}, "give it once"),
        ({"mode": "deployment"}, "needs container_image"),
        ({"mode": "pod"}, "mode: must be one of 'job' or 'deployment'"),
        ({"env": {"API_KEY": "sk-0123456789"}}, "API_KEY looks like a secret.*env_from"),
        ({"env": {"MAHAVISHNU_REDIS_URL": "redis://x"}}, "redis_url_secret"),
        ({"env": {"1A": "x"}}, "cannot be the name of a variable"),
        ({"env": {"A": "\0"}}, "NUL"),
        ({"env_from": ["keys"]}, "must be secret:NAME or configmap:NAME"),
        ({"labels": {"a" * 64: "x"}}, "cannot be a key"),
        ({"labels": {"a": "x" * 64}}, "cannot be the value of a"),
        ({"labels": {"a": "two words"}}, "cannot be the value of a"),
        ({"labels": {"mahavishnu.io/pool": "x"}}, "is set by this program"),
        ({"node_selector": {"a b": "x"}}, "cannot be a key"),
        ({"tolerations": [{"key": "a"}, {"value": "x"}]}, "without a key needs operator: Exists"),
        ({"tolerations": [{"key": "a", "toleration_seconds": 5}]}, "needs effect: NoExecute"),
        ({"volumes": [{"name": "a", "mount_path": "/a"}]}, "needs one of claim, secret"),
        ({"volumes": [{"name": "a", "mount_path": "a", "claim": "c"}]}, "must be an absolute path"),
        ({"volumes": [{"name": x, "mount_path": "/a", "claim": "c"} for x in "ab"]}, "two volumes have the mount_path"),
        ({"volumes": [{"name": "a", "mount_path": "/a", "claim": "c", "sub_path": "../x"}]}, "without '..'"),
        ({"repo": "file:///etc"}, "must begin with https:// or ssh://"),
        ({"repo": "https://me:pw@example.org/x"}, "name a Secret in repo.secret"),
        ({"repo": "https://example.org/x#--upload-pack=x"}, "is no branch, tag or commit"),
        ({"in_cluster": True, "context": "x"}, "in_cluster excludes context"),
        ({"security_context": {"run_as_user": 0}}, "set run_as_non_root: false"),
        ({"security_context": {"add_capabilities": ["CAP_SYS_ADMIN"]}}, "without CAP_"),
        ({"grace_period": -1}, "grace_period"),
        ({"max_unavailable": "101%"}, "percentage"),
        ({"redis_url_secret": "redis"}, "NAME/KEY"),
        ({"workers_per_pod": 0}, "workers_per_pod"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name_with_what_to_do(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.InvalidField, match=says):
        built(**fields)


def test_an_autoscaler_must_have_something_to_look_at() -> None:
    deployment = {"mode": "deployment", "container_image": "a:1"}

    with pytest.raises(errors.InvalidField, match=r"needs resources\.requests\.cpu"):
        built(**deployment, resources={"limits": {"memory": "1Gi"}})
    with pytest.raises(errors.InvalidField, match="needs prometheus_url"):
        built(**deployment, autoscaling="keda", metric="queue")
    assert built(**deployment, resources={"limits": {"memory": "1Gi"}}, metric="queue").is_deployment


def test_other_pool_types_have_no_such_fields() -> None:
    with pytest.raises(ValidationError, match="kubernetes is for pools of type kubernetes"):
        PoolConfig(name="a", kubernetes={})
    with pytest.raises(errors.InvalidField, match="namespace: is unknown"):
        pool_config("mahavishnu", None, {"name": "a", "namespace": "x"}, settings=Settings())


@pytest.mark.parametrize(
    ("text", "number"),
    [("500m", "0.5"), ("2", "2"), ("1.5Gi", "1610612736"), ("1e3", "1000"), ("3k", "3000"), ("1E", "1e18")],
)
def test_quantities_are_read_as_the_cluster_reads_them(text: str, number: str) -> None:
    assert quantity(text) == float(number)


@given(st.lists(st.text(max_size=300), min_size=1, max_size=3))
def test_every_name_becomes_one_the_cluster_takes_and_always_the_same(parts: list[str]) -> None:
    name = object_name(*parts, longest=40)

    assert is_dns_label(name)
    assert len(name) <= 40
    assert not name[0].isdigit()
    assert name == object_name(*parts, longest=40)
    assert is_label_value(label_value(parts[0]))


def test_long_names_that_differ_at_their_end_stay_apart() -> None:
    names = {object_name("a" * 200 + end) for end in ("b", "c", "", "B")}

    assert len(names) == 4
    assert len({label_value("a" * 200 + end) for end in ("b", "c")}) == 2


def pod(**container: Any) -> dict[str, Any]:
    return {"metadata": {"name": "pod-1"}, "status": {"containerStatuses": [container]}}


@pytest.mark.parametrize(
    ("pods", "conditions", "says", "lasting"),
    [
        ([], [], None, False),
        ([pod(state={"waiting": {"reason": "ContainerCreating"}})], [], None, False),
        (
            [pod(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})],
            [],
            "Pod pod-1: ImagePullBackOff: no such image",
            True,
        ),
        (
            [
                pod(
                    state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    lastState={"terminated": {"exitCode": 4, "reason": "Error", "message": "no Redis\n"}},
                )
            ],
            [],
            "Pod pod-1: CrashLoopBackOff: it ended with code 4 (Error). no Redis",
            True,
        ),
        (
            [],
            [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}],
            "Pods cannot be made: exceeded quota",
            True,
        ),
        (
            [
                {
                    "metadata": {"name": "pod-1"},
                    "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]},
                }
            ],
            [],
            "Pod pod-1 has no node: 0/3 nodes",
            False,
        ),
    ],
)
def test_what_keeps_pods_from_working_is_said_and_whether_it_lasts(
    pods: list[dict[str, Any]], conditions: list[dict[str, Any]], says: str | None, lasting: bool
) -> None:
    deployment = {"spec": {"replicas": 2}, "status": {"readyReplicas": 1, "conditions": conditions}}

    found = deployment_status(deployment, pods, None)

    assert (found.wanted, found.ready, found.problem, found.lasting) == (2, 1, says, lasting)
