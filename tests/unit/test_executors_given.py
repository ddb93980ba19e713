"""What tasks see of what their node gives them, and what becomes of those that nothing was set aside for."""

from __future__ import annotations

import json

import pytest

from mahavishnu_pools.schemas.container import ContainerOptions
from mahavishnu_pools.schemas.needs import parse_needs
from mahavishnu_pools.schemas.task import Got
from tests.fakes.run_context import make_context, shell_task
from workers.executors.environment import build_environment
from workers.executors.given import container_devices, limited, not_given, pod_resources, with_asked
from workers.executors.interface import Refused

GOT = Got(node="n", resources={"gpu": 2, "memory": 8.5, "cpu": 0.001}, devices={"gpu": ("1", "3")})


def test_a_task_sees_what_it_got_and_cannot_say_otherwise() -> None:
    spec = shell_task("true", needs=["gpu=2"], env={"CUDA_VISIBLE_DEVICES": "0", "MAHAVISHNU_RESOURCES": "{}"})

    variables = build_environment(make_context(spec, got=GOT)).variables

    assert variables["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert json.loads(variables["MAHAVISHNU_RESOURCES"]) == {
        "resources": {"gpu": 2.0, "memory": 8.5, "cpu": 0.001},
        "devices": {"gpu": ["1", "3"]},
    }


def test_a_task_without_gpus_keeps_what_it_says_of_them_itself() -> None:
    env = {"CUDA_VISIBLE_DEVICES": "0"}
    got = Got(node="n", resources={"memory": 1})

    assert (
        build_environment(make_context(shell_task("true", env=env), got=got)).variables["CUDA_VISIBLE_DEVICES"] == "0"
    )
    assert "MAHAVISHNU_RESOURCES" not in build_environment(make_context(shell_task("true"))).variables


def test_a_task_for_which_nothing_was_set_aside_fails_but_for_one_that_becomes_a_job() -> None:
    spec = shell_task("true", needs=["gpu=2"])
    failed = not_given(make_context(spec))

    assert failed is not None
    assert "needs gpu=2, and nothing was set aside" in str(failed.error)
    assert not_given(make_context(spec, got=GOT)) is None
    assert not_given(make_context(spec, services={"jobs": object()})) is None
    assert not_given(make_context(shell_task("true"))) is None


def test_containers_are_limited_to_what_they_got_unless_they_say_otherwise() -> None:
    assert limited(ContainerOptions(), None) == ContainerOptions()
    found = limited(ContainerOptions(), GOT)
    assert (found.cpu, found.memory) == (0.01, "9")
    own = ContainerOptions(cpu=2, memory="1g")
    assert limited(own, GOT) == own
    assert container_devices(GOT) == ("nvidia.com/gpu=1", "nvidia.com/gpu=3")
    assert container_devices(None) == ()


def test_pods_ask_for_what_the_task_needs() -> None:
    asked = pod_resources(parse_needs(["gpu=2", "memory=1GiB", "cpu=0.25", "example.org/card=1"]))

    assert asked == {"cpu": "250m", "memory": "1073741824", "nvidia.com/gpu": "2", "example.org/card": "1"}
    with pytest.raises(Refused, match="whole number"):
        pod_resources(parse_needs(["example.org/card=0.5"]))
    pool = {"requests": {"cpu": "100m"}, "limits": {"memory": "2Gi"}}
    assert with_asked(pool, {}) == pool
    assert with_asked({}, {}) is None
    assert with_asked(pool, {"cpu": "250m"}) == {
        "requests": {"cpu": "250m"},
        "limits": {"memory": "2Gi", "cpu": "250m"},
    }
