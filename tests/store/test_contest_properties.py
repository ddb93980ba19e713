"""Contests under random events: what wins is what the order of the outcomes says, and nothing goes on after that."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator

import pytest

from mahavishnu_pools.schemas.contest import Contest, ContestKind
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.store import batches, leases, tasks
from mahavishnu_pools.store.contests import Opening, submit_contest
from tests.store.world import RESULT_TTL, World

ANSWERS = ("yes", " YES ", "no")


class Story:
    """Some pools, their worker groups, and a contest among other tasks."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.pools = [world.pool() for _ in range(3)]
        self.leases = {world.lease(pool): pool for pool in self.pools}
        self.held: dict[str, leases.Held] = {}
        self.ended: list[tuple[str, str, str]] = []
        self.cancelled: list[str] = []
        count = rng.randint(2, 6)
        self.kind = rng.choice([ContestKind.RACE, ContestKind.QUORUM])
        self.opening = Opening(
            self.kind,
            1 if self.kind is ContestKind.RACE else rng.randint(1, count),
            self.kind is ContestKind.QUORUM and rng.random() < 0.7,
        )
        targets = tuple(rng.choice(self.pools) for _ in range(count))
        call = submit_contest(
            world.envelopes(count), Choice("pool", targets=targets), batch="b", opening=self.opening, client="c"
        )
        self.ids = [one.task_id for one in world.run(call)]
        assert [one.task_id for one in world.run(call)] == self.ids
        self.others = [one for pool in self.pools for one in world.to(pool, 2)]

    def contest(self) -> Contest:
        found = self.world.run(batches.read_batch("b"))
        assert found is not None
        assert found.contest is not None
        return found.contest

    def step(self) -> None:
        lease = self.rng.choice(list(self.leases))
        pool = self.leases[lease]
        what = self.rng.choice(["claim", "claim", "end", "end", "end", "retry", "back", "reap", "cancel"])
        if what == "claim":
            self.claim(lease, pool, alone=self.rng.random() < 0.3)
        elif what == "reap":
            self.world.reap(lease, cause=self.rng.choice(["node", "kill"]))
            self.held = {task: held for task, held in self.held.items() if held.lease != lease}
            del self.leases[lease]
            self.leases[self.world.lease(pool)] = pool
        elif what == "cancel" and self.rng.random() < 0.3:
            self.cancelled.append(self.rng.choice(self.ids))
            self.world.run(tasks.cancel(self.cancelled[-1], reason="no", result_ttl=RESULT_TTL))
        elif self.held:
            task = self.rng.choice(list(self.held))
            if what == "end":
                self.end(task, self.rng.choice(["completed", "completed", "failed", "timeout"]))
            elif what == "retry":
                self.world.run(leases.retry(self.held.pop(task), outcome='{"error": "x"}', delay=0))
            elif what == "back":
                self.world.run(leases.hand_back(self.held.pop(task)))

    def claim(self, lease: str, pool: str, *, alone: bool = False) -> None:
        decided = self.contest().decided_at is not None
        claims = self.world.claim(lease, pool, self.rng.randint(1, 4), alone=alone)
        assert not decided or not {one.task_id for one in claims} & set(self.ids)
        self.held |= {one.task_id: self.world.held(lease, pool, one) for one in claims}

    def end(self, task: str, status: str) -> None:
        answer = self.rng.choice(ANSWERS)
        outcome = {"status": status, "output": answer}
        meta = json.dumps({"status": "SUCCESS", "result": outcome, "task_id": task, "traceback": None})
        call = leases.finish(
            self.held.pop(task), status=status, outcome=json.dumps(outcome), meta=meta, result_ttl=RESULT_TTL
        )
        if self.world.run(call) == "ok" and task in self.ids:
            self.ended.append((task, status, answer))

    def finish(self) -> None:
        """Have everything end: what was asked to end does, what waits runs."""
        for task in self.held_or_claimed():
            asked = self.world.redis.hexists(self.world.key("task", task), "cancel")
            self.end(task, "cancelled" if asked else "completed")

    def held_or_claimed(self) -> Iterator[str]:
        """Yield what runs, and what is claimed next, until nothing is left."""
        while True:
            for lease, pool in self.leases.items():
                self.claim(lease, pool)
                if not self.held:
                    self.claim(lease, pool, alone=True)
            if not self.held:
                return
            yield from list(self.held)

    def expected(self) -> tuple[str, ...]:
        """Return who must have won, of the outcomes in their order."""
        votes: dict[str, list[str]] = defaultdict(list)
        for task, status, answer in self.ended:
            if status == "completed":
                vote = votes[answer.strip().lower() if self.opening.agree else ""]
                vote.append(task)
                if len(vote) == self.opening.needed:
                    return tuple(vote)
        return ()


@pytest.mark.parametrize("seed", range(30))
def test_the_outcomes_in_their_order_say_who_wins(world: World, seed: int) -> None:
    story = Story(world, random.Random(seed))

    for _ in range(25):
        story.step()
    story.finish()

    found = story.contest()
    assert found.decided_at is not None
    assert found.winners == story.expected()
    ended = [world.task(one) for one in story.ids]
    assert all(one.done for one in ended)
    assert all(world.task(one).done for one in story.others)
    lost = [one for one in ended if one.status is TaskStatus.CANCELLED and one.task_id not in story.cancelled]
    assert {one.error for one in lost} <= {found.reason}
    batch = world.run(batches.read_batch("b"))
    assert batch is not None
    assert batch.successful + batch.failed == batch.total == len(story.ids)
    assert world.places(story.pools, list(story.leases)) == {}
    assert world.index_is_true()
