"""Containers do not outlive their task when it is cancelled or its worker dies; routing knows who can run them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.task import TaskSpec, TaskStatus
from mahavishnu_pools.store import pools, tasks
from tests.fakes import docker_cli
from tests.fixtures.agents import Agent, Farm, kill
from tests.fixtures.containers import StandIn
from tests.waiting import eventually

GROUP = "workers.group_worker:run_group"


@pytest.fixture(autouse=True)
def on_path(engine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", engine.env["PATH"])


def submit(farm: Farm, pool_id: str, script: str, **spec: Any) -> str:
    """Submit a script in a container and return the task's id."""
    payload = {"image": "example/tool:1", "command": script, "shell": True}
    task_id = names.new_task_id()
    made = envelope(TaskSpec(task_type="container", payload=payload, **spec), task_id=task_id, max_bytes=10_000)
    farm.run(tasks.submit([made], tasks.Choice("pool", pool=pool_id)))
    return task_id


def started(engine: StandIn, *, besides: str = "") -> dict[str, Any]:
    """Wait for a container and return it."""

    def look() -> list[dict[str, Any]]:
        return [one for one in engine.containers() if one["id"] != besides]

    [found] = eventually(look)
    return found


def test_a_cancelled_container_is_gone(farm: Farm, engine: StandIn) -> None:
    farm.agent(group=GROUP).wait_ready()
    pool_id = farm.create()
    farm.wait_running(pool_id)
    task_id = submit(farm, pool_id, "sleep 600")
    container = started(engine)

    assert farm.run(tasks.cancel(task_id, reason="Enough.", result_ttl=60)) == "asked"

    eventually(lambda: farm.task(task_id).status is TaskStatus.CANCELLED)
    assert engine.containers() == []
    assert not docker_cli.alive(container["pid"])


def test_a_container_that_takes_too_long_is_gone_and_its_output_stays(farm: Farm, engine: StandIn) -> None:
    farm.agent(group=GROUP).wait_ready()
    pool_id = farm.create()
    farm.wait_running(pool_id)

    task_id = submit(farm, pool_id, "echo begun; sleep 600", timeout=4.0)

    eventually(lambda: farm.task(task_id).status is TaskStatus.TIMEOUT)
    assert farm.task(task_id).output == "begun\n"
    assert engine.containers() == []


def test_what_a_killed_group_left_is_removed_before_its_task_runs_again(
    farm: Farm, engine: StandIn, tmp_path: Path
) -> None:
    farm.agent(group=GROUP).wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    go = tmp_path / "go"
    task_id = submit(farm, pool_id, f"until [ -e {go} ]; do sleep 0.05; done; echo done")
    left = started(engine)

    kill(pid)

    second = started(engine, besides=left["id"])
    assert not docker_cli.alive(left["pid"])
    assert engine.names() == {second["name"]}
    go.touch()
    eventually(lambda: farm.task(task_id).status is TaskStatus.COMPLETED)
    assert (farm.task(task_id).attempts, farm.task(task_id).output) == (2, "done\n")
    order = [call[0] for call in engine.calls("run", "rm")]
    assert order == ["run", "rm", "run"]


def test_what_a_killed_agent_left_is_removed_by_the_next_one(farm: Farm, engine: StandIn) -> None:
    agent = farm.agent(group=GROUP).wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    submit(farm, pool_id, "sleep 600")
    left = started(engine)

    _kill_all(agent, pid)
    assert docker_cli.alive(left["pid"])

    farm.agent(group=GROUP).wait_ready()
    started(engine, besides=left["id"])
    assert not docker_cli.alive(left["pid"])


def test_a_stopping_agent_leaves_no_container(farm: Farm, engine: StandIn) -> None:
    agent = farm.agent(group=GROUP, DRAIN_TIMEOUT="0.2").wait_ready()
    pool_id = farm.create()
    farm.wait_running(pool_id)
    task_id = submit(farm, pool_id, "sleep 600")
    started(engine)

    agent.process.terminate()
    agent.process.wait(timeout=30)

    assert engine.containers() == []
    assert farm.task(task_id).status is TaskStatus.QUEUED


def test_a_node_says_whether_it_can_run_containers(farm: Farm, engine: StandIn) -> None:
    farm.agent("with").wait_ready()
    (engine.bin / "docker").unlink()
    farm.agent("without").wait_ready()

    programs = {node.name: node.programs for node in farm.run(pools.list_nodes())}
    assert "container" not in programs["without"]
    engine.install("podman")
    eventually(lambda: [node for node in farm.run(pools.list_nodes()) if "container" in node.programs], until=_both)


def _both(found: list[pools.NodeInfo]) -> bool:
    return len(found) == 2


def _kill_all(agent: Agent, group: int) -> None:
    # Stopped first: the others could otherwise see the zygote die before they die themselves, and clean up.
    controller = agent.controller()
    for other in (controller, group):
        kill(other, signal.SIGSTOP)
    agent.process.kill()
    for other in (controller, group):
        kill(other)
