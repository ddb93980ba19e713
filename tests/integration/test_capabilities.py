"""Two machines' agents with different resources: real worker groups start only what they have free."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.settings import Settings
from tests.fixtures.agents import Farm, kill
from tests.waiting import eventually_async
from workers.agent.group_process import DEFAULT_FUNCTION

#: Writes down when it ran, with which devices.
NOTE = 'echo "{\\"gpu\\": [$CUDA_VISIBLE_DEVICES], \\"at\\": $(date +%s.%N), \\"what\\": \\"$1\\"}" >>"$0"'


class Site:
    """A pool on a small and one on a large node, and the file their tasks write to."""

    def __init__(self, farm: Farm, manager: PoolManager, notes: Path) -> None:
        self.farm, self.manager, self.notes = farm, manager, notes
        self.pools: dict[str, str] = {}

    async def begin(self) -> None:
        for name, gpus in (("small", 1), ("large", 3)):
            settings = {"NODE_RESOURCES": f"gpu={gpus},memory=8GiB", "NODE_TAGS": name, "LEASE_TTL": "6"}
            self.farm.agent(name, group=DEFAULT_FUNCTION, **settings)
        for name in ("small", "large"):
            self.pools[name] = self.farm.create(name, nodes=(name,), min_workers=4)
        for pool_id in self.pools.values():
            self.farm.wait_running(pool_id, within=60)

    def task(self, seconds: float, *needs: str) -> dict[str, Any]:
        script = f"{NOTE}; sleep {seconds}; set -- end; {NOTE}"
        command = ["sh", "-c", script, str(self.notes), "begin"]
        return {"task_type": "shell", "payload": {"command": command}, "needs": needs}

    async def send(self, *tasks: dict[str, Any], pool: str | None = None) -> list[str]:
        return [one.task_id for one in await self.manager.submit_many(tasks, pool=pool)]

    async def results(self, ids: list[str]) -> list[TaskResult]:
        return [await self.manager.result(one, wait_timeout=60) for one in ids]

    def most_at_once(self) -> dict[int, int]:
        """Return how many tasks had a device at once, by number."""
        lines = [json.loads(line) for line in self.notes.read_text().splitlines()]
        running: dict[int, int] = {}
        most: dict[int, int] = {}
        for line in sorted(lines, key=lambda one: float(one["at"])):
            for number in line["gpu"]:
                running[number] = running.get(number, 0) + (1 if line["what"] == "begin" else -1)
                most[number] = max(most.get(number, 0), running[number])
        return most


@pytest_asyncio.fixture
async def site(farm: Farm, settings: Settings, tmp_path: Path) -> AsyncIterator[Site]:
    manager = PoolManager(settings=settings)
    found = Site(farm, manager, tmp_path / "notes")
    await found.begin()
    yield found
    await manager.close()


async def test_every_device_belongs_to_one_task_at_a_time_and_big_tasks_run_too(site: Site) -> None:
    small = [site.task(0.1, "gpu=1") for _ in range(10)]
    ids = await site.send(*small[:5], site.task(0.1, "gpu=3"), *small[5:], site.task(0.1, "gpu=2", "memory=8GiB"))

    results = await site.results(ids)

    assert {one.status.value for one in results} == {"completed"}
    found = site.most_at_once()
    assert found == {0: 2, 1: 1, 2: 1} or found == {0: 1, 1: 1, 2: 1}  # both nodes have a number 0
    assert {one.pool_id for one in results} == set(site.pools.values())
    assert results[5].got is not None
    assert (results[5].got.node, results[5].got.devices) == ("large", {"gpu": ("0", "1", "2")})
    assert [node.in_use for node in await site.manager.nodes()] == [{}, {}]
    with pytest.raises(errors.NoPoolAvailable) as refused:
        await site.send(site.task(0, "gpu=4"))
    assert refused.value.details()["reasons"] == {
        "small": "gpu: 4 asked, no node of it has more than 1",
        "large": "gpu: 4 asked, no node of it has more than 3",
    }
    with pytest.raises(errors.NoPoolAvailable, match="no node of it has the tag large"):
        await site.send(site.task(0, "large"), pool="small")


async def test_what_a_killed_group_had_goes_to_its_next_attempt_and_to_nobody_else(site: Site) -> None:
    (holds,) = await site.send(site.task(60, "gpu=3"), pool="large")
    running = await eventually_async(
        lambda: site.manager.task(holds), until=lambda found: found.status.value == "running", within=60
    )
    (waits,) = await site.send(site.task(0, "gpu=1"), pool="large")
    found = await eventually_async(lambda: site.manager.task(waits), until=lambda one: one.waits_for, within=60)
    assert found.waits_for == "gpu=1 (large: gpu: 0 of 3 free)"
    group = site.farm.group(site.pools["large"])
    assert group is not None
    assert group.pid is not None
    assert running.got is not None

    kill(group.pid)

    again = await eventually_async(
        lambda: site.manager.task(holds),
        until=lambda one: one.status.value == "running" and one.attempts == 2,
        within=60,
    )
    assert again.got == running.got
    assert (await site.manager.task(waits)).status.value == "queued"
    await site.manager.cancel(holds)
    result = await site.manager.result(waits, wait_timeout=60)
    assert result.ok
    assert result.waits_for is None
