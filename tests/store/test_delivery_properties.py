"""Whatever happens in whatever order: no task is lost or doubled, outcomes are final, the load index is the truth."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TERMINAL_STATUSES
from mahavishnu_pools.store import leases, moves, tasks
from mahavishnu_pools.store.calls import Call
from tests.store.world import RESULT_TTL, World

STRATEGIES = ("least_loaded", "round_robin", "random", "affinity")


class Truth(RuleBasedStateMachine):
    """What must hold after every step, on three pools."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.world = World(url, f"prop{secrets.token_hex(6)}")
        self.sent: set[str] = set()
        self.outcomes: dict[str, str] = {}
        self.batches: dict[str, list[str]] = {}
        self.leases: dict[str, str] = {}
        self.pools: list[str] = []

    def teardown(self) -> None:
        world = self.world
        for start in range(0, 10**9, 1000):
            some = [key for _, key in zip(range(1000), world.redis.scan_iter(world.store.prefix + "*"), strict=False)]
            if not some or start > 10_000:
                break
            world.redis.delete(*some)
        world.store.close()

    @invariant()
    def no_task_is_lost_or_doubled(self) -> None:
        if not self.sent:
            return
        ids = sorted(self.sent)
        places = self.world.places(self.pools, list(self.leases))
        for task_id, result in zip(ids, self.world.run(tasks.read_tasks(ids)), strict=True):
            assert result is not None
            if result.status not in TERMINAL_STATUSES:
                assert places[task_id] == 1, (task_id, result.status, places)
            else:
                # One cancelled while it waited leaves its message to the next claim, which drops it.
                assert places[task_id] <= (1 if result.status == "cancelled" else 0)

    @invariant()
    def outcomes_are_final(self) -> None:
        ids = sorted(self.outcomes)
        for task_id, result in zip(ids, self.world.run(tasks.read_tasks(ids)) if ids else [], strict=True):
            assert result is not None
            assert result.output == self.outcomes[task_id]

    @invariant()
    def outcomes_are_counted_once(self) -> None:
        if not self.sent:
            return
        found = self.world.run(tasks.read_tasks(sorted(self.sent)))
        ended = Counter(one.status.value for one in found if one is not None and one.status in TERMINAL_STATUSES)
        counted: Counter[str] = Counter()
        for pool in self.pools:
            counted.update(self.world.read_pool(pool).counts)
        assert +counted == ended
        assert self.world.redis.xlen(self.world.key("outbox")) == ended.total()

    @invariant()
    def batches_count_their_outcomes_once(self) -> None:
        for batch, ids in self.batches.items():
            found = self.world.run(tasks.read_tasks(ids))
            ended = [one.status == "completed" for one in found if one is not None and one.status in TERMINAL_STATUSES]
            counts = self.world.redis.hmget(self.world.key("batch", batch), "total", "successful", "failed")
            assert [int(one or 0) for one in counts] == [len(ids), sum(ended), len(ended) - sum(ended)]

    @invariant()
    def the_load_index_is_the_truth(self) -> None:
        assert self.world.index_is_true()


class Delivery(Truth):
    """Producers, workers and reapers on three pools; every call may be sent twice, as after a lost reply."""

    held = Bundle("held")

    def _run(self, call: Call[Any], *, twice: bool) -> Any:
        first = self.world.run(call)
        if twice:
            before = self._state()
            again = self.world.run(call)
            assert self._state() == before
            for ended, repeated in zip(first, again, strict=True) if isinstance(first, list) else ((first, again),):
                if ended == "ok":
                    assert repeated == "again"
        return first

    def _state(self) -> dict[str, Any]:
        """Return every key that matters with its content."""
        world = self.world
        found = [key for key in world.redis.scan_iter(world.store.prefix + "*", count=1000) if ":bell:" not in key]
        types, contents = world.redis.pipeline(), world.redis.pipeline()
        # DUMP would show the order of a hash's fields too, which means nothing.
        readers: dict[str, Callable[[str], Any]] = {
            "hash": contents.hgetall,
            "set": contents.smembers,
            "zset": lambda name: contents.zrange(name, 0, -1, withscores=True),
            "list": lambda name: contents.lrange(name, 0, -1),
            "string": contents.get,
            "stream": contents.xrange,
        }
        for key in found:
            types.type(key)
        for key, kind in zip(found, types.execute(), strict=True):
            readers[kind](key)
        return dict(zip(found, contents.execute(), strict=True))

    @initialize()
    def make_pools(self) -> None:
        self.pools = [self.world.pool(f"p{i}", workers=i + 1) for i in range(3)]

    @rule(
        count=st.integers(1, 4),
        strategy=st.sampled_from(STRATEGIES),
        priority=st.integers(0, 9),
        lost=st.sampled_from(["requeue", "fail"]),
        seed=st.floats(0, 0.999),
        batch=st.sampled_from([None, "some", "others"]),
        twice=st.booleans(),
    )
    def submit(
        self, count: int, strategy: str, priority: int, lost: str, seed: float, batch: str | None, twice: bool
    ) -> None:
        envelopes = self.world.envelopes(count, priority=priority, on_worker_lost=lost)
        choice = Choice(strategy, affinity=f"k{priority}", random=seed)
        self._run(tasks.submit(envelopes, choice, client="c", batch=batch), twice=twice)
        self.sent.update(one.task_id for one in envelopes)
        if batch is not None:
            self.batches.setdefault(batch, []).extend(one.task_id for one in envelopes)

    @rule(
        target=held,
        pool=st.integers(0, 2),
        most=st.integers(1, 3),
        fresh=st.booleans(),
        twice=st.booleans(),
        alone=st.booleans(),
    )
    def claim(self, pool: int, most: int, fresh: bool, twice: bool, alone: bool) -> tuple[leases.Held, ...]:
        pool_id = self.pools[pool]
        mine = [lease for lease, owner in self.leases.items() if owner == pool_id]
        if fresh or not mine:
            lease = self.world.lease(pool_id)
            self.leases[lease] = pool_id
        else:
            lease = mine[0]
        claimed = self._run(self.world.claim_call(lease, pool_id, most, alone=alone), twice=twice)
        assert claimed is not None
        return tuple(self.world.held(lease, pool_id, claim) for claim in claimed.claims)

    @rule(some=held, status=st.sampled_from(["completed", "failed", "timeout", "cancelled"]), twice=st.booleans())
    def finish(self, some: tuple[leases.Held, ...], status: str, twice: bool) -> None:
        for one in some:
            output = secrets.token_hex(4)
            ending = self._run(self.world.finish_call(one, status=status, output=output), twice=twice)
            if ending == "ok":
                assert one.task_id not in self.outcomes
                self.outcomes[one.task_id] = output

    @rule(some=held, twice=st.booleans())
    def retry(self, some: tuple[leases.Held, ...], twice: bool) -> None:
        for one in some:
            self._run(leases.retry(one, outcome='{"error": "busy"}', delay=0), twice=twice)

    @rule(some=held, twice=st.booleans())
    def hand_back(self, some: tuple[leases.Held, ...], twice: bool) -> None:
        for one in some:
            self._run(leases.hand_back(one), twice=twice)

    @rule(groups=st.lists(held, min_size=1, max_size=4), seed=st.integers(0, 2**32), twice=st.booleans())
    def end_together(self, groups: list[tuple[leases.Held, ...]], seed: int, twice: bool) -> None:
        """End claims of several claim calls at once, in all ways; some are ended already, or in the same script."""
        chance = random.Random(seed)
        calls, outputs = [], []
        for one in (one for some in groups for one in some):
            output = secrets.token_hex(4)
            way = chance.choice(("completed", "failed", "retry", "hand_back"))
            if way == "retry":
                calls.append(leases.retry(one, outcome='{"error": "busy"}', delay=0, result_ttl=RESULT_TTL))
            elif way == "hand_back":
                calls.append(leases.hand_back(one, result_ttl=RESULT_TTL))
            else:
                calls.append(self.world.finish_call(one, status=way, output=output))
            outputs.append((one.task_id, output if way in ("completed", "failed") else None))
        endings = [ending for script in leases.together(calls) for ending in self._run(script, twice=twice)]
        for (task_id, result), ending in zip(outputs, endings, strict=True):
            if ending == "ok" and result is not None:
                assert task_id not in self.outcomes
                self.outcomes[task_id] = result

    @rule(which=st.integers(0, 50), cause=st.sampled_from(["loss", "kill", "node"]))
    def reap(self, which: int, cause: str) -> None:
        if self.leases:
            lease = sorted(self.leases)[which % len(self.leases)]
            self.world.reap(lease, cause=cause)
            del self.leases[lease]

    @rule(
        way=st.permutations(range(3)),
        place=st.sampled_from(moves.PLACES),
        window=st.integers(-1, 6),
        even=st.booleans(),
        twice=st.booleans(),
    )
    def move(self, way: list[int], place: str, window: int, even: bool, twice: bool) -> None:
        source, target, _ = (self.pools[number] for number in way)
        lots = {f"prompt\n\n\n{home}": 3 for home in ("", *self.pools)}
        order = moves.MoveOrder(source, target, place, window, lots, even=even)
        self._run(moves.move(order, request=secrets.token_hex(6)), twice=twice)

    @rule(which=st.integers(0, 1000), twice=st.booleans())
    def cancel(self, which: int, twice: bool) -> None:
        if self.sent:
            task_id = sorted(self.sent)[which % len(self.sent)]
            self._run(tasks.cancel(task_id, reason="no", result_ttl=60), twice=twice)


def test_nothing_is_lost_doubled_or_miscounted(redis_url: str) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: Delivery(redis_url),
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
