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

from tests.chaos.faults import Faults
from tests.chaos.history import History, Window, doubled, lost, standstill, violations
from tests.chaos.site import ChaosSite
from tests.chaos.workload import Places, Producer, read_diary, read_history, unfinished

#: Seconds within which tasks must start again in every pool after a fault.
RECOVERY_LIMIT = 10.0

#: Nodes of a run; its pools are spread over them.
NODES = 2

#: Workers of the pools. The first one has a user's Celery app, the last one has one worker and shows the order.
POOLS = {"shop": 4, "pool1": 4, "pool2": 4, "lane": 1}

#: Bytes at the end of the diary in which starts after a fault are looked for: more than is written in three limits.
TAIL = 400_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How large a run is. ``pause`` (seconds) lies between two faults at least.

    A run whose tasks have not all ended ``patience`` seconds (and a tenth a task) after the last fault is given up.
    """

    tasks: int
    faults: int
    seed: int
    pause: float = 0.5
    patience: float = 90.0


@dataclass(slots=True)
class Report:
    """What came out of a run. ``recoveries`` are (fault, longest time in seconds without a start in a pool)."""

    plan: Plan
    history: History | None = None
    broken: list[str] = field(default_factory=list)
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    repeated: int = 0
    seconds: float = 0.0

    def text(self) -> str:
        """Return the report for people."""
        assert self.history is not None
        attempts = Counter(one.attempt for one in self.history.outcomes.values())
        statuses = Counter(one.status for one in self.history.outcomes.values())
        head = f"seed {self.plan.seed}: {len(self.history.planned)} tasks under {len(self.recoveries)} faults"
        lines = [
            f"{head} in {self.seconds:.0f} s",
            "faults: " + ", ".join(f"{n} × {kind}" for kind, n in Counter(kind for kind, _ in self.recoveries).items()),
            "outcomes: " + ", ".join(f"{n} {status}" for status, n in sorted(statuses.items())),
            "attempts: " + ", ".join(f"{n} tasks with {number}" for number, n in sorted(attempts.items())),
            f"calls a producer had to repeat: {self.repeated}",
            f"lost: {len(lost(self.history))}, second outcomes: {doubled(self.history)}",
            *self._times(),
        ]
        lines += [f"BROKEN: {one}" for one in self.broken] or ["no rule was broken"]
        return "\n".join(lines)

    def _times(self) -> list[str]:
        if not self.recoveries:
            return []
        worst = max(self.recoveries, key=lambda one: one[1])
        half = statistics.median(seconds for _, seconds in self.recoveries)
        return [f"tasks start again in all pools after: p50 {half:.2f} s, max {worst[1]:.2f} s ({worst[0]})"]


def run(plan: Plan, binary: Path, directory: Path, *, say: Callable[[str], None] = lambda text: None) -> Report:
    """Run a plan on a site of its own below ``directory`` and return what came out."""
    report, began = Report(plan), time.monotonic()
    site = ChaosSite(binary, directory, nodes=NODES)
    try:
        producer = Producer(_places(site), random.Random(plan.seed))
        thread = threading.Thread(target=producer.run, args=(plan.tasks,), daemon=True)
        thread.start()
        _torture(site, producer, report, say)
        producer.enough.set()
        _finish(plan, site, producer, thread)
        report.history = read_history(site.direct, producer.planned, site.diary)
        report.broken += violations(report.history)
        report.repeated = producer.repeated
        producer.close()
    except AssertionError as exc:
        raise AssertionError(f"{exc}\nseed {plan.seed}\n{site.log_tail()}") from exc
    finally:
        site.end()
    report.seconds = time.monotonic() - began
    return report


def _places(site: ChaosSite) -> Places:
    site.wait_for_nodes()
    made = {}
    for number, (name, workers) in enumerate(POOLS.items()):
        app = "tests.chaos.shop:app" if name == "shop" else None
        made[name] = site.pool(name, workers=workers, node=number % NODES, celery_app=app)
    return Places(site.url, site.diary, site.web.url, lane=made["lane"], shop=made["shop"])


def _torture(site: ChaosSite, producer: Producer, report: Report, say: Callable[[str], None]) -> None:
    rng = random.Random(report.plan.seed)
    faults = Faults(site, rng)
    kinds = faults.kinds()
    for kind in faults.plan(report.plan.faults):
        threading.Event().wait(report.plan.pause + rng.random())
        seconds = _recovered(site, producer, kinds[kind]())
        report.recoveries.append((kind, seconds))
        say(f"{kind}: tasks of all pools start again after {seconds:.2f} s")
        if seconds > RECOVERY_LIMIT:
            report.broken.append(f"after '{kind}' tasks did not start in every pool for {seconds:.1f} s")


def _recovered(site: ChaosSite, producer: Producer, window: Window) -> float:
    """Return the longest time in which no task started in one of the pools, once all have started some again."""
    deadline = time.time() + 3 * RECOVERY_LIMIT
    while time.time() < deadline:
        pool_of = producer.pool_of()
        starts: dict[str, list[float]] = {}
        for line in read_diary(site.diary, last=TAIL):
            if line.what == "start" and line.task_id in pool_of:
                starts.setdefault(pool_of[line.task_id], []).append(line.at)
        times = [found for one in starts.values() if (found := standstill(one, window)) is not None]
        if len(times) == len(POOLS):
            return max(times)
        threading.Event().wait(0.1)
    return time.time() - window.since


def _finish(plan: Plan, site: ChaosSite, producer: Producer, thread: threading.Thread) -> None:
    deadline = time.monotonic() + plan.patience + plan.tasks / 10
    try:
        thread.join(timeout=max(1.0, deadline - time.monotonic()))
        while time.monotonic() < deadline and unfinished(site.direct, producer.planned):
            threading.Event().wait(0.2)
    finally:
        producer.stop()
        thread.join(timeout=30)
