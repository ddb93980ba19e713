"""What happened in a run, and the rules it must have kept. Pure: the checker is tested with wrong histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

#: Clocks are read by different processes of one machine, and a line is written a moment after its time was read.
CLOCK_SLACK = 0.1


@dataclass(frozen=True, slots=True)
class Planned:
    """One task as it was submitted; ``cancelled`` is what the answer to its cancellation was (None: nobody asked).

    ``lane`` names what is promised to start in order: one producer, one pool of one worker, one priority (None: no
    such promise). ``attempt_then`` counts its attempts when its end was asked for (None: unknown). ``not_before`` is
    the time before which it must not start, ``twin`` the id that a second submission with its idempotency key got.
    A ``silent`` task writes no lines; one that may run ``once`` only was submitted with ``on_worker_lost: fail``.
    """

    task_id: str
    pool_id: str
    lane: str | None = None
    cancelled: str | None = None
    expect: tuple[str, ...] = ("completed",)
    attempt_then: int | None = None
    not_before: float | None = None
    twin: str | None = None
    silent: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """What a task wrote itself: ``start`` or ``effect``, the attempt (0: it cannot know), the time (epoch seconds)."""

    task_id: str
    what: str
    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the store says of a task; ``attempt`` is the number of the last one."""

    status: str
    at: float
    attempt: int


@dataclass(frozen=True, slots=True)
class History:
    """Everything that is known of a run. ``counted`` are the pools' own counters of outcomes, by status."""

    planned: tuple[Planned, ...]
    lines: tuple[Line, ...]
    outcomes: Mapping[str, Outcome]
    counted: Mapping[str, int] = field(default_factory=dict)


def violations(history: History) -> list[str]:
    """Return every rule that was broken, in words; none when all was well."""
    by_task: dict[str, list[Line]] = {}
    for line in history.lines:
        by_task.setdefault(line.task_id, []).append(line)
    found: list[str] = []
    for task in history.planned:
        lines = by_task.get(task.task_id, [])
        outcome = history.outcomes.get(task.task_id)
        if outcome is not None:
            found.extend(_of_outcome(task, outcome, lines))
        found.extend(_of_runs(task, lines))
    found.extend(f"{task_id} was lost: it has no outcome" for task_id in lost(history))
    strangers = by_task.keys() - {task.task_id for task in history.planned}
    found.extend(f"{task_id} ran, but nobody submitted it" for task_id in sorted(strangers))
    found.extend(_out_of_order(history, by_task))
    found.extend(_counted_wrong(history))
    return found


def lost(history: History) -> list[str]:
    """Return the tasks without an outcome."""
    return [task.task_id for task in history.planned if task.task_id not in history.outcomes]


def doubled(history: History) -> int:
    """Return how many outcomes were written beyond one a task."""
    return max(0, sum(history.counted.values()) - len(history.outcomes))


def _of_outcome(task: Planned, outcome: Outcome, lines: Sequence[Line]) -> Iterator[str]:
    if outcome.status not in task.expect:
        yield f"{task.task_id} is {outcome.status}, not {' or '.join(task.expect)}"
    if outcome.status == "completed" and not task.silent and not any(one.what == "effect" for one in lines):
        yield f"{task.task_id} completed without its effect"
    if task.once and outcome.attempt > 1:
        yield f"{task.task_id} ran {outcome.attempt} times, although a lost worker was to fail it"
    for line in lines:
        late = line.at - outcome.at
        # Of a task that was ended from outside nothing may be left; one that failed may have children that write.
        other = line.attempt != outcome.attempt or outcome.status in ("cancelled", "timeout")
        if late > CLOCK_SLACK and (line.what == "start" or other):
            yield f"{task.task_id}: {line.what} of attempt {line.attempt}, {late:.3f} s after its outcome"


def _of_runs(task: Planned, lines: Sequence[Line]) -> Iterator[str]:
    starts = [line for line in lines if line.what == "start"]
    if task.attempt_then == 0 and lines:
        yield f"{task.task_id} was cancelled while it was queued and ran all the same"
    if task.attempt_then and any(line.attempt > task.attempt_then for line in starts):
        yield f"{task.task_id} was cancelled in attempt {task.attempt_then} and started again"
    if task.not_before is not None and any(line.at < task.not_before - CLOCK_SLACK for line in starts):
        yield f"{task.task_id} started before its time"
    if task.twin is not None and task.twin != task.task_id:
        yield f"{task.task_id} and {task.twin} have the same idempotency key"
    yield from _overlapping(task.task_id, lines, starts)


def _overlapping(task_id: str, lines: Sequence[Line], starts: Sequence[Line]) -> Iterator[str]:
    for attempt, times in Counter(line.attempt for line in starts).items():
        if attempt and times > 1:
            yield f"{task_id}: attempt {attempt} started {times} times"
    for line in lines:
        for start in starts:
            if 0 < line.attempt < start.attempt and line.at > start.at + CLOCK_SLACK:
                yield f"{task_id}: {line.what} of attempt {line.attempt}, while attempt {start.attempt} was running"


def _out_of_order(history: History, by_task: Mapping[str, Sequence[Line]]) -> Iterator[str]:
    lanes: dict[str, list[tuple[str, float]]] = {}
    for task in history.planned:
        starts = [line for line in by_task.get(task.task_id, []) if line.what == "start"]
        first = min(starts, key=lambda line: line.at, default=None)
        # One that was lost before it could write anything may have had to wait apart: order is promised to others.
        if task.lane is not None and first is not None and first.attempt == 1:
            lanes.setdefault(task.lane, []).append((task.task_id, first.at))
    for lane, started in lanes.items():
        for (first_id, before), (second_id, after) in pairwise(started):
            if after < before:
                yield f"{second_id} started before {first_id}, which was submitted earlier to {lane}"


def _counted_wrong(history: History) -> Iterator[str]:
    if not history.counted:
        return
    truth: dict[str, int] = {}
    for task in history.planned:
        if task.task_id in history.outcomes:
            status = history.outcomes[task.task_id].status
            truth[status] = truth.get(status, 0) + 1
    for status in sorted({*truth, *history.counted}):
        counted, real = history.counted.get(status, 0), truth.get(status, 0)
        if counted != real:
            yield f"{counted} outcomes '{status}' were written for {real} tasks"


@dataclass(frozen=True, slots=True)
class Window:
    """The time of a fault: from when tasks may be missed, until when it was undone (epoch seconds)."""

    since: float
    undone: float


#: What a program writes in so many seconds after a fault may have been on its way before.
ON_ITS_WAY = 0.2


def standstill(starts: Sequence[float], window: Window) -> float | None:
    """Return the longest time (seconds) in which nothing started in a pool, from a fault to the first start after it.

    None when nothing has started since it was undone.
    """
    after = sorted(at for at in starts if at > window.since + ON_ITS_WAY)
    first = next((number for number, at in enumerate(after) if at > window.undone + ON_ITS_WAY), None)
    if first is None:
        return None
    return max(later - earlier for earlier, later in pairwise([window.since, *after[: first + 1]]))
