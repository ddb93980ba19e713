"""Nodes with resources, for tests of the store: what they announce, and worker groups on them that claim."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mahavishnu_pools.store import keys, leases, pools
from tests.store.world import RESULT_TTL, World


class Node:
    """A node that lives, and runs the given pools."""

    def __init__(self, world: World, name: str, pool_ids: Sequence[str], *, patience: float = 600, **has: Any) -> None:
        self.world, self.name = world, name
        self.tags = has.pop("tags", ())
        self.has = {resource: float(amount) for resource, amount in has.items()}
        gpus = int(self.has.get("gpu", 0))
        self.devices = {"gpu": tuple(map(str, range(gpus)))} if gpus else {}
        self.patience = patience
        self.pool_ids = list(pool_ids)
        self.beat()

    def beat(self) -> None:
        """Say that it lives."""
        about = pools.NodeInfo(
            name=self.name, pid=1, started=1.0, tags=self.tags, resources=self.has, devices=self.devices,
            patience=self.patience,
        )  # fmt: skip
        groups = {one: pools.GroupInfo(node=self.name, status="ready", workers=1) for one in self.pool_ids}
        self.world.run(pools.node_beat(about, groups, ttl=600))

    def group(self, pool_id: str) -> Group:
        """Return a worker group of a pool here."""
        return Group(self, pool_id)

    def claims(self) -> list[dict[str, Any]]:
        """Return what tasks have got here that are claimed, as their records say."""
        redis, found = self.world.redis, []
        for lease, about in redis.hgetall(self.world.key("leases")).items():
            if json.loads(about)["node"] == self.name:
                for value in redis.hvals(self.world.key("claims", lease)):
                    got = redis.hget(self.world.key("task", value.split("\n")[0]), "got")
                    found += [json.loads(got)] if got else []
        return found

    def used(self) -> dict[str, float]:
        """Return what is in use; the store and the claims must agree on it, and it must be there."""
        total: Counter[str] = Counter()
        devices: Counter[str] = Counter()
        for got in self.claims():
            assert got["node"] == self.name
            total.update(got["resources"])
            devices.update(number for numbers in dict(got["devices"]).values() for number in numbers)
        assert all(amount <= self.has.get(name, 0) + 1e-6 for name, amount in total.items()), (self.has, total)
        assert all(count == 1 for count in devices.values()), devices
        told = next(one for one in self.world.run(pools.list_nodes()) if one.name == self.name).in_use
        assert {name: round(amount, 6) for name, amount in told.items()} == {
            name: round(amount, 6) for name, amount in total.items()
        }
        return dict(total)


class Group:
    """A worker group on a node: its lease and what it holds."""

    def __init__(self, node: Node, pool_id: str) -> None:
        self.node, self.world, self.pool_id = node, node.world, pool_id
        self.lease = "lease-" + secrets.token_hex(4)
        about = {"pool_id": pool_id, "node": node.name, "pid": 1, "started": 1.0, "ttl": 600.0}
        assert self.world.run(leases.open_lease(self.lease, **about))
        self.held: dict[str, leases.Claim] = {}

    def claim(self, most: int = 1, *, alone: bool = False) -> list[str]:
        """Claim, and return the ids of what came."""
        by = leases.Claimant(self.lease, self.pool_id, f"{self.pool_id}@{self.node.name}", alone=alone)
        call = leases.claim(by, most=most, request=secrets.token_hex(8), result_ttl=RESULT_TTL)
        self.reply = self.world.run(call)
        assert self.reply is not None
        self.held |= {one.task_id: one for one in self.reply.claims}
        return [one.task_id for one in self.reply.claims]

    def holder(self, task_id: str) -> leases.Held:
        """Return a claim it holds, which is its no longer."""
        return self.world.held(self.lease, self.pool_id, self.held.pop(task_id))

    def finish(self, task_id: str) -> None:
        """End a task."""
        assert self.world.run(self.world.finish_call(self.holder(task_id))) == "ok"

    def die(self, cause: str = "node") -> None:
        """Lose the group, and have its claims taken back."""
        self.world.reap(self.lease, cause=cause)
        self.held.clear()


def leftovers(world: World) -> list[str]:
    """Return the keys about resources that there are."""
    patterns = [keys.key(name, prefix=world.store.prefix, of="*") for name in ("used", "reserved", "needing")]
    return [one for pattern in patterns for one in world.redis.scan_iter(pattern)]
