"""Large graphs on real agents and worker groups that are killed meanwhile: every task runs in order, and ends once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.settings import Settings
from tests.fixtures.agents import Farm, kill
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually_async

REAL_GROUP = "workers.group_worker:run_group"

#: A task says when it begins and when it ends: a line each, written at once.
WORK = 'printf "+ %s\\n" {name} >> {file}; printf "%s " {name}; printf "%s\\n" "- {name}" >> {file}'


def graph(count: int, file: Path, chance: random.Random) -> list[dict[str, Any]]:
    """Return tasks in any order, each after up to three others that come before it in another one."""
    tasks = []
    for index in range(count):
        parents = chance.sample(range(max(0, index - 60), index), k=min(index, chance.randrange(4)))
        name = f"n{index}"
        payload = {"command": WORK.format(name=name, file=file), "shell": True}
        after = [f"n{parent}" for parent in parents]
        tasks.append({"task_type": "shell", "payload": payload, "name": name, "after": after})
    chance.shuffle(tasks)
    return tasks


async def run_killed(
    farm: Farm, file: Path, count: int, kills: int, server: PrivateValkey | None = None
) -> list[TaskResult]:
    """Run a graph, whose tasks write to the file, while groups and agents are killed, or the server."""
    chance = random.Random(count)
    agents = [farm.agent(f"node{number}", group=REAL_GROUP).wait_ready() for number in (1, 2)]
    pools = [farm.create(name, worker_type="shell", min_workers=4, prefer=node) for name, node in PLACES]
    for pool in pools:
        farm.wait_running(pool, within=30)
    settings = Settings(
        redis_url=SecretStr(farm.redis_url), namespace=farm.namespace, data_dir=file.parent, submit_timeout=30
    )
    tasks = graph(count, file, chance)
    async with PoolManager(settings=settings) as manager:
        sent = await manager.submit_many(tasks, batch_id="batch_graph")
        ids = [one.task_id for one in sent]
        for number in range(kills):
            share = (number + 1) * count // (kills + 1)

            async def enough(share: int = share) -> bool:
                batch = await manager.batch("batch_graph")
                return batch.successful + batch.failed >= share

            await eventually_async(enough, within=240)
            if server is not None:
                server.kill()
                server.start()
            elif number % 3 == 2:
                kill(agents[0].process.pid)
                agents[0].process.wait(timeout=30)
                agents[0] = farm.agent("node1", group=REAL_GROUP)
            else:
                kill(farm.wait_running(chance.choice(pools), within=60))
        found = {result.task_id: result async for result in manager.results(ids, wait_timeout=300)}
    return [found[one] for one in ids]


PLACES = (("left", "node1"), ("right", "node2"))


def in_order_and_once(results: list[TaskResult], file: Path) -> None:
    assert Counter(result.status.value for result in results) == {"completed": len(results)}
    by_id = {result.task_id: result for result in results}
    ended: set[str] = set()
    begun: Counter[str] = Counter()
    parents = {
        str(one.name): {str(by_id[parent.task_id].name) for parent in one.dependencies.parents}
        for one in results
        if one.dependencies is not None
    }
    for line in file.read_text().splitlines():
        sign, name = line.split()
        if sign == "-":
            ended.add(name)
            continue
        begun[name] += 1
        assert parents.get(name, set()) <= ended, name
    attempts = {str(result.name): result.attempts for result in results}
    # One whose worker was lost before it had said so began less often than it was tried.
    assert all(1 <= begun[name] <= attempts[name] for name in attempts)
    assert sum(count == 1 for count in attempts.values()) >= len(results) * 0.9
    for one in results:
        for parent in one.dependencies.parents if one.dependencies else ():
            before = by_id[parent.task_id]
            assert before.finished_at is not None
            assert one.started_at is not None
            assert before.finished_at <= one.started_at


@pytest.mark.slow
async def test_a_graph_of_a_thousand_tasks_runs_in_order_and_once_whoever_is_killed(farm: Farm, tmp_path: Path) -> None:
    results = await run_killed(farm, tmp_path / "lines", count=1000, kills=8)

    in_order_and_once(results, tmp_path / "lines")
    assert any(result.attempts > 1 for result in results)


@pytest.mark.slow
async def test_a_graph_goes_on_when_redis_is_killed_and_starts_again(
    own_valkey_server: PrivateValkey, make_farm: Callable[[str], Farm], tmp_path: Path
) -> None:
    farm = make_farm(own_valkey_server.url)

    results = await run_killed(farm, tmp_path / "lines", count=400, kills=3, server=own_valkey_server)

    in_order_and_once(results, tmp_path / "lines")


async def test_a_graph_runs_in_order_when_a_worker_group_is_killed(farm: Farm, tmp_path: Path) -> None:
    results = await run_killed(farm, tmp_path / "lines", count=60, kills=1)

    in_order_and_once(results, tmp_path / "lines")
