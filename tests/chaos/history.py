"""What happened in a run, and the rules it must have kept. Pure: the checker is tested with wrong histories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

#: Clocks are read by different processes of one machine, and a line is written a moment after its time was read.
CLOCK_SLACK = 0.1


@dataclass(frozen=True, slots=True)
class Planned:
    """One task as it was submitted; ``cancelled`` is what the answer to its cancellation was (None: nobody asked).

    ``lane`` names what is promised to start in order: one producer, one pool of one worker, one priority (None: no
    such promise).
    """

    task_id: str
    pool_id: str
    lane: str | None = None
    cancelled: str | None = None
    expect: tuple[str, ...] = ("completed",)


@dataclass(frozen=True, slots=True)
class Line:
    """What a task wrote itself: ``start`` or ``effect``, the attempt and the time (epoch seconds)."""

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
        found.extend(_of_task(task, history.outcomes.get(task.task_id), by_task.get(task.task_id, [])))
    found.extend(_out_of_order(history, by_task))
    found.extend(_counted_twice(history))
    return found


def _of_task(task: Planned, outcome: Outcome | None, lines: list[Line]) -> Iterator[str]:
    if outcome is None:
        yield f"{task.task_id} was lost: it has no outcome"
        return
    if outcome.status not in task.expect:
        yield f"{task.task_id} is {outcome.status}, not {' or '.join(task.expect)}"
    if task.cancelled == "cancelled" and lines:
        yield f"{task.task_id} was cancelled while it was queued and ran all the same"
    if outcome.status == "completed" and not any(one.what == "effect" for one in lines):
        yield f"{task.task_id} completed without its effect"
    for line in lines:
        late = line.at - outcome.at
        if late > CLOCK_SLACK and (line.what == "start" or line.attempt != outcome.attempt):
            yield f"{task.task_id}: {line.what} of attempt {line.attempt}, {late:.3f} s after its outcome"


def _out_of_order(history: History, by_task: Mapping[str, list[Line]]) -> Iterator[str]:
    lanes: dict[str, list[tuple[str, float]]] = {}
    for task in history.planned:
        starts = [line.at for line in by_task.get(task.task_id, []) if line.what == "start"]
        if task.lane is not None and starts:
            lanes.setdefault(task.lane, []).append((task.task_id, min(starts)))
    for lane, started in lanes.items():
        for (first, before), (second, after) in pairwise(started):
            if after < before:
                yield f"{second} started before {first}, which was submitted earlier to {lane}"


def _counted_twice(history: History) -> Iterator[str]:
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
