"""Runs a workload under faults: ``python -m tests.chaos --tasks 2000 --faults 50 --seed 7``."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mahavishnu_pools.store.client import SyncStore
from tests.chaos.faults import Faults
from tests.chaos.history import History, violations
from tests.chaos.site import ChaosSite
from tests.chaos.workload import Producer, read_diary, read_history, unfinished

#: Seconds within which tasks must start again in every pool after a fault.
RECOVERY_LIMIT = 10.0

#: Pools of a run; the last one has one worker and shows the order.
POOLS = 4

#: Bytes at the end of the diary in which the first start after a fault is looked for.
TAIL = 20_000

#: Seconds after which a run is given up.
PATIENCE = 90.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How large a run is. ``pause`` (seconds) lies between two faults at least."""

    tasks: int
    faults: int
    seed: int
    pause: float = 0.5


@dataclass(slots=True)
class Report:
    """What came out of a run. ``recoveries`` are (fault, seconds until tasks started again)."""

    plan: Plan
    history: History | None = None
    broken: list[str] = field(default_factory=list)
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0

    def text(self) -> str:
        """Return the report for people."""
        assert self.history is not None
        attempts = Counter(one.attempt for one in self.history.outcomes.values())
        statuses = Counter(one.status for one in self.history.outcomes.values())
        times = sorted(seconds for _, seconds in self.recoveries)
        head = f"seed {self.plan.seed}: {len(self.history.planned)} tasks under {len(self.recoveries)} faults"
        lines = [
            f"{head} in {self.seconds:.0f} s",
            "faults: " + ", ".join(f"{n} × {kind}" for kind, n in Counter(kind for kind, _ in self.recoveries).items()),
            "outcomes: " + ", ".join(f"{n} {status}" for status, n in sorted(statuses.items())),
            "attempts: " + ", ".join(f"{n} tasks with {number}" for number, n in sorted(attempts.items())),
            f"calls a producer had to repeat: {self.refused}",
        ]
        if times:
            worst = max(self.recoveries, key=lambda one: one[1])
            lines.append(
                f"tasks start again after: p50 {statistics.median(times):.2f} s, max {times[-1]:.2f} s ({worst[0]})"
            )
        lines += [f"BROKEN: {one}" for one in self.broken] or ["no rule was broken"]
        return "\n".join(lines)


def run(plan: Plan, binary: Path, directory: Path, *, say: Callable[[str], None] = lambda text: None) -> Report:
    """Run a plan on a site of its own below ``directory`` and return what came out."""
    rng, report, began = random.Random(plan.seed), Report(plan), time.monotonic()
    site = ChaosSite(binary, directory)
    try:
        for number in range(POOLS - 1):
            site.pool(f"pool{number}", workers=4)
        lane = site.pool("lane", workers=1)
        producer = Producer(SyncStore(site.url, timeout=2), lane, site.diary, random.Random(plan.seed))
        thread = threading.Thread(target=producer.run, args=(plan.tasks,), daemon=True)
        thread.start()
        _torture(site, producer, rng, report, say)
        producer.enough.set()
        _finish(plan, site, producer, thread)
        report.history = read_history(site.direct, producer.planned, site.diary)
        report.broken += violations(report.history)
        report.refused = producer.refused
        producer.store.close()
    except AssertionError as exc:
        raise AssertionError(f"{exc}\nseed {plan.seed}\n{site.log_tail()}") from exc
    finally:
        site.end()
    report.seconds = time.monotonic() - began
    return report


def _torture(
    site: ChaosSite, producer: Producer, rng: random.Random, report: Report, say: Callable[[str], None]
) -> None:
    faults = Faults(site, rng).kinds()
    order = [list(faults)[number % len(faults)] for number in range(report.plan.faults)]
    rng.shuffle(order)
    for kind in order:
        threading.Event().wait(report.plan.pause + rng.random())
        back = faults[kind]()
        seconds = _recovered(site, producer, back)
        report.recoveries.append((kind, seconds))
        say(f"{kind}: tasks of all pools start again after {seconds:.2f} s")
        if seconds > RECOVERY_LIMIT:
            report.broken.append(f"after '{kind}' tasks did not start in every pool for {seconds:.1f} s")


def _recovered(site: ChaosSite, producer: Producer, back: float) -> float:
    """Return after how many seconds tasks had started again in every pool."""
    deadline = time.time() + 3 * RECOVERY_LIMIT
    first: dict[str, float] = {}
    while time.time() < deadline:
        pool_of = producer.pool_of()
        for line in read_diary(site.diary, last=TAIL):
            if line.what == "start" and line.at > back and line.task_id in pool_of:
                first.setdefault(pool_of[line.task_id], line.at)
        if len(first) == POOLS:
            return max(first.values()) - back
        threading.Event().wait(0.1)
    return time.time() - back


def _finish(plan: Plan, site: ChaosSite, producer: Producer, thread: threading.Thread) -> None:
    deadline = time.monotonic() + PATIENCE + plan.tasks / 10
    try:
        thread.join(timeout=max(1.0, deadline - time.monotonic()))
        while time.monotonic() < deadline and unfinished(site.direct, producer.planned):
            threading.Event().wait(0.2)
    finally:
        producer.stop()
        thread.join(timeout=10)
