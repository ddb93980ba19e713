"""A pool with fail-over whose node is gone, with no other that fits: healthy pools of its kind take its tasks over."""

from __future__ import annotations

import signal

from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.task import TaskStatus
from tests.fixtures.agents import Agent, Farm, kill
from tests.waiting import eventually

SHORT = {"FAILOVER_AFTER": "1"}


def two_nodes(farm: Farm, **settings: str) -> tuple[Agent, Agent]:
    """Start an agent that alone can run pools for gpus, and one beside it."""
    gpu = farm.agent("gpu1", NODE_TAGS='["gpu"]', **{**SHORT, **settings}).wait_ready()
    return gpu, farm.agent("plain", **{**SHORT, **settings}).wait_ready()


def fill(farm: Farm, pool_id: str) -> list[str]:
    """Keep the pool's worker busy and have tasks wait behind it."""
    held = farm.submit(pool_id, do="accompany")
    eventually(lambda: farm.task(held).status is TaskStatus.RUNNING)
    return [held, *(farm.submit(pool_id) for _ in range(4))]


def runs_on(farm: Farm, task_id: str, node: str) -> bool:
    task = farm.task(task_id)
    return task.status is TaskStatus.RUNNING and str(task.worker_id).endswith(f"@{node}")


def test_the_tasks_of_a_pool_that_nobody_can_run_any_more_go_to_a_pool_of_its_kind(farm: Farm) -> None:
    gpu, _ = two_nodes(farm)
    dead = farm.create("dead", nodes=("gpu",), failover=True, worker_type="shell")
    farm.wait_running(dead)
    ids = fill(farm, dead)
    other_kind = farm.create("other-kind", nodes=("plain",))
    heir = farm.create("heir", nodes=("plain",), worker_type="shell", min_workers=5)
    for pool_id in (other_kind, heir):
        farm.wait_running(pool_id)

    gpu.process.kill()

    def where() -> set[str | None]:
        return {farm.task(task_id).pool_id for task_id in ids}

    eventually(where, until=lambda pools: pools == {heir}, within=30)
    waited = [farm.task(task_id) for task_id in ids[1:]]
    eventually(lambda: [farm.task(one.task_id).status for one in waited], until=lambda all_: set(all_) == {"completed"})
    # The one that ran when its node died runs again.
    eventually(lambda: runs_on(farm, ids[0], "plain"))
    gone = eventually(lambda: farm.pool(dead), until=lambda pool: pool.status is PoolStatus.DEGRADED)
    assert gone.queued == 0
    assert "other pools take over" in str(gone.reason)

    farm.agent("gpu2", NODE_TAGS='["gpu"]', **SHORT).wait_ready()
    farm.wait_running(dead)
    assert farm.pool(dead).reason is None


def test_a_silent_node_is_mourned_before_its_tasks_go_elsewhere(farm: Farm) -> None:
    gpu, _ = two_nodes(farm, NODE_LOST_AFTER="6", LEASE_TTL="3")
    dead = farm.create("dead", nodes=("gpu",), failover=True)
    pid = farm.wait_running(dead)
    ids = fill(farm, dead)
    heir = farm.create("heir", nodes=("plain",), min_workers=5)
    farm.wait_running(heir)

    for process in (pid, gpu.controller(), gpu.process.pid):
        kill(process, signal.SIGSTOP)

    eventually(lambda: {farm.task(one).pool_id for one in ids}, until=lambda pools: pools == {heir}, within=30)
    eventually(lambda: farm.task(ids[0]).attempts, until=lambda attempts: attempts == 2)


def test_without_fail_over_and_while_it_is_paused_a_pools_tasks_wait(farm: Farm) -> None:
    gpu, plain = two_nodes(farm)
    sober = farm.create("sober", nodes=("gpu",))
    dead = farm.create("dead", nodes=("gpu",), failover=True)
    heir = farm.create("heir", nodes=("plain",))
    for pool_id in (sober, dead, heir):
        farm.wait_running(pool_id)
    ids = {pool_id: fill(farm, pool_id) for pool_id in (sober, dead)}
    paused = farm.create("paused", nodes=("gpu",), failover=True)
    farm.wait_running(paused)
    farm.pause(paused)
    ids[paused] = [farm.submit(paused)]

    gpu.process.kill()

    # Once those of the one that has it have moved, the others would have moved, too.
    eventually(lambda: {farm.task(one).pool_id for one in ids[dead]}, until=lambda pools: pools == {heir}, within=30)
    assert {farm.task(one).pool_id for one in ids[sober]} == {sober}
    assert {farm.task(one).pool_id for one in ids[paused]} == {paused}
    eventually(lambda: "waiting tasks went to heir" in plain.log())


def test_a_pool_that_moves_to_another_node_keeps_its_tasks(farm: Farm) -> None:
    gpu, _ = two_nodes(farm, FAILOVER_AFTER="20")
    pool_id = farm.create("moving", prefer="gpu1", failover=True)
    farm.wait_running(pool_id)
    assert farm.pool(pool_id).assigned == ("gpu1",)
    ids = fill(farm, pool_id)
    farm.wait_running(farm.create("heir", nodes=("plain",)))

    gpu.process.kill()

    eventually(lambda: farm.pool(pool_id).assigned == ("plain",))
    eventually(lambda: runs_on(farm, ids[0], "plain"))
    assert {farm.task(one).pool_id for one in ids} == {pool_id}
