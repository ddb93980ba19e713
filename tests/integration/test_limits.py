"""Limits with real worker groups and a stand-in AI program: cool-downs, rates, budgets, as people see them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml

from mahavishnu_pools import PoolManager, errors, names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import events, tasks
from tests.fixtures.agents import Farm
from tests.waiting import eventually

REAL_GROUP = "workers.group_worker:run_group"

#: Refuses while there is a file "refuse", else answers and says what that cost.
PROGRAM = """\
#!/bin/sh
cat >/dev/null
if [ -e {here}/refuse ]; then
  echo '{{"type": "result", "is_error": true, "result": "429 too many requests"}}'
  exit 1
fi
echo '{{"type": "result", "result": "done", "total_cost_usd": 0.5, "usage": {{"input_tokens": 7, "output_tokens": 3}}}}'
"""


@pytest.fixture
def types_file(tmp_path: Path) -> Path:
    program = tmp_path / "robot"
    program.write_text(PROGRAM.format(here=tmp_path))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    file = tmp_path / "types.yaml"
    robot = {"argv": [str(program)], "prompt_via": "stdin", "output": "claude-json", "ai": True}
    file.write_text(yaml.safe_dump({"robot": robot}))
    return file


def submit(farm: Farm, pool_id: str, prompt: str = "hello") -> str:
    task_id = names.new_task_id()
    sent = envelope(TaskSpec(prompt=prompt), task_id=task_id, max_bytes=100_000)
    farm.run(tasks.submit([sent], Choice("pool", pool=pool_id)))
    return task_id


def manager_of(farm: Farm) -> PoolManager:
    return PoolManager(settings=Settings(redis_url=farm.redis_url, namespace=farm.namespace))


def cool_downs_that_ended(farm: Farm) -> set[tuple[str, str]]:
    found = [one for one in farm.run(events.read_older("pools")) if one.type == "cool_down_ended"]
    return {(one.details["worker_type"], one.details["reason"]) for one in found}


async def test_too_many_requests_hold_all_pools_back_until_somebody_ends_that(
    farm: Farm, tmp_path: Path, types_file: Path
) -> None:
    (tmp_path / "refuse").touch()
    farm.agent(group=REAL_GROUP, WORKER_TYPES_FILE=str(types_file)).wait_ready()
    a, b = (farm.create(name, worker_type="robot", allowed_roots=(str(tmp_path),)) for name in ("a", "b"))
    farm.wait_running(a)
    farm.wait_running(b)
    manager = manager_of(farm)
    try:
        refused = submit(farm, a)
        eventually(lambda: farm.task(refused).status == "retrying", within=30)
        (tmp_path / "refuse").unlink()
        waits = submit(farm, b)

        [cooling] = (await manager.limits())["cool_downs"]
        assert (cooling["worker_type"], cooling["pool"]) == ("robot", "a")
        assert "429" in cooling["because"]
        eventually(lambda: farm.store.redis.zcard(f"{farm.store.prefix}mhv:delayed:{b}") == 1, within=30)
        assert farm.task(waits).attempts == 0

        assert await manager.end_cool_down("robot") == 2
        eventually(lambda: farm.task(waits).ok and farm.task(refused).ok, within=30)
        with pytest.raises(errors.InvalidField, match="does not cool down"):
            await manager.end_cool_down("robot")
        over = {"ends": 1000.5, "length": 10, "why": "429", "pool": "a"}
        farm.store.redis.hset(f"{farm.store.prefix}mhv:cooldowns", "other", json.dumps(over))
        ends = ("robot", "it was ended by hand"), ("other", "its time is over")
        eventually(lambda: cool_downs_that_ended(farm), until=lambda seen: seen == set(ends), within=30)
        [row] = [row for row in await manager.usage(days=1) if row.pool == "b"]
        assert (row.input_tokens, row.output_tokens, row.cost_usd, row.runs) == (7, 3, 0.5, 1)
    finally:
        await manager.close()


async def test_a_pool_with_a_budget_pauses_and_what_waits_stays(farm: Farm, tmp_path: Path, types_file: Path) -> None:
    farm.agent(group=REAL_GROUP, WORKER_TYPES_FILE=str(types_file)).wait_ready()
    pool_id = farm.create(worker_type="robot", allowed_roots=(str(tmp_path),), budget={"usd": 1}, auto_scale=False)
    farm.wait_running(pool_id)

    ids = [submit(farm, pool_id) for _ in range(4)]

    eventually(lambda: farm.pool(pool_id).status is PoolStatus.PAUSED, within=30)
    eventually(lambda: not farm.pool(pool_id).running, within=30)
    assert [farm.task(one).ok for one in ids] == [True, True, False, False]
    manager = manager_of(farm)
    try:
        [limited] = (await manager.limits())["pools"]
    finally:
        await manager.close()
    assert json.loads(json.dumps(limited["budget"])) == {
        "usd": 1.0,
        "tokens": None,
        "per": "day",
        "spent_usd": 1.0,
        "spent_tokens": 20,
    }


def test_a_rate_limit_spreads_tasks_over_time_and_none_is_forgotten(
    farm: Farm, tmp_path: Path, types_file: Path
) -> None:
    farm.agent(group=REAL_GROUP, WORKER_TYPES_FILE=str(types_file)).wait_ready()
    roots = (str(tmp_path),)
    pool_id = farm.create(worker_type="robot", allowed_roots=roots, min_workers=5, max_workers=5, rate_limit="2/s")
    farm.wait_running(pool_id)

    ids = [submit(farm, pool_id) for _ in range(6)]

    eventually(lambda: all(farm.task(one).ok for one in ids), within=30)
    starts = sorted(farm.task(one).started_at.timestamp() for one in ids if farm.task(one).started_at)
    assert starts[-1] - starts[0] >= 1.9  # two at once, then one every half second
