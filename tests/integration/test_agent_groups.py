"""A node agent keeps the worker groups of its pools: it starts them, replaces dead and frozen ones, and ends them."""

from __future__ import annotations

import signal

import psutil

from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.store import leases, pools
from tests.fixtures.agents import Farm, is_gone, kill, programs_of
from tests.waiting import eventually


def test_a_new_pool_runs_at_once_on_a_warm_agent(farm: Farm) -> None:
    """It waits for no round of the agent, which looks for pools of itself no more, and its group imports nothing."""
    agent = farm.agent(module="tests.fakes.patient_agent").wait_ready()
    warm = psutil.Process(agent.process.pid)
    farm.wait_running(farm.create("first"))

    pool_id = farm.create("second")
    group = psutil.Process(farm.wait_running(pool_id))

    # Forked from the process that has imported everything, and no other program since.
    assert (group.ppid(), group.cmdline()) == (warm.pid, warm.cmdline())
    task_id = farm.submit(pool_id)
    eventually(lambda: farm.task(task_id).ok)


def test_the_agent_says_what_its_node_and_groups_are(farm: Farm) -> None:
    agent = farm.agent(NODE_TAGS='["gpu"]', NODE_REGION="north").wait_ready()
    pid = farm.wait_running(farm.create(min_workers=3, worker_type="shell"))

    [node] = farm.run(pools.list_nodes())
    [record] = farm.run(pools.read_pools()).pools

    assert (node.name, node.pid, node.tags, node.region) == ("node1", agent.process.pid, ("gpu",), "north")
    assert "shell" in node.programs
    [group] = record.groups
    assert (group.node, group.status, group.workers, group.pid) == ("node1", "ready", 3, pid)
    assert (group.worker_type, group.warning, group.restarts) == ("shell", None, 0)
    assert record.assigned == ("node1",)


def test_a_killed_group_is_replaced_and_its_tasks_and_their_programs_are_not_lost_or_doubled(farm: Farm) -> None:
    farm.agent().wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    task_id = farm.submit(pool_id, do="spawn")
    [program] = eventually(lambda: programs_of(task_id))

    kill(pid)

    eventually(lambda: is_gone(program))
    eventually(lambda: farm.task(task_id).attempts, until=lambda attempts: attempts == 2)
    assert farm.wait_running(pool_id) != pid
    [again] = eventually(lambda: programs_of(task_id))
    assert again != program
    [group] = farm.pool(pool_id).groups
    assert group.restarts == 1
    assert [lease.pid for lease in farm.leases()] == [group.pid]


def test_a_frozen_group_is_killed_and_replaced(farm: Farm) -> None:
    farm.agent(FROZEN_AFTER="3").wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    task_id = farm.submit(pool_id, do="hold")
    eventually(lambda: farm.task(task_id).status is TaskStatus.RUNNING)

    kill(pid, signal.SIGSTOP)

    eventually(lambda: is_gone(pid))
    eventually(lambda: farm.task(task_id).attempts, until=lambda attempts: attempts == 2)
    assert farm.wait_running(pool_id) != pid


def test_a_group_whose_lease_was_taken_over_is_ended_and_starts_with_a_new_one(farm: Farm) -> None:
    farm.agent(LEASE_TTL="2").wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    [lease] = farm.leases()

    farm.run(leases.reap(lease.lease, cause="node", result_ttl=60))

    eventually(lambda: is_gone(pid))
    assert farm.wait_running(pool_id) != pid
    assert [other.lease for other in farm.leases()] != [lease.lease]


def test_a_group_that_cannot_start_makes_the_pool_degraded_and_says_why(farm: Farm) -> None:
    farm.agent().wait_ready()
    pool_id = farm.create(extra_config={"broken": True})

    pool = eventually(lambda: farm.pool(pool_id), until=lambda pool: pool.status is PoolStatus.DEGRADED)

    assert "this pool cannot start" in str(pool.reason)
    # It is tried again meanwhile.
    [group] = eventually(lambda: farm.pool(pool_id).groups, until=lambda groups: groups[0].status == "failed")
    assert group.pid is None
    assert group.restarts >= 5


def test_a_stopped_pool_is_emptied_and_removed_when_its_group_is_gone(farm: Farm) -> None:
    farm.agent().wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    held = farm.submit(pool_id, do="hold")
    eventually(lambda: farm.task(held).status is TaskStatus.RUNNING)
    waiting = farm.submit(pool_id)

    farm.run(pools.change_pool(pool_id, status="stopped"))

    eventually(lambda: farm.run(pools.read_pools(pool_id)).gone == {pool_id})
    assert is_gone(pid)
    assert farm.leases() == []
    assert {farm.task(task_id).status for task_id in (held, waiting)} == {TaskStatus.CANCELLED}
    assert farm.task(waiting).error == "its pool was closed"


def test_a_stopped_agent_drains_hands_back_and_leaves(farm: Farm) -> None:
    agent = farm.agent().wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    task_id = farm.submit(pool_id, do="spawn")
    [program] = eventually(lambda: programs_of(task_id))

    agent.process.terminate()

    assert agent.process.wait(timeout=30) == 0
    assert is_gone(pid)
    assert is_gone(program)
    assert not agent.ready_file.exists()
    assert (farm.leases(), farm.run(pools.list_nodes())) == ([], [])
    assert (farm.task(task_id).status, farm.task(task_id).attempts) == (TaskStatus.QUEUED, 0)
    assert farm.pool(pool_id).groups == ()


def test_groups_start_by_exec_where_forking_is_not_safe(farm: Farm) -> None:
    agent = farm.agent(START_METHOD="exec", FROZEN_AFTER="8").wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    task_id = farm.submit(pool_id, do="spawn")
    [program] = eventually(lambda: programs_of(task_id))

    kill(pid)

    eventually(lambda: is_gone(program))
    assert farm.wait_running(pool_id) != pid
    done = farm.submit(farm.create("beta"))
    eventually(lambda: farm.task(done).ok)
    agent.process.send_signal(signal.SIGINT)
    assert agent.process.wait(timeout=30) == 0


def test_an_agent_without_a_usable_redis_says_so_in_one_sentence(farm: Farm) -> None:
    farm.redis_url = "redis://127.0.0.1:1/0"

    agent = farm.agent(SUBMIT_TIMEOUT="0.5")

    assert agent.process.wait(timeout=30) == 4
    assert "Redis at redis://127.0.0.1:1/0 does not answer" in agent.log()
    assert "Traceback" not in agent.log()


def test_two_agents_never_share_a_data_directory(farm: Farm) -> None:
    farm.agent().wait_ready()

    other = farm.agent("node2", data="node1")

    assert other.process.wait(timeout=30) == 2
    assert "another agent is running with" in other.log()
