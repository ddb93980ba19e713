"""The autoscaler's decisions, on a simulated pool: a step, a ramp and bursts of load, and hands on the scale."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from mahavishnu_pools.pools.autoscaling import Autoscaler, Decision, Limits, Rules
from mahavishnu_pools.schemas.scaling import Sample

RULES = Rules(target_wait=2.0, quiet=60.0, hold=600.0)


@dataclass
class SimulatedPool:
    """A queue and workers in simulated time; the autoscaler looks once a second, its decision holds 0.3 s later."""

    limits: Limits
    length: Callable[[], float]
    rules: Rules = RULES
    workers: int = 0
    now: float = 0.0
    queue: deque[float] = field(default_factory=deque)
    running: list[tuple[float, float]] = field(default_factory=list)
    ended: int = 0
    run_seconds: float = 0.0
    chosen_at: float | None = None
    waits: list[tuple[float, float]] = field(default_factory=list)
    decisions: list[tuple[float, Decision]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workers = self.workers or self.limits.least
        self.scaler = Autoscaler(self.rules)
        self.pending: tuple[float, int] | None = None

    def run(self, arrivals: Iterator[float], *, until: float) -> SimulatedPool:
        """Play arrivals (times in order) and one look a second."""
        coming = next(arrivals, None)
        look = self.now
        while self.now < until:
            ends = self.running[0][0] if self.running else until
            event = min(coming if coming is not None else until, look, ends, self.pending[0] if self.pending else until)
            self.now = max(self.now, event)
            if self.pending and self.pending[0] <= self.now:
                self.workers, self.pending = self.pending[1], None
            while self.running and self.running[0][0] <= self.now:
                end, start = heapq.heappop(self.running)
                self.ended, self.run_seconds = self.ended + 1, self.run_seconds + end - start
            while coming is not None and coming <= self.now:
                self.queue.append(coming)
                coming = next(arrivals, None)
            self._start()
            if look <= self.now:
                self._look()
                look += 1.0
        return self

    def _start(self) -> None:
        while self.queue and len(self.running) < self.workers:
            came = self.queue.popleft()
            self.waits.append((self.now, self.now - came))
            heapq.heappush(self.running, (self.now + self.length(), self.now))

    def _look(self) -> None:
        waited = self.now - self.queue[0] if self.queue else 0.0
        sample = Sample(
            self.now,
            self.workers,
            len(self.queue),
            len(self.running),
            waited,
            self.ended,
            self.run_seconds,
            self.chosen_at,
        )
        decision = self.scaler.look(sample, self.limits)
        if decision is not None:
            self.decisions.append((self.now, decision))
            self.pending = (self.now + 0.3, decision.workers)

    def longest_wait(self, *, since: float) -> float:
        return max((wait for at, wait in self.waits if at >= since), default=0.0)

    def flaps(self) -> int:
        """Return how often the pool grew after it had shrunk."""
        sizes = [self.limits.least, *(decision.workers for _, decision in self.decisions)]
        grew = [after > before for before, after in itertools.pairwise(sizes) if after != before]
        return sum(now and not before for before, now in itertools.pairwise(grew))


def poisson(rate: Callable[[float], float], *, seed: int, start: float = 0.0) -> Iterator[float]:
    """Arrivals at a rate that changes with time, at most 1,000 a second (thinning)."""
    source, at = random.Random(seed), start
    while True:
        at += source.expovariate(1000.0)
        if source.random() * 1000.0 < rate(at):
            yield at


def lengths(mean: float, *, seed: int) -> Callable[[], float]:
    source = random.Random(seed)
    return lambda: source.expovariate(1 / mean)


@pytest.mark.parametrize("mean", [0.02, 0.2, 1.0, 5.0])
@pytest.mark.parametrize("seed", range(5))
def test_ten_seconds_after_a_step_of_load_the_wait_is_under_its_target(mean: float, seed: int) -> None:
    pool = SimulatedPool(Limits(1, 100), lengths(mean, seed=seed))
    erlangs = 12.0

    pool.run(poisson(lambda at: 0.0 if at < 20 else erlangs / mean, seed=seed), until=120)

    assert pool.longest_wait(since=30) < RULES.target_wait
    assert pool.workers <= 100
    assert pool.flaps() == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_ramp_is_followed_without_waiting_and_without_turning_back(seed: int) -> None:
    pool = SimulatedPool(Limits(1, 60), lengths(0.5, seed=seed))

    pool.run(poisson(lambda at: min(60.0, at / 2), seed=seed), until=180)

    assert pool.longest_wait(since=10) < RULES.target_wait
    assert pool.flaps() == 0


@pytest.mark.parametrize("seed", range(5))
def test_bursts_every_half_minute_find_the_workers_of_the_last_one(seed: int) -> None:
    pool = SimulatedPool(Limits(1, 50), lengths(0.5, seed=seed))

    pool.run(poisson(lambda at: 40.0 if at % 30 < 5 else 0.5, seed=seed), until=300)

    assert pool.longest_wait(since=60) < RULES.target_wait
    assert pool.flaps() <= 1  # a burst may be larger than all of the last minute


def test_a_pool_shrinks_to_its_minimum_after_a_quiet_time_and_not_before() -> None:
    pool = SimulatedPool(Limits(2, 20), lambda: 1.0)
    pool.run(iter([5.0] * 20), until=60)
    assert pool.workers == 20

    pool.run(iter(()), until=200)

    assert pool.workers == 2
    shrunk = [at for at, decision in pool.decisions if decision.workers == 2]
    assert len(shrunk) == 1
    assert 66 <= shrunk[0] <= 72
    assert pool.decisions[-1][1].reason == "at most 2 were needed in the last 60 s"


def test_a_steady_flow_of_short_tasks_keeps_its_workers_although_the_queue_looks_empty() -> None:
    # Ten arrivals at the same instant, each short: most looks find nothing waiting and nothing running.
    pool = SimulatedPool(Limits(1, 20), lambda: 0.5, workers=10)

    pool.run(iter([second + 0.25 for second in range(200) for _ in range(10)]), until=200)

    assert pool.workers >= 5
    assert pool.longest_wait(since=0) < RULES.target_wait
    assert pool.flaps() == 0


def test_there_are_never_more_workers_than_tasks() -> None:
    pool = SimulatedPool(Limits(1, 100), lambda: 60.0)

    pool.run(iter([1.0, 1.1, 1.2, 1.3]), until=50)

    assert pool.workers == 4


def test_tasks_that_suddenly_take_long_do_not_hide_behind_short_ones() -> None:
    taken = iter([0.01] * 2000)
    pool = SimulatedPool(Limits(1, 64), lambda: next(taken, 120.0))

    pool.run(iter([*(at / 20 for at in range(2000)), *[110.0] * 40]), until=140)

    assert pool.workers >= 40
    assert not pool.queue


def test_a_number_chosen_by_hand_stays_for_a_while() -> None:
    pool = SimulatedPool(Limits(1, 50), lambda: 5.0, workers=3, chosen_at=0.0)
    pool.run(iter([1.0] * 200), until=300)
    assert pool.decisions == []

    pool.run(iter([590.0] * 100), until=640)

    assert pool.workers > 3
    assert min(at for at, _ in pool.decisions) >= RULES.hold


def test_a_pool_outside_new_limits_is_brought_inside() -> None:
    scaler = Autoscaler(RULES)
    sample = Sample(at=0.0, workers=9, queued=0, running=9, waited=0.0, ended=0, run_seconds=0.0)

    decision = scaler.look(sample, Limits(1, 4))

    assert decision == Decision(4, "9 is outside 1 to 4")


def test_figures_that_begin_anew_are_no_negative_flow() -> None:
    scaler = Autoscaler(RULES)
    for at in range(5):
        scaler.look(Sample(float(at), 2, 0, 2, 0.0, 1000 + at, 500.0), Limits(1, 10))

    assert scaler.look(Sample(5.0, 2, 4, 2, 0.5, 0, 0.0), Limits(1, 10)) == Decision(
        6, "4 waiting, 2 running: 6 workers keep the wait under 2 s"
    )


def test_a_clock_that_is_put_back_keeps_no_workers_for_ever() -> None:
    scaler, limits = Autoscaler(RULES), Limits(1, 10)
    scaler.look(Sample(90_000.0, 8, 0, 8, 0.0, 0, 0.0), limits)

    decisions = [scaler.look(Sample(1000.0 + at, 8, 0, 1, 0.0, 0, 0.0), limits) for at in range(62)]

    assert decisions[-1] == Decision(1, "at most 1 were needed in the last 60 s")
    assert len(scaler._needs) <= 62
    chosen = Sample(1100.0, 8, 0, 1, 0.0, 0, 0.0, chosen_at=90_000.0)
    assert scaler.look(chosen, limits) == decisions[-1]


def test_a_pool_that_may_not_start_more_gets_no_workers_that_would_have_nothing_to_do() -> None:
    scaler = Autoscaler(RULES)
    for at in range(10):
        scaler.look(Sample(float(at), 4, 500, 4, 9.0, at, 2.0 * at, rate=1.5), Limits(1, 100))

    decision = scaler.look(Sample(10.0, 4, 500, 4, 9.0, 10, 20.0, rate=1.5), Limits(1, 100))

    assert decision is not None
    assert decision.workers == 6  # 4 that run, and those that 1.5 starts a second bring until the next look
