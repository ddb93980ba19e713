"""What an agent finds out about its machine, and what its settings say instead."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.settings import Settings
from workers.agent import resources
from workers.agent.resources import look_for_equipment, usable_memory, usable_processors, visible_gpus


@pytest.fixture(autouse=True)
def _no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def lister(directory: Path, text: str) -> dict[str, str]:
    """Put a stand-in for the driver's program on a path of its own."""
    program = directory / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return {"PATH": f"{directory}{os.pathsep}/usr/bin{os.pathsep}/bin"}


def test_processors_and_memory_are_known_by_themselves(tmp_path: Path) -> None:
    found = look_for_equipment(Settings())

    assert found.resources["cpu"] >= 0.01
    assert 0 < found.resources["memory"] <= psutil.virtual_memory().total
    assert "gpu" not in found.resources
    assert found.devices == {}


def test_a_control_group_limits_both(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1048576\n")
    assert (usable_processors(tmp_path), usable_memory(tmp_path)) == (0.5, 1048576.0)

    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert usable_processors(tmp_path) >= 1
    assert usable_memory(tmp_path) == psutil.virtual_memory().total


def test_what_the_settings_say_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")

    found = look_for_equipment(Settings(node_resources=("gpu=3", "memory=1GiB", "license=1")))
    hidden = look_for_equipment(Settings(node_resources=("gpu=0",)))

    assert (found.resources["gpu"], found.resources["memory"], found.resources["license"]) == (3, 1024**3, 1)
    assert found.devices == {"gpu": ("4", "6", "0")}
    assert "gpu" not in hidden.resources
    assert hidden.devices == {}


def test_gpus_are_those_that_the_driver_lists_or_that_may_be_seen(tmp_path: Path) -> None:
    env = lister(tmp_path, "echo 'GPU 0: NVIDIA A100 (UUID: GPU-1)'; echo 'GPU 1: NVIDIA A100 (UUID: GPU-2)'")

    assert visible_gpus(env) == ("0", "1")
    assert visible_gpus({**env, "CUDA_VISIBLE_DEVICES": "1"}) == ("1",)
    assert visible_gpus({**env, "CUDA_VISIBLE_DEVICES": "-1"}) == ()


@pytest.mark.parametrize("text", ["exit 9", "echo No devices were found", "exec sleep 60"])
def test_a_driver_that_fails_finds_nothing_or_hangs_has_none(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "LIST_SECONDS", 0.2)

    assert visible_gpus(lister(tmp_path, text)) == ()
    assert visible_gpus({"PATH": str(tmp_path / "none")}) == ()


def test_a_resource_that_cannot_be_read_stops_the_agent_with_a_sentence() -> None:
    with pytest.raises(errors.InvalidConfig, match=r"node_resources: 'gpu' has no amount.*MAHAVISHNU_NODE_RESOURCES"):
        look_for_equipment(Settings(node_resources=("gpu",)))
