"""A week's worth of tasks leaves the memory flat: what is over expires, and nothing else is left of it.

A retention period of a day is scaled down to seconds. In each period a fixed number of tasks of every kind is
submitted, claimed and ended with output and logs; then their end is awaited, and the memory that is used is compared.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.store import batches, logs, tasks
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.leases import Claim, Held, finish
from tests.fixtures.valkey import PrivateValkey
from tests.store.world import World
from tests.waiting import eventually

#: Tasks of one submit, claimed at once, and of one batch.
CHUNK = 100

#: Memory may differ by so many bytes: buffers of clients and allocator, not data. The records of a period take more
#: than six times as much.
SLACK = 600_000

#: Keys with a longer lifetime than the retention: leases and affinity.
LONGER = 10

STATUSES = ("completed", "completed", "completed", "failed", "timeout")


class Week:
    """Producers and workers of one server; ``retention`` (seconds) stands for ``result_expires``."""

    def __init__(self, server: PrivateValkey, *, retention: float) -> None:
        self.world = World(server.url, "week")
        self.world.store.outbox = None  # it is bounded by a number of entries, which a million tasks reach only late
        self.pools = [self.world.pool(f"p{n}", workers=50) for n in range(3)]
        self._leases = {pool: self.world.lease(pool) for pool in self.pools}
        self._retention = retention

    def period(self, records: int) -> None:
        """Have so many tasks submitted and ended."""
        for _ in range(records // CHUNK):
            self._submit()
            for pool, lease in self._leases.items():
                while some := self.world.claim(lease, pool, CHUNK):
                    self.world.store.run_many(list(self._ends(pool, lease, some)))

    def _submit(self) -> None:
        mark = secrets.token_hex(6)
        envelopes = [
            self.world.envelopes(1, prompt="x" * 200, idempotency_key=f"{mark}-{n}", max_retries=n % 3)[0]
            for n in range(CHUNK)
        ]
        choice = Choice("affinity", affinity=f"user-{mark[:1]}") if mark[0] < "4" else Choice("least_loaded")
        self.world.run(tasks.submit(envelopes, choice, client="c", batch=f"batch_{mark}", counted=choice.strategy))
        self.world.run(batches.seal(f"batch_{mark}", follower=None, client="c", result_ttl=self._retention))

    def _ends(self, pool: str, lease: str, claims: list[Claim]) -> Iterator[Call[Any]]:
        for number, claim in enumerate(claims):
            if number % 5 == 0:
                yield logs.write_log(claim.task_id, [("stdout", "line\n" * 20)], ttl=self._retention)
            status = STATUSES[number % len(STATUSES)]
            outcome = {"status": status, "output": "y" * 300, "error": None if status == "completed" else "why"}
            meta = {"status": "SUCCESS" if status == "completed" else "FAILURE", "result": outcome, "traceback": None}
            yield finish(
                Held(lease, claim.number, claim.task_id, pool),
                status=status,
                outcome=json.dumps(outcome),
                meta=json.dumps({**meta, "task_id": claim.task_id}),
                result_ttl=self._retention,
            )

    def mortal_keys(self) -> int:
        return int(self.world.redis.info("keyspace")["db0"]["expires"])

    def kept_keys(self) -> int:
        return int(self.world.redis.dbsize()) - self.mortal_keys()

    def memory(self) -> int:
        self.world.redis.delete(self.world.key("events", "tasks"))  # it is bounded in the same way as the outbox
        self.world.redis.memory_purge()
        return int(self.world.redis.info("memory")["used_memory_dataset"])  # without the buffers of clients


def run_week(week: Week, *, periods: int, records: int, within: float) -> tuple[list[int], list[int]]:
    """Run the periods; returns the memory used and the keys kept after the end of each one's retention."""
    memory, keys = [], []
    week.period(records)  # fills what is bounded: the lists of recent tasks, tables that grow in steps
    for _ in range(periods):
        eventually(week.mortal_keys, until=lambda now: now <= LONGER, within=within)
        memory.append(week.memory())
        keys.append(week.kept_keys())
        week.period(records)
    return memory, keys


def assert_flat(memory: list[int], keys: list[int]) -> None:
    print("used_memory after each period:", memory)
    assert len(set(keys)) == 1
    assert max(memory) - memory[0] < SLACK
    assert memory[-1] - memory[len(memory) // 2] < SLACK


@pytest.fixture
def server(own_valkey_server: PrivateValkey) -> PrivateValkey:
    world = World(own_valkey_server.url, "week")
    world.redis.config_set("appendonly", "no")
    world.store.close()
    return own_valkey_server


def test_ten_thousand_tasks_over_several_retention_periods_leave_the_memory_flat(server: PrivateValkey) -> None:
    week = Week(server, retention=0.7)

    memory, keys = run_week(week, periods=3, records=2500, within=60)

    assert_flat(memory, keys)
    week.world.store.close()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_tasks_over_fifty_retention_periods_leave_the_memory_flat(server: PrivateValkey) -> None:
    week = Week(server, retention=5)

    memory, keys = run_week(week, periods=49, records=20_000, within=60)

    assert_flat(memory, keys)
    week.world.store.close()
