"""Parts of agents, agents and nodes die; their pools and tasks go on."""

from __future__ import annotations

import signal
from collections.abc import Callable

from mahavishnu_pools import names
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.store import pools
from mahavishnu_pools.store.events import read_older
from tests.fixtures.agents import Farm, is_gone, kill, programs_of
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually


def test_a_killed_controller_is_replaced_and_the_groups_notice_nothing(farm: Farm) -> None:
    agent = farm.agent().wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    held = farm.submit(pool_id, do="hold")
    eventually(lambda: farm.task(held).status is TaskStatus.RUNNING)
    controller = agent.controller()

    kill(controller)

    eventually(lambda: agent.controller() != controller)
    other = farm.create("beta", min_workers=2)
    farm.wait_running(other)
    assert farm.wait_running(pool_id) == pid
    assert farm.task(held).attempts == 1
    kill(pid)
    eventually(lambda: farm.task(held).attempts, until=lambda attempts: attempts == 2)


def test_a_killed_agent_takes_its_groups_along_and_the_next_one_takes_its_pools(farm: Farm) -> None:
    agent = farm.agent().wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    task_id = farm.submit(pool_id, do="spawn")
    [program] = eventually(lambda: programs_of(task_id))

    agent.process.kill()

    eventually(lambda: is_gone(pid) and is_gone(program))
    eventually(lambda: (farm.leases(), farm.run(pools.list_nodes())), until=lambda seen: seen == ([], []))
    assert farm.task(task_id).status is TaskStatus.QUEUED
    farm.agent().wait_ready()
    assert farm.wait_running(pool_id) != pid
    eventually(lambda: programs_of(task_id))


def test_what_an_agent_killed_with_its_controller_left_is_cleaned_up_by_the_next_one(farm: Farm) -> None:
    agent = farm.agent().wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    task_id = farm.submit(pool_id, do="spawn")
    [program] = eventually(lambda: programs_of(task_id))

    # Stopped first: the others could otherwise see the zygote die before they die themselves, and the group could hand
    # its task back, an attempt that does not count.
    controller = agent.controller()
    for other in (controller, pid):
        kill(other, signal.SIGSTOP)
    agent.process.kill()
    for other in (controller, pid):
        kill(other)
    assert not is_gone(program)

    farm.agent().wait_ready()
    eventually(lambda: is_gone(program))
    assert farm.wait_running(pool_id) != pid
    eventually(lambda: farm.task(task_id).attempts, until=lambda attempts: attempts == 2)


def test_a_pool_goes_to_the_node_with_its_tag_and_moves_when_that_is_gone(farm: Farm) -> None:
    farm.agent("plain").wait_ready()
    gpu = farm.agent("gpu1", NODE_TAGS='["gpu"]').wait_ready()
    pool_id = farm.create(nodes=("gpu",))
    farm.wait_running(pool_id)
    assert farm.pool(pool_id).assigned == ("gpu1",)

    farm.agent("gpu2", NODE_TAGS='["gpu"]').wait_ready()
    gpu.process.terminate()

    eventually(lambda: farm.pool(pool_id).assigned == ("gpu2",))
    farm.wait_running(pool_id)


def test_a_silent_node_is_lost_and_its_tasks_run_elsewhere(farm: Farm) -> None:
    short = {"NODE_LOST_AFTER": "6", "LEASE_TTL": "3"}
    first = farm.agent("first", **short).wait_ready()
    pool_id = farm.create(prefer="first")
    pid = farm.wait_running(pool_id)
    held = farm.submit(pool_id, do="hold")
    eventually(lambda: farm.task(held).status is TaskStatus.RUNNING)
    farm.agent("second", **short).wait_ready()

    # The whole node stands still, as one does that lost its power.
    for process in (pid, first.controller(), first.process.pid):
        kill(process, signal.SIGSTOP)

    eventually(lambda: farm.pool(pool_id).assigned == ("second",))
    eventually(lambda: farm.task(held).attempts, until=lambda attempts: attempts == 2)
    assert farm.wait_running(pool_id) != pid
    lost = [one.details["node"] for one in farm.run(read_older("pools")) if one.type == "node_lost"]
    assert lost == ["first"]


def test_a_pool_starts_elsewhere_when_its_preferred_node_lives_and_does_not_fit(farm: Farm) -> None:
    farm.agent("first").wait_ready()
    farm.agent("second", NODE_TAGS='["gpu"]').wait_ready()

    pool_id = farm.create(nodes=("gpu",), prefer="first")

    farm.wait_running(pool_id)
    assert farm.pool(pool_id).assigned == ("second",)


def test_a_second_agent_on_a_machine_gets_a_name_of_its_own_unless_it_was_given_one(farm: Farm) -> None:
    farm.agent(None, data="one").wait_ready()
    farm.agent(None, data="two").wait_ready()

    first, second = sorted(node.name for node in farm.run(pools.list_nodes()))
    assert second == f"{first}-2"
    refused = farm.agent(first, data="three")
    assert refused.process.wait(timeout=30) == 2
    assert f"another agent is running as '{first}'" in refused.log()


def test_agents_that_start_at_once_on_a_machine_get_names_of_their_own(farm: Farm) -> None:
    agents = [farm.agent(None, data=data) for data in ("one", "two", "three")]
    for agent in agents:
        agent.wait_ready()

    pids = {node.name: node.pid for node in farm.run(pools.list_nodes())}
    assert sorted(pids.values()) == sorted(agent.process.pid for agent in agents)


def test_an_agent_cut_off_from_redis_ends_its_groups_and_starts_anew_after_it(
    own_valkey_server: PrivateValkey, make_farm: Callable[[str], Farm]
) -> None:
    farm = make_farm(own_valkey_server.url)
    farm.agent(NODE_LOST_AFTER="3", SUBMIT_TIMEOUT="0.5").wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    task_id = farm.submit(pool_id, do="spawn")
    [program] = eventually(lambda: programs_of(task_id))

    own_valkey_server.stop()
    eventually(lambda: is_gone(pid) and is_gone(program))
    own_valkey_server.start()

    assert farm.wait_running(pool_id) != pid
    eventually(lambda: farm.task(task_id).attempts, until=lambda attempts: attempts >= 2)
    assert farm.pool(pool_id).status is PoolStatus.RUNNING


def test_a_short_absence_of_redis_disturbs_no_group(
    own_valkey_server: PrivateValkey, make_farm: Callable[[str], Farm]
) -> None:
    farm = make_farm(own_valkey_server.url)
    farm.agent().wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)

    own_valkey_server.restart()

    other = farm.create("beta")
    farm.wait_running(other)
    assert farm.wait_running(pool_id) == pid
    done = farm.submit(pool_id)
    eventually(lambda: farm.task(done).ok)


def test_the_one_that_crashes_its_group_is_found_and_those_that_ran_beside_it_complete(farm: Farm) -> None:
    farm.agent().wait_ready()
    pool_id = farm.create(min_workers=4)
    pid = farm.wait_running(pool_id)
    beside = [farm.submit(pool_id, do="accompany") for _ in range(3)]
    eventually(lambda: {farm.task(one).status for one in beside}, until=lambda seen: seen == {TaskStatus.RUNNING})

    guilty = farm.submit(pool_id, do="crash")

    eventually(lambda: farm.task(guilty).status is TaskStatus.DEAD, within=30)
    assert {farm.task(one).status for one in beside} == {TaskStatus.COMPLETED}
    assert {farm.task(one).attempts for one in beside} == {2}
    assert farm.task(guilty).attempts == 4
    # Others ran in between on the pool's ordinary group, and the group for suspects is gone.
    after = farm.submit(pool_id)
    eventually(lambda: farm.task(after).status is TaskStatus.COMPLETED)
    assert farm.wait_running(pool_id) != pid
    eventually(lambda: len(farm.leases()), until=lambda leases: leases == 1)


def test_killing_a_group_makes_its_tasks_run_again_together(farm: Farm) -> None:
    farm.agent().wait_ready()
    pool_id = farm.create(min_workers=3)
    pid = farm.wait_running(pool_id)
    held = [farm.submit(pool_id, do="hold") for _ in range(3)]
    eventually(lambda: {farm.task(one).status for one in held}, until=lambda seen: seen == {TaskStatus.RUNNING})

    kill(pid)

    eventually(lambda: {farm.task(one).attempts for one in held}, until=lambda attempts: attempts == {2})


def test_suspects_run_alone_also_after_their_agent_was_started_anew(farm: Farm) -> None:
    agent = farm.agent().wait_ready()
    pool_id = farm.create(min_workers=3)
    farm.wait_running(pool_id)
    held = [farm.submit(pool_id, do="hold") for _ in range(2)]
    eventually(lambda: {farm.task(one).status for one in held}, until=lambda seen: seen == {TaskStatus.RUNNING})
    farm.submit(pool_id, do="crash")
    alone = names.worker_node(pool_id, "node1", alone=True)
    eventually(lambda: any(farm.task(one).worker_id == alone for one in held), within=30)

    agent.process.kill()
    eventually(lambda: farm.leases(), until=lambda leases: leases == [], within=60)
    farm.agent().wait_ready()

    statuses = eventually(
        lambda: [farm.task(one).status for one in held], until=lambda seen: TaskStatus.RUNNING in seen, within=60
    )
    assert statuses.count(TaskStatus.RUNNING) == 1
    assert farm.pool(pool_id).suspects >= 1
