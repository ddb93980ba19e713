"""What every pool must do, whoever runs its tasks: the same tests over worker groups, Jobs and Deployments."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mahavishnu_pools import errors
from mahavishnu_pools.embedded.private import PrivateStack
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.pools.interface import Pool
from mahavishnu_pools.settings import Settings
from tests.fakes.kube_api import KubeApi
from tests.fakes.kube_deployments import Deployments
from tests.waiting import eventually_async

WITHIN = 60.0


@dataclass(frozen=True)
class Kind:
    """How a kind of pool is made, and where; ``more`` goes into its configuration."""

    name: str
    redis_url: str
    api: KubeApi
    more: dict[str, Any] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def manager(self) -> AsyncIterator[PoolManager]:
        """Give a manager that leaves its pools."""
        made = PoolManager(settings=Settings(redis_url=self.redis_url, kill_grace=0.5, drain_timeout=2.0))
        try:
            yield made
        finally:
            await made.close()

    async def spawn(self, manager: PoolManager) -> str:
        fields = {"worker_type": "shell", "min_workers": 2, "max_workers": 4, **self.more}
        return await manager.spawn_pool(name=f"{self.name}-{secrets.token_hex(3)}", **fields)


@pytest.fixture(
    scope="module",
    params=[
        "job",
        pytest.param("mahavishnu", marks=pytest.mark.slow),
        pytest.param("deployment", marks=pytest.mark.slow),
    ],
)
def kind(
    request: pytest.FixtureRequest, shared_stack: PrivateStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kind]:
    folder = tmp_path_factory.mktemp("cluster")
    api = KubeApi("mahavishnu")
    api.machine.path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    there = {"pool_type": "kubernetes", "kubeconfig": str(api.kubeconfig(folder))}
    image = {"container_image": "example.org/mahavishnu:1", "redis_url_secret": "redis/url", "start_timeout": WITHIN}
    more = {
        "job": there,
        "mahavishnu": {"pool_type": "mahavishnu"},
        "deployment": {**there, "mode": "deployment", **image},
    }[request.param]
    with contextlib.ExitStack() as ends:
        ends.callback(api.stop)
        if request.param == "deployment":
            url = base64.b64encode(shared_stack.redis_url.encode()).decode()
            secret = {"kind": "Secret", "metadata": {"name": "redis"}, "data": {"url": url}}
            api._do(api.machine.store.add("secrets", "mahavishnu", secret))
            machines = Deployments(api)
            machines.start()
            ends.callback(machines.stop)
        yield Kind(request.param, shared_stack.redis_url, api, more)


@pytest.fixture(scope="module")
def pool_id(kind: Kind) -> Iterator[str]:
    """Return a pool that the tests of a kind share."""

    async def spawn() -> str:
        async with kind.manager() as manager:
            return await kind.spawn(manager)

    async def close(pool: str) -> None:
        async with kind.manager() as manager:
            await manager.close_pool(pool)

    made = asyncio.run(spawn())
    yield made
    asyncio.run(close(made))


@pytest_asyncio.fixture
async def manager(kind: Kind) -> AsyncIterator[PoolManager]:
    async with kind.manager() as made:
        yield made


@pytest_asyncio.fixture
async def pool(manager: PoolManager, pool_id: str) -> Pool:
    return await manager.get_pool(pool_id)


async def test_outcomes_come_back_in_the_order_of_the_tasks(pool: Pool) -> None:
    before = (await pool.get_metrics()).tasks_completed
    odd = '`id` $(HOME) "quotes" é 😀'
    tasks: list[Any] = [
        {"prompt": "sleep 0.3; echo first"},
        {"prompt": "echo half; exit 3"},
        {"prompt": "echo begun; sleep 60", "timeout": 3.0},
        {"task_type": "shell", "payload": {"command": ["echo", odd]}},
        {"prompt": 'echo "$WORD"', "env": {"WORD": "two words"}},
    ]

    found = await pool.execute_batch(tasks)

    assert [one.status for one in found] == ["completed", "failed", "timeout", "completed", "completed"]
    assert [one.output for one in found] == ["first\n", "half\n", "begun\n", f"{odd}\n", "two words\n"]
    assert found[1].exit_code == 3
    metrics = await pool.get_metrics()
    assert (metrics.tasks_completed - before, metrics.queued) == (3, 0)


async def test_a_running_task_is_cancelled(pool: Pool, manager: PoolManager) -> None:
    [task] = await manager.submit_many([{"prompt": "echo begun; sleep 60"}], pool=pool.pool_id)

    async def status() -> str:
        return str((await manager.task(task.task_id)).status)

    await eventually_async(status, until=lambda seen: seen == "running", within=WITHIN)
    await manager.cancel(task.task_id)

    assert await eventually_async(status, until=lambda seen: seen != "running", within=WITHIN) == "cancelled"


async def test_a_paused_pool_starts_nothing_until_it_is_resumed(pool: Pool, manager: PoolManager) -> None:
    assert (await pool.pause()).status == "paused"
    [task] = await manager.submit_many([{"prompt": "echo later"}], pool=pool.pool_id)
    assert (await pool.info()).queued == 1

    await pool.resume()

    async def output() -> str | None:
        return (await manager.task(task.task_id)).output

    assert await eventually_async(output, within=WITHIN) == "later\n"


async def test_it_is_scaled_within_its_limits(pool: Pool) -> None:
    assert (await pool.scale(3)).workers == 3
    with pytest.raises(errors.ScaleOutOfRange):
        await pool.scale(5)
    await pool.scale(2)

    found = await pool.health_check()
    assert (found["pool_id"], found["status"]) == (pool.pool_id, "running")


async def test_closing_ends_what_runs_and_leaves_nothing(kind: Kind, manager: PoolManager) -> None:
    before = set(kind.api.left())
    closed = await kind.spawn(manager)
    tasks = await manager.submit_many([{"prompt": "echo begun; sleep 60"}] * 5, pool=closed)

    async def running() -> int:
        return (await manager.pool_info(closed)).running

    await eventually_async(running, until=lambda seen: seen == 2, within=WITHIN)
    await manager.close_pool(closed)

    assert [(await manager.task(one.task_id)).status for one in tasks] == ["cancelled"] * 5
    assert closed not in [one.pool_id for one in await manager.list_pools()]

    async def new() -> set[str]:
        return set(kind.api.left()) - before

    await eventually_async(new, until=lambda seen: not seen, within=WITHIN)
