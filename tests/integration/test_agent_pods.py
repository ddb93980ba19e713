"""Agents as they run in the Pods of a Kubernetes deployment: each runs its pool only, and says how it is."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.store import pools
from tests.fixtures.agents import ROOT, Agent, Farm
from tests.waiting import eventually
from workers.agent.group_process import DEFAULT_FUNCTION

DEPLOYMENT = {"mode": "deployment", "container_image": "example.org/mahavishnu:1", "workers_per_pod": 3}


def deployment(farm: Farm, name: str = "alpha", **config: Any) -> str:
    return farm.create(name, pool_type="kubernetes", kubernetes=DEPLOYMENT, min_workers=3, max_workers=30, **config)


def probe(agent: Agent, what: str) -> subprocess.CompletedProcess[str]:
    env = {"MAHAVISHNU_DATA_DIR": str(agent.data_dir)}
    command = [sys.executable, "-m", "workers.agent.probe", what]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


def nodes_of(farm: Farm, pool_id: str) -> set[str]:
    return {group.node for group in farm.pool(pool_id).groups if group.status == "ready"}


def test_every_pod_runs_its_pool_only_and_all_their_workers_are_counted(farm: Farm) -> None:
    farm.agent("plain").wait_ready()
    pool_id, other = deployment(farm), farm.create("beta")
    for name in ("pod-1", "pod-2"):
        farm.agent(name, ONLY_POOL="alpha").wait_ready()

    eventually(lambda: nodes_of(farm, pool_id), until=lambda nodes: nodes == {"pod-1", "pod-2"}, within=30)
    eventually(lambda: farm.pool(pool_id).workers, until=lambda workers: workers == 6, within=30)
    assert farm.pool(pool_id).status is PoolStatus.RUNNING
    assert set(farm.pool(pool_id).info().nodes) == {"pod-1", "pod-2"}
    eventually(lambda: nodes_of(farm, other), until=lambda nodes: nodes == {"plain"}, within=30)


def test_the_claims_of_a_pod_that_is_gone_are_handed_back(farm: Farm) -> None:
    pool_id = deployment(farm)
    times = {"NODE_LOST_AFTER": "6", "LEASE_TTL": "4"}
    lost = farm.agent("pod-1", ONLY_POOL="alpha", **times).wait_ready()
    eventually(lambda: nodes_of(farm, pool_id), until=lambda nodes: nodes == {"pod-1"}, within=30)
    task_id = farm.submit(pool_id, do="hold")
    eventually(lambda: farm.task(task_id).status is TaskStatus.RUNNING)

    lost.end()  # all its processes at once, as when a machine is gone
    farm.agent("pod-2", ONLY_POOL="alpha", **times).wait_ready()

    eventually(lambda: farm.task(task_id).attempts, until=lambda attempts: attempts == 2, within=40)
    assert farm.task(task_id).status is TaskStatus.RUNNING


def test_a_container_that_is_started_again_takes_its_claims_back_at_once(farm: Farm) -> None:
    pool_id = deployment(farm)
    first = farm.agent("pod-1", ONLY_POOL="alpha").wait_ready()
    eventually(lambda: nodes_of(farm, pool_id), within=30)
    task_id = farm.submit(pool_id, do="hold")
    before = eventually(lambda: farm.task(task_id), until=lambda task: task.status is TaskStatus.RUNNING)

    first.end()
    farm.agent("pod-1", ONLY_POOL="alpha").wait_ready()

    # A silent node would be lost after a minute only.
    again = eventually(
        lambda: farm.task(task_id),
        until=lambda task: task.status is TaskStatus.RUNNING and task.attempts == 2,
        within=40,
    )
    assert again.worker_id == before.worker_id


def test_a_pod_that_is_told_to_end_hands_back_what_it_has_and_leaves(farm: Farm) -> None:
    pool_id = deployment(farm)
    agent = farm.agent("pod-1", ONLY_POOL="alpha").wait_ready()
    eventually(lambda: nodes_of(farm, pool_id), within=30)
    task_id = farm.submit(pool_id, do="hold")
    eventually(lambda: farm.task(task_id).status is TaskStatus.RUNNING)

    agent.process.send_signal(signal.SIGTERM)

    assert agent.process.wait(timeout=40) == 0
    assert farm.task(task_id).status is TaskStatus.QUEUED
    assert farm.run(pools.list_nodes()) == []


def test_the_probes_tell_alive_from_ready_and_give_their_reason(farm: Farm, tmp_path: Path) -> None:
    unborn = Agent.__new__(Agent)
    unborn.data_dir = tmp_path
    assert "has not started" in probe(unborn, "alive").stderr
    assert probe(unborn, "what").returncode == 2

    agent = farm.agent("pod-1", ONLY_POOL="alpha").wait_ready()
    eventually(lambda: probe(agent, "alive").returncode == 0, within=30)
    eventually(lambda: "is the pool registered?" in probe(agent, "ready").stderr, within=30)

    deployment(farm)
    eventually(lambda: probe(agent, "ready").returncode == 0, within=30)


def test_a_program_that_is_missing_in_the_image_is_named(farm: Farm) -> None:
    pool_id = deployment(farm, worker_type="terminal-gemini")
    farm.agent("pod-1", ONLY_POOL="alpha", group=DEFAULT_FUNCTION).wait_ready()

    def reasons() -> list[str | None]:
        return [group.reason for group in farm.pool(pool_id).groups]

    found = eventually(reasons, until=lambda seen: any(seen), within=30)
    assert "is not in the image example.org/mahavishnu:1" in str(found[0])
