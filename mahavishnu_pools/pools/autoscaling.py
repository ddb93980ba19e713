"""How many workers a pool needs. Pure: looks at samples, says a number and why.

A pool grows when its tasks would wait longer than a target, and shrinks to the most it needed during a quiet time. By
Little's law a flow of tasks keeps (arrivals a second × seconds a task) workers busy; working off what already waits
within the target takes (waiting × seconds a task ÷ target) more; and no more workers than there are tasks are of use.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from mahavishnu_pools.schemas.scaling import Sample

#: Seconds of samples that arrivals, throughput and the seconds a task takes are measured over.
WINDOW = 10.0

#: A pool shrinks only when it has needed at most this share of its workers: between that and all of them it stays.
SHRINK_BELOW = 0.8


#: A pool whose tasks have waited this share of the target gets more workers, even when they ought to be done in time.
STUCK_AFTER = 0.25


#: A pool grows only while at least this share of its workers runs something.
BUSY_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Rules:
    """When a pool is scaled. Seconds.

    ``target_wait`` is how long tasks may wait, ``quiet`` for how long fewer workers must have sufficed before some are
    taken away, ``hold`` how long a number that somebody chose by hand stays.
    """

    target_wait: float = 2.0
    quiet: float = 60.0
    hold: float = 600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Between how many workers a pool is scaled."""

    least: int
    most: int

    def clamp(self, number: int) -> int:
        """Return the nearest number that is allowed."""
        return max(self.least, min(self.most, number))


@dataclass(frozen=True, slots=True)
class Decision:
    """A new number of workers, and why, as a sentence for people."""

    workers: int
    reason: str


@dataclass(frozen=True, slots=True)
class Flow:
    """What samples say about a pool's work.

    ``arrivals`` are tasks a second, ``seconds`` is the mean length of a run (None: none has ended yet), ``busy`` how
    many workers were busy on average with runs that have ended.
    """

    arrivals: float
    seconds: float | None
    busy: float


@dataclass(slots=True)
class Autoscaler:
    """Follows one pool: give it a sample about every second, in the order of time."""

    rules: Rules
    _samples: deque[Sample] = field(default_factory=deque)
    _needs: deque[tuple[float, int]] = field(default_factory=deque)
    _waiting_since: float | None = None
    _first_look: float | None = None

    def look(self, sample: Sample, limits: Limits) -> Decision | None:
        """Take a sample; return how the pool is to be scaled now, or None to leave it as it is."""
        self._remember(sample)
        flow = self._flow()
        need = self._need(sample, flow)
        self._needs.append((sample.at, max(need, sample.running, _rounded_up(flow.busy))))
        while self._needs[0][0] < sample.at - self.rules.quiet:
            self._needs.popleft()
        if sample.chosen_at is not None and abs(sample.at - sample.chosen_at) < self.rules.hold:
            return None
        return self._outside(sample, limits) or self._grow(sample, need, limits) or self._shrink(sample, limits)

    def _remember(self, sample: Sample) -> None:
        if self._samples and sample.ended < self._samples[-1].ended:
            self._samples.clear()  # another life of the pool's figures
        if self._samples and sample.at < self._samples[-1].at:
            # The clock was put back: nothing that was seen has a time that means anything now.
            self._samples.clear()
            self._needs.clear()
            self._waiting_since = self._first_look = None
        if self._first_look is None:
            self._first_look = sample.at
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].at <= sample.at - WINDOW:
            self._samples.popleft()
        if not sample.queued:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = sample.at

    def _flow(self) -> Flow:
        first, last = self._samples[0], self._samples[-1]
        passed, ended = last.at - first.at, last.ended - first.ended
        held = last.queued + last.running - first.queued - first.running
        if passed <= 0 or not ended:
            mean = last.run_seconds / last.ended if last.ended else None
            return Flow(max(0.0, held / passed) if passed > 0 else 0.0, mean, 0.0)
        seconds = max(0.0, last.run_seconds - first.run_seconds) / ended
        # Of a run that began before the window only what lies in it counts.
        return Flow(max(0.0, (ended + held) / passed), seconds, ended * min(seconds, passed) / passed)

    def _need(self, sample: Sample, flow: Flow) -> int:
        """Return how many workers what is there now needs; no more than tasks can run at once are of use."""
        tasks = sample.queued + sample.running
        if sample.rate is not None:
            started = max(sample.running, sample.rate * (flow.seconds or 0.0))
            tasks = min(tasks, _rounded_up(started + sample.rate))
        if flow.seconds is None:
            return tasks
        backlog = sample.queued * flow.seconds / self.rules.target_wait
        need = _rounded_up(flow.arrivals * flow.seconds + backlog)
        if self._stuck(sample):
            need = max(need, 2 * sample.workers)  # tasks take longer than those before them did
        return min(tasks, need)

    def _stuck(self, sample: Sample) -> bool:
        """Tell whether tasks will wait too long although every worker is busy, whatever the averages say."""
        if self._waiting_since is None or sample.running < sample.workers:
            return False
        # A task that was handed back was made long before it came to wait here.
        return min(sample.waited, sample.at - self._waiting_since) > self.rules.target_wait * STUCK_AFTER

    def _outside(self, sample: Sample, limits: Limits) -> Decision | None:
        workers = limits.clamp(sample.workers)
        if workers == sample.workers:
            return None
        return Decision(workers, f"{sample.workers} is outside {limits.least} to {limits.most}")

    def _grow(self, sample: Sample, need: int, limits: Limits) -> Decision | None:
        target = limits.clamp(need)
        if not sample.queued or target <= sample.workers:
            return None
        if sample.running < sample.workers * BUSY_SHARE:
            return None  # those it has are not up, or are through with a task faster than they get the next
        waiting = f"{sample.queued} waiting, {sample.running} running"
        return Decision(target, f"{waiting}: {need} workers keep the wait under {self.rules.target_wait:g} s")

    def _shrink(self, sample: Sample, limits: Limits) -> Decision | None:
        quiet = self.rules.quiet
        if self._first_look is None or sample.at < self._first_look + quiet:
            return None
        most = max(need for _, need in self._needs)
        target = limits.clamp(most)
        if target >= sample.workers or (most > limits.least and most > SHRINK_BELOW * sample.workers):
            return None
        return Decision(target, f"at most {most} were needed in the last {quiet:g} s")


def _rounded_up(number: float) -> int:
    """Return the next whole number; a rounding error above one is none."""
    return math.ceil(number - 1e-9)
