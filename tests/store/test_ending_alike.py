"""Claims that end in one script leave what they leave when each ends by itself, whatever their ends are."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store import batches, leases, pools, tasks
from mahavishnu_pools.store.calls import Call
from tests.fixtures.valkey import PrivateValkey
from tests.store.world import RESULT_TTL, World

USAGE = json.dumps({"type": "prompt", "usage": {"usd": 0.6, "input": 10}})
COOL = json.dumps({"type": "prompt", "cool": {"worker": "terminal-x", "why": "too many", "seconds": 600}})


class Scene:
    """A pool with a budget, whose lease holds tasks of all kinds; ``calls`` end them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pool = names.new_pool_id()
        config = PoolConfig(name="p", min_workers=1, max_workers=50, budget={"usd": 1.0})
        assert world.run(pools.create_pool(self.pool, config)) is None
        world.run(pools.change_pool(self.pool, status=PoolStatus.RUNNING))
        self.ids = [*self._send(3, batch="b"), *self._send(9), *self._send(1, idempotency_key="k")]
        self.ids += [self._delegated()]
        after = envelope(TaskSpec(prompt="y"), task_id=names.new_task_id(), max_bytes=10_000)
        follower = batches.Follower(after, (self.pool,), self.pool)
        assert world.run(batches.seal("b", follower=follower, client="c", result_ttl=60)) == after.task_id
        self.lease = world.lease(self.pool)
        self.held = [
            world.held(self.lease, self.pool, claim) for claim in world.claim(self.lease, self.pool, 50, request="r")
        ]
        assert [one.task_id for one in self.held] == self.ids
        self.ids.append(after.task_id)
        for task_id in self.ids:
            # Run times are counted by buckets, which must not depend on how fast this test is.
            world.redis.hset(world.key("task", task_id), "started", f"{time.time() - 100:.6f}")
        world.redis.hset(world.key("task", self.ids[9]), "suspect", "1")
        world.run(tasks.cancel(self.ids[7], reason="enough", result_ttl=60))

    def _send(self, count: int, **given: Any) -> list[str]:
        return self.world.to(self.pool, count, **given)

    def _delegated(self) -> str:
        made = self.world.envelopes()[0]
        asked = json.dumps({"source": "pool_0", "message_id": "msg_1"})
        fields = {name: getattr(made, name) for name in made.__slots__}
        sent = tasks.Envelope(**fields | {"delegated": asked})
        self.world.run(tasks.submit([sent], Choice("pool", pool=self.pool), client="c"))
        return sent.task_id

    def calls(self) -> list[Call[leases.Ending]]:
        end, held = self.world.finish_call, self.held
        busy = '{"error": "busy"}'
        return [
            end(held[0]),
            end(held[1], status="failed"),
            end(held[3], status="dead"),
            leases.retry(held[4], outcome=busy, delay=3600, result_ttl=RESULT_TTL, told=COOL),
            leases.hand_back(held[5], result_ttl=RESULT_TTL),
            leases.hand_back(held[6], result_ttl=RESULT_TTL),
            leases.retry(held[7], outcome=busy, delay=3600, result_ttl=RESULT_TTL),
            *(self._used(one) for one in (held[8], held[10], held[11])),
            leases.hand_back(held[9], result_ttl=RESULT_TTL),
            end(held[2], status="timeout"),
            end(held[12]),
            end(held[13]),
        ]

    def _used(self, held: leases.Held) -> Call[leases.Ending]:
        return leases.finish(held, status="completed", outcome="", meta="{}", result_ttl=RESULT_TTL, told=USAGE)

    def state(self) -> dict[str, str]:
        """Return all keys with their content, without what differs from scene to scene: ids and times."""
        prefix, scan = self.world.store.prefix, self.world.redis.scan_iter
        keys = list(scan(prefix + "*", count=1000))
        return {
            self._plain(key.removeprefix(prefix)): self._plain(json.dumps(self._content(key), sort_keys=True))
            for key in keys
        }

    def _plain(self, text: str) -> str:
        known = {"POOL": self.pool, "LEASE": self.lease, **{f"T{n}": one for n, one in enumerate(self.ids)}}
        for name, value in known.items():
            text = text.replace(value, name)
        return re.sub(r"\d+\.\d+|\d{10,}-\d+|\d+@\w+", "#", text)

    def _content(self, key: str) -> Any:
        redis = self.world.redis
        kind = redis.type(key)
        if kind == "hash":
            # How long they waited before they were claimed is another matter.
            return {name: value for name, value in redis.hgetall(key).items() if not name.startswith(("w\n", "wait_"))}
        if kind == "stream":
            return [fields for _, fields in redis.xrange(key)]
        if kind == "set":
            return sorted(redis.smembers(key))
        if kind == "zset":
            return redis.zrange(key, 0, -1)
        return redis.lrange(key, 0, -1) if kind == "list" else redis.get(key)


def test_what_ends_together_ends_as_it_does_one_by_one(redis_url: str, namespace: str) -> None:
    scenes = []
    for name in ("a", "b"):
        world = World(redis_url, f"{namespace}{name}")
        scene = Scene(world)
        calls = scene.calls() if name == "a" else leases.together(scene.calls())
        endings = [world.run(call) for call in calls]
        assert endings in (["ok"] * len(scene.held), [["ok"] * len(scene.held)])
        assert world.index_is_true()
        scenes.append(scene.state())
        world.store.close()

    assert scenes[1] == scenes[0]
    assert '"status": "paused"' in scenes[0]["mhv:pool:POOL"]


def test_a_full_server_takes_the_ends_of_all_claims(own_valkey_server: PrivateValkey) -> None:
    world = World(own_valkey_server.url, "")
    scene = Scene(world)
    world.redis.config_set("maxmemory", world.redis.info("memory")["used_memory"] // 2)
    with pytest.raises(errors.RedisFull):
        world.to(scene.pool, 1)

    (script,) = leases.together(scene.calls())

    assert world.run(script) == ["ok"] * len(scene.held)
    assert world.run(script) == ["again"] * len(scene.held)
    assert world.places([], [scene.lease]) == {}
    assert world.index_is_true()
    world.store.close()
