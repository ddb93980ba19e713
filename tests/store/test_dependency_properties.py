"""Whatever graph, whatever happens, in whatever order: each task ends as a model says, none runs before its time."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mahavishnu_pools.routing.chooser import Chooser, Wish
from mahavishnu_pools.routing.releasing import release_some
from mahavishnu_pools.routing.submission import Sender, pack, send
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.schemas.task import TERMINAL_STATUSES
from mahavishnu_pools.store import leases, tasks
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.steps import run_steps_sync
from tests.store.world import RESULT_TTL, World

#: How a task ends that is run.
OUTCOMES = ("completed", "completed", "completed", "failed", "timeout", "dead")

POLICIES = ("skip", "fail", "run")


@st.composite
def graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw tasks: which earlier ones each comes after, its policy, how it ends if it runs; whether it is cancelled."""
    count = draw(st.integers(1, 12))
    return [
        {
            "after": sorted(draw(st.sets(st.integers(0, index - 1), max_size=4))) if index else [],
            "policy": draw(st.sampled_from(POLICIES)),
            "outcome": draw(st.sampled_from(OUTCOMES)),
            "cancelled": draw(st.integers(0, 9)) == 0,
        }
        for index in range(count)
    ]


def model(graph: list[dict[str, Any]]) -> list[str]:
    """Return how each task ends."""
    found: list[str] = []
    for one in graph:
        bad = any(found[parent] != "completed" for parent in one["after"])
        if one["cancelled"]:
            found.append("cancelled")
        elif bad and one["policy"] != "run":
            found.append("cancelled" if one["policy"] == "skip" else "failed")
        else:
            found.append(one["outcome"])
    return found


class Course:
    """One graph on three pools, worked off by workers and agents that are seldom up to date."""

    def __init__(self, world: World, graph: list[dict[str, Any]], chance: random.Random) -> None:
        self.world, self.graph, self.chance = world, graph, chance
        self.pools = [world.pool(f"p{index}", workers=index + 1) for index in range(3)]
        self.chooser = Chooser(default=PoolSelector.LEAST_LOADED)
        self.held: dict[str, tuple[str, leases.Claim]] = {}
        self.leases = {pool: world.lease(pool) for pool in self.pools}
        self.ran: Counter[str] = Counter()

    def send(self) -> list[str]:
        order = list(range(len(self.graph)))
        self.chance.shuffle(order)
        place = {index: at for at, index in enumerate(order)}
        items = [
            {
                "prompt": "x",
                "after": [place[parent] for parent in self.graph[index]["after"]],
                "on_parent_failure": self.graph[index]["policy"],
                "affinity": self.chance.choice([None, None, "key"]),
                "priority": self.chance.randrange(10),
            }
            for index in order
        ]
        sender = Sender("c", 100_000)
        parcels = run_steps_sync(self.world.store, pack(self.chooser, sender, items))
        sent = run_steps_sync(self.world.store, send(self.chooser, sender, parcels, Wish(), batch="b"))
        self.ids = [sent[place[index]].task_id for index in range(len(order))]
        return self.ids

    def release(self) -> None:
        run_steps_sync(self.world.store, release_some(self.chooser, self.chance.choice("ab"), result_ttl=RESULT_TTL))
        if self.chance.random() < 0.5:
            self.world.redis.delete(self.world.key("release_turn"))

    def claim(self) -> None:
        pool = self.chance.choice(self.pools)
        for claim in self.world.claim(self.leases[pool], pool, self.chance.randint(1, 3)):
            parents = [self.ids[parent] for parent in self.graph[self.ids.index(claim.task_id)]["after"]]
            for result in self.world.run(tasks.read_tasks(parents)) if parents else []:
                assert result is not None
                assert result.status in TERMINAL_STATUSES
            assert claim.task_id not in self.held
            self.held[claim.task_id] = (pool, claim)

    def finish(self) -> None:
        if not self.held:
            return
        task_id = self.chance.choice(sorted(self.held))
        pool, claim = self.held.pop(task_id)
        status = self.graph[self.ids.index(task_id)]["outcome"]
        self.ran[task_id] += 1
        self.twice(self.world.finish_call(self.world.held(self.leases[pool], pool, claim), status=status))

    def lose(self) -> None:
        pool = self.chance.choice(self.pools)
        self.world.reap(self.leases[pool], cause="node")
        self.leases[pool] = self.world.lease(pool)
        self.held = {one: held for one, held in self.held.items() if held[0] != pool}

    def twice(self, call: Call[Any]) -> None:
        self.world.run(call)
        if self.chance.random() < 0.3:
            self.world.run(call)

    def statuses(self) -> list[str]:
        found = self.world.run(tasks.read_tasks(self.ids))
        return [one.status.value for one in found if one is not None]

    def run(self) -> Mapping[str, int]:
        self.send()
        cancelled = [self.ids[index] for index, one in enumerate(self.graph) if one["cancelled"]]
        if cancelled:
            self.twice(tasks.cancel_many(cancelled, reason="no", result_ttl=RESULT_TTL))
        steps = [self.claim, self.claim, self.finish, self.finish, self.release, self.release, self.lose]
        for _ in range(2000):
            self.chance.choice(steps)()
            if all(status in TERMINAL_STATUSES for status in self.statuses()):
                break
        while self.world.redis.exists(*(self.world.key(one) for one in ("releasing", "ready", "release_turn"))):
            self.world.redis.delete(self.world.key("release_turn"))
            run_steps_sync(self.world.store, release_some(self.chooser, "a", result_ttl=RESULT_TTL))
            self.world.redis.delete(self.world.key("release_turn"))
        return self.ran


def test_every_graph_ends_as_the_model_says(redis_url: str) -> None:
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(graph=graphs(), seed=st.integers(0, 2**32))
    def check(graph: list[dict[str, Any]], seed: int) -> None:
        world = World(redis_url, f"graph{secrets.token_hex(6)}")
        course = Course(world, graph, random.Random(seed))
        ran = course.run()

        wanted = model(graph)
        assert course.statuses() == wanted
        assert all(count == 1 for count in ran.values())
        counts = world.redis.hmget(world.key("batch", "b"), "total", "successful", "failed")
        assert counts == [str(len(graph)), str(wanted.count("completed")), str(len(graph) - wanted.count("completed"))]
        left = [key for name in ("held", "children") for key in world.redis.scan_iter(world.key(name, "*"), count=1000)]
        assert left == []
        assert not world.redis.exists(*(world.key(name) for name in ("waiting", "ready", "releasing")))
        assert world.index_is_true()
        keys = list(world.redis.scan_iter(world.store.prefix + "*", count=1000))
        world.redis.delete(*keys)
        world.store.close()

    check()
