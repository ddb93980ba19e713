"""What the tests of the store share: pools without agents, tasks without meaning, and where every message is."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskResult, TaskSpec
from mahavishnu_pools.store import keys, leases, pools, tasks
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.client import SyncStore

T = TypeVar("T")

RESULT_TTL = 60.0

LEAST_LOADED = Choice("least_loaded")


class World:
    """One namespace of a real server."""

    def __init__(self, url: str, namespace: str) -> None:
        self.store = SyncStore(url, namespace=namespace)
        self.redis = self.store.redis

    def run(self, call: Call[T]) -> T:
        return self.store.run(call)

    def key(self, name: str, of: str = "") -> str:
        return keys.key(name, prefix=self.store.prefix, of=of)

    # ── pools ──

    def pool(self, name: str | None = None, *, workers: int = 1, status: PoolStatus = PoolStatus.RUNNING) -> str:
        pool_id = names.new_pool_id()
        config = PoolConfig(name=name or pool_id.replace("_", "-"), max_workers=1000, min_workers=workers)
        assert self.run(pools.create_pool(pool_id, config)) is None
        self.run(pools.change_pool(pool_id, status=status))
        return pool_id

    def read_pool(self, pool: str) -> pools.PoolRecord:
        return self.run(pools.read_pools(pool)).one(pool)

    # ── tasks ──

    def envelopes(self, count: int = 1, **fields: Any) -> list[tasks.Envelope]:
        spec = TaskSpec(**{"prompt": "x", **fields})
        return [envelope(spec, task_id=names.new_task_id(), max_bytes=100_000) for _ in range(count)]

    def submit(
        self, count: int = 1, *, choice: Choice = LEAST_LOADED, batch: str | None = None, **fields: Any
    ) -> list[str]:
        sent = self.run(tasks.submit(self.envelopes(count, **fields), choice, client="c", batch=batch))
        return [one.task_id for one in sent]

    def to(self, pool_id: str, count: int = 1, **fields: Any) -> list[str]:
        return self.submit(count, choice=Choice("pool", pool=pool_id), **fields)

    def task(self, task_id: str) -> TaskResult:
        found = self.run(tasks.read_tasks([task_id]))[0]
        assert found is not None
        return found

    def push_raw(self, pool_id: str, text: str, *, bucket: int = 0) -> None:
        """Put a message as a stock producer does."""
        separator = names.PRIORITY_SEPARATOR + str(bucket) if bucket else ""
        self.redis.lpush(self.key("queue", pool_id) + separator, text)

    def stock_message(self, task_id: str, **headers: Any) -> str:
        head = {"id": task_id, "task": "user.task", "eta": None, "expires": None, **headers}
        return json.dumps({"body": "W10=", "headers": head, "properties": {"priority": 0}})

    # ── delivery ──

    def lease(self, pool_id: str, *, node: str = "n") -> str:
        lease = "lease-" + secrets.token_hex(4)
        call = leases.open_lease(lease, pool_id=pool_id, node=node, pid=1, started=1.0, ttl=600)
        assert self.run(call)
        return lease

    def claim(
        self, lease: str, pool_id: str, most: int = 1, *, request: str | None = None, alone: bool = False
    ) -> list[leases.Claim]:
        found = self.run(self.claim_call(lease, pool_id, most, request=request, alone=alone))
        assert found is not None
        return list(found.claims)

    def claim_call(
        self, lease: str, pool_id: str, most: int = 1, *, request: str | None = None, alone: bool = False
    ) -> Call[leases.Claimed | None]:
        asked = request or secrets.token_hex(8)
        by = leases.Claimant(lease, pool_id, f"{pool_id}@n", alone=alone)
        return leases.claim(by, most=most, request=asked, result_ttl=RESULT_TTL)

    def held(self, lease: str, pool_id: str, claim: leases.Claim) -> leases.Held:
        return leases.Held(lease, claim.number, claim.task_id, pool_id)

    def finish_call(self, held: leases.Held, *, status: str = "completed", output: str = "done") -> Call[leases.Ending]:
        outcome = {"status": status, "output": output}
        celery = "SUCCESS" if status == "completed" else "FAILURE"
        meta = {"status": celery, "result": outcome, "task_id": held.task_id, "traceback": None}
        return leases.finish(
            held, status=status, outcome=json.dumps(outcome), meta=json.dumps(meta), result_ttl=RESULT_TTL
        )

    def finished(self, pool_id: str, count: int, *, status: str = "completed", **fields: Any) -> list[str]:
        """Have so many tasks run in a pool and end, and return their ids."""
        fields = {"prompt": "Fix the parser", **fields}
        ids = [one for start in range(0, count, 100) for one in self.to(pool_id, min(count - start, 100), **fields)]
        lease = self.lease(pool_id)
        while claims := self.claim(lease, pool_id, 100):
            calls = [self.finish_call(self.held(lease, pool_id, claim), status=status) for claim in claims]
            self.store.run_many(calls)
        return ids

    def reap(self, lease: str, *, cause: Any = "loss") -> leases.Reaped:
        total = leases.Reaped(0, 0, 0, 0)
        while True:
            one = self.run(leases.reap(lease, cause=cause, result_ttl=RESULT_TTL))
            total = replace(
                one,
                requeued=total.requeued + one.requeued,
                failed=total.failed + one.failed,
                dead=total.dead + one.dead,
            )
            if not one.left:
                return total

    # ── truth ──

    def places(self, pool_ids: Sequence[str], lease_ids: Sequence[str] = ()) -> Counter[str]:
        """Return how often each task's message is anywhere: in a queue, waiting to be due or alone, or claimed."""
        queued, apart = self.redis.pipeline(), self.redis.pipeline()
        for pool_id in pool_ids:
            queue = self.key("queue", pool_id)
            for bucket in range(10):
                queued.lrange(queue + (names.PRIORITY_SEPARATOR + str(bucket) if bucket else ""), 0, -1)
            apart.zrange(self.key("delayed", pool_id), 0, -1)
            apart.lrange(self.key("suspects", pool_id), 0, -1)
        for lease in lease_ids:
            apart.hvals(self.key("claims", lease))
        found = Counter(json.loads(text)["headers"]["id"] for texts in queued.execute() for text in texts)
        found.update(member.split("\n", 1)[0] for members in apart.execute() for member in members)
        return found

    def loads(self) -> dict[str, float]:
        """Return the load index: pool id to load."""
        members = self.redis.zrange(self.key("load"), 0, -1, withscores=True)
        return {member.split(":", 1)[1]: score for member, score in members}

    def index_is_true(self) -> bool:
        return self.run(pools.reindex()) == 0
