"""A real Prometheus under load: what it has is what happened, every panel shows something, every alert can fire."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.metrics.deploying import alerts_text
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store import keys, pools, tasks
from tests.fixtures.agents import Farm, kill
from tests.fixtures.prometheus import Prometheus, filled_in, scraped
from tests.fixtures.valkey import PrivateValkey
from tests.metrics.panels import ROWS
from tests.waiting import eventually

REAL_GROUP = "workers.group_worker:run_group"

P = "mahavishnu_pools_"

ALERTS = {rule["alert"] for rule in yaml.safe_load(alerts_text())["groups"][0]["rules"]}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Load:
    """Sends tasks and counts, apart from the store, what becomes of them."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self.sent: dict[str, tuple[str, str]] = {}

    def send(self, pool: str, command: str, count: int, *, expected: str = "completed", **more: Any) -> list[str]:
        """Have a shell command run so many times in a pool (name)."""
        spec = TaskSpec(task_type="shell", payload={"command": command}, **more)
        ids = [names.new_task_id() for _ in range(count)]
        sent = [envelope(spec, task_id=one, max_bytes=100_000) for one in ids]
        pool_id = self._farm.run(pools.read_pools(pool)).one(pool).pool_id
        self._farm.run(tasks.submit(sent, Choice("pool", pool=pool_id), counted="round_robin"))
        self.sent |= dict.fromkeys(ids, (pool, expected))
        return ids

    def finish(self) -> None:
        """Wait until all have the outcomes that were expected."""
        for one, (_, expected) in self.sent.items():
            eventually(lambda one=one: self._farm.task(one).status, until=lambda s, e=expected: s == e, within=120)

    def truth(self) -> Counter[tuple[str, str]]:
        return Counter(self.sent.values())


def told(prometheus: Prometheus) -> Counter[tuple[str, str]]:
    found = prometheus.query(f"sum by (pool, status) ({P}tasks_total)")
    return Counter({(labels["pool"], labels["status"]): int(value) for labels, value in found if value})


def number(prometheus: Prometheus, expression: str) -> float:
    return sum(value for _, value in prometheus.query(expression))


@pytest.fixture
def farm(own_valkey_server: PrivateValkey, make_farm: Callable[[str], Farm]) -> Iterator[Farm]:
    place = make_farm(own_valkey_server.url)
    yield place
    # A test may have stopped the server, and the farm's end needs it.
    own_valkey_server.restart()


@pytest.fixture
def watched(farm: Farm, tmp_path: Path) -> Iterator[Prometheus]:
    with scraped(farm, tmp_path / "prometheus") as (prometheus, _):
        yield prometheus


def start_pools(farm: Farm, wanted: Iterable[str] = ("a", "b")) -> None:
    farm.agent(group=REAL_GROUP).wait_ready()
    for name in wanted:
        farm.wait_running(farm.create(name, min_workers=3, max_workers=6, worker_type="shell"), within=30)


def pool_id(farm: Farm, name: str) -> str:
    return farm.run(pools.read_pools(name)).one(name).pool_id


def test_counters_are_the_truth_also_after_kills_and_restarts(farm: Farm, watched: Prometheus) -> None:
    start_pools(farm)
    load = Load(farm)
    load.send("a", "true", 200)
    load.send("b", "exit 3", 40, expected="failed")
    load.send("b", "sleep 60", 5, expected="timeout", timeout=1)
    load.finish()
    eventually(lambda: told(watched), until=lambda seen: seen == load.truth(), within=30)

    for _ in range(2):
        load.send("a", "sleep 3", 3)
        a = pool_id(farm, "a")
        eventually(lambda a=a: farm.pool(a).running, until=lambda n: n == 3, within=60)
        kill(farm.wait_running(a))
        load.send("a", "true", 50)
        load.finish()
    farm.agents[0].end()
    farm.agent(group=REAL_GROUP).wait_ready()
    load.send("a", "true", 20)
    load.send("b", "true", 20)
    load.finish()

    eventually(lambda: told(watched), until=lambda seen: seen == load.truth(), within=60)
    ended = len(load.sent)
    assert number(watched, f"{P}task_duration_seconds_count") == ended
    assert number(watched, f"{P}queue_wait_seconds_count") == ended
    assert number(watched, f"{P}routed_tasks_total") == ended
    assert number(watched, f'{P}lost_groups_total{{pool="a"}}') >= 2
    assert number(watched, f'{P}requeued_tasks_total{{pool="a"}}') >= 6
    assert number(watched, f"{P}dead_letters_total") == 0
    assert (
        number(watched, "celery_task_succeeded_total")
        == load.truth()["a", "completed"] + load.truth()["b", "completed"]
    )


def test_every_panel_has_data_while_the_system_works(farm: Farm, watched: Prometheus) -> None:
    start_pools(farm)
    load = Load(farm)
    expressions = {filled_in(query): panel.title for row in ROWS for panel in row.panels for query, _ in panel.queries}
    load.send("a", "sleep 2", 2)
    a = pool_id(farm, "a")
    eventually(lambda: farm.pool(a).running, until=lambda n: n == 2, within=60)
    kill(farm.wait_running(a))
    farm.run(pools.change_pool(pool_id(farm, "b"), workers=4))
    farm.run(pools.change_pool(farm.create("broken", min_workers=1, nodes=("elsewhere",)), status=PoolStatus.FAILED))

    def empty() -> list[str]:
        load.send("a", "sleep 0.1", 4)
        load.send("b", "exit 1", 4, expected="failed")
        return [f"{title}: {query}" for query, title in expressions.items() if not watched.query(query)]

    eventually(empty, until=lambda left: left == [], within=120)


def key_of(farm: Farm, name: str, of: str) -> str:
    return keys.key(name, prefix=farm.store.prefix, of=of)


def break_much(farm: Farm, load: Load) -> list[str]:
    """Have everything go wrong that stays so; returns the tasks that fail."""
    redis = farm.store.redis
    failing = load.send("b", "exit 1", 20, expected="failed")
    for name, status in (("broken", PoolStatus.FAILED), ("ill", PoolStatus.DEGRADED)):
        farm.run(pools.change_pool(farm.create(name, min_workers=1, nodes=("elsewhere",)), status=status))
    (waits,) = load.send("ill", "true", 1)
    redis.hset(key_of(farm, "task", waits), "created", "1000000000.0")
    group = pools.GroupInfo(node="big", status="ready", workers=1, memory_mb=5000)
    farm.run(pools.node_beat(pools.NodeInfo(name="big", pid=1, started=1.0), {pool_id(farm, "a"): group}, ttl=600))
    redis.hset(key_of(farm, "sink", "akosha"), mapping={"last_success": "1000000000.0", "number": 0, "dropped": 1})
    redis.set(farm.store.prefix + "ballast", "x" * 50_000_000)  # what the work itself takes is little beside it
    return failing


def test_every_alert_fires_for_its_condition(farm: Farm, own_valkey_server: PrivateValkey, tmp_path: Path) -> None:
    start_pools(farm)
    load = Load(farm)
    redis = farm.store.redis

    with scraped(farm, tmp_path / "prometheus") as (prometheus, server):
        eventually(lambda: number(prometheus, f'{P}pools{{status="running"}}'), until=lambda n: n == 2, within=30)
        eventually(prometheus.firing, until=lambda seen: seen == set(), within=30)

        failing = break_much(farm, load)
        eventually(lambda: farm.task(failing[-1]).status, until=lambda s: s == "failed", within=60)
        dead = key_of(farm, "figures", pool_id(farm, "a"))
        expected = ALERTS - {"MahavishnuRedisDown", "MahavishnuNoAgent", "MahavishnuNodeLost", "MahavishnuNoMetrics"}

        def firing() -> set[str]:
            redis.hset(key_of(farm, "pool", pool_id(farm, "ill")), "status", "degraded")  # whoever heals it meanwhile
            redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] * 1.2))
            # What is an increase has to go on increasing while Prometheus looks.
            redis.hincrby(dead, "dead_letters", 1)
            redis.hincrby(key_of(farm, "sink", "akosha"), "dropped", 1)
            load.send("b", "exit 1", 2, expected="failed")
            return prometheus.firing()

        eventually(firing, until=lambda seen: seen >= expected, within=90)

        redis.config_set("maxmemory", 0)
        farm.agents[0].end()
        for node in redis.hkeys(key_of(farm, "nodes", "")):
            redis.delete(key_of(farm, "node", node))
        eventually(prometheus.firing, until=lambda seen: {"MahavishnuNoAgent", "MahavishnuNodeLost"} <= seen, within=30)

        own_valkey_server.stop()
        eventually(prometheus.firing, until=lambda seen: "MahavishnuRedisDown" in seen, within=30)
        assert "MahavishnuNoAgent" not in prometheus.firing()

        server.kill()
        eventually(prometheus.firing, until=lambda seen: "MahavishnuNoMetrics" in seen, within=60)


def test_the_exposition_is_what_promtool_calls_well_formed(farm: Farm, tmp_path: Path) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    start_pools(farm)
    load = Load(farm)
    load.send("a", "true", 5)
    load.finish()
    with scraped(farm, tmp_path / "prometheus") as (_, server):
        text = urllib.request.urlopen(f"http://{server.address}/metrics", timeout=10).read()

    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60)

    assert b"error" not in done.stderr.lower(), done.stderr.decode()
