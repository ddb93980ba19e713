"""What docs/kubernetes.md says is so: its fields, its examples, its command lines."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from mahavishnu_pools.kube.rights import rights_of
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from mahavishnu_pools.schemas.kubernetes_parts import DEFAULT_USER
from mahavishnu_pools.schemas.pool import PoolConfig
from tests.fakes.cli_shell import Shell

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "kubernetes.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_every_field_is_documented() -> None:
    assert [name for name in KubernetesConfig.model_fields if f"`{name}`" not in TEXT] == []


def test_the_python_example_makes_a_configuration() -> None:
    [example] = blocks("python")
    scope: dict[str, Any] = {}

    exec(example, scope)

    assert scope["config"].kubernetes.resources.limits["nvidia.com/gpu"] == "1"


def test_the_yaml_example_is_a_security_context() -> None:
    [example] = blocks("yaml")

    assert KubernetesConfig(**yaml.safe_load(example)).security_context.run_as_user == 1000
    assert f"user and group {DEFAULT_USER}" in TEXT


def test_every_command_line_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(capsys)
    lines = "".join(blocks("console")).replace("\\\n", " ").splitlines()
    ours = [shlex.split(line.partition(" | ")[0]) for line in lines if line.startswith("mahavishnu pools")]

    assert len(ours) == 5
    codes = {" ".join(words): shell(*words[2:]) for words in ours}

    assert [line for line, code in codes.items() if code == 2] == []


@pytest.mark.parametrize("mode", ["job", "deployment"])
def test_the_rights_are_those_that_are_asked_for(mode: str) -> None:
    config = PoolConfig(name="a", pool_type="kubernetes", mode=mode, container_image="a:1")
    assert config.kubernetes is not None

    for right in rights_of(config.kubernetes):
        named = right.resource if right.resource != "horizontalpodautoscalers" else "the autoscaler"
        assert re.search(rf"{named}[^;|]*: {', '.join(right.verbs)}", TEXT), right
