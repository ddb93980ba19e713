"""An agent that logs JSON: every line of it and of its groups can be read, and says which pool and task it is about."""

from __future__ import annotations

import json
from typing import Any

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store import tasks
from tests.fixtures.agents import Agent, Farm, kill
from tests.waiting import eventually

REAL_GROUP = "workers.group_worker:run_group"


def lines(agent: Agent) -> list[dict[str, Any]]:
    # What comes after the last end of a line is being written just now.
    whole, _, _ = agent.log().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def test_lines_are_json_and_say_which_pool_and_task_they_are_about(farm: Farm) -> None:
    agent = farm.agent(
        group=REAL_GROUP, LOG_FORMAT="json", PYTHON_CALLABLES="logging:warning", ALLOWED_ROOTS=""
    ).wait_ready()
    pool_id = farm.create(worker_type="shell")
    pid = farm.wait_running(pool_id)
    task_id = names.new_task_id()
    spec = TaskSpec(task_type="no-such-type", payload={})
    farm.run(tasks.submit([envelope(spec, task_id=task_id, max_bytes=10_000)], Choice("pool", pool=pool_id)))
    eventually(lambda: farm.task(task_id).status == "failed", within=30)
    eventually(lambda: any(line["logger"] == "celery.apps.worker" for line in lines(agent)), within=30)
    kill(pid)
    eventually(lambda: any(line["level"] == "WARNING" and line.get("pool_id") == pool_id for line in lines(agent)))

    ready = [line for line in lines(agent) if line["logger"] == "celery.apps.worker"]
    assert ready
    assert {line["pool_id"] for line in ready} == {pool_id}
    plain = [line for line in agent.log().splitlines() if line and not line.startswith("{")]
    assert not [line for line in plain if " INFO " in line or " WARNING " in line]
