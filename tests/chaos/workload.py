"""What is run under faults: tasks that write down what they do, and a producer that never gives up."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TERMINAL_STATUSES, TaskSpec
from mahavishnu_pools.store import pools, tasks
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.client import SyncStore
from tests.chaos.history import History, Line, Outcome, Planned

T = TypeVar("T")

#: Tasks of one pool that wait at a time, so that submitting goes on during the whole run and no pool is ever idle.
BACKLOG = 12

_NOTE = 'echo "{what} $MAHAVISHNU_TASK_ID $MAHAVISHNU_ATTEMPT $(date +%s%N)" >> "$CHAOS"; '

#: Priorities of ordinary tasks; those of a lane have one alone.
_LANE_PRIORITY = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of task: how it is submitted, and the outcomes it may have."""

    spec: TaskSpec
    expect: tuple[str, ...]
    cancel: bool = False


@dataclass(slots=True)
class Producer:
    """Submits tasks to all pools in a thread of its own, through the line. ``lane`` is the pool of one worker."""

    store: SyncStore
    lane: str
    diary: Path
    rng: random.Random
    planned: list[Planned] = field(default_factory=list)
    refused: int = 0
    enough: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self, least: int) -> None:
        """Submit tasks, each until it was accepted: at least so many, and until ``enough`` is set."""
        while not self._stop.is_set() and (len(self.planned) < least or not self.enough.is_set()):
            found = self._insist(pools.read_pools())
            hungry = [one.pool_id for one in found.pools if one.queued < BACKLOG]
            for pool in hungry:
                self._submit_one(pool)
            if not hungry:
                self._stop.wait(0.05)

    def pool_of(self) -> dict[str, str]:
        """Return the pools of the tasks submitted so far."""
        return {task.task_id: task.pool_id for task in list(self.planned)}

    def stop(self) -> None:
        """Give up."""
        self._stop.set()

    def _submit_one(self, pool: str) -> None:
        in_lane = pool == self.lane
        kind = self._ordinary(priority=_LANE_PRIORITY) if in_lane else self._any()
        made = envelope(kind.spec, task_id=names.new_task_id(), max_bytes=1 << 20)
        self._insist(tasks.submit([made], Choice("pool", pool=pool), client="chaos"))
        answer = None
        if kind.cancel:
            answer = self._insist(tasks.cancel(made.task_id, reason="no longer wanted", result_ttl=3600))
        lane = f"{pool}/{_LANE_PRIORITY}" if in_lane else None
        self.planned.append(Planned(made.task_id, pool, lane=lane, cancelled=answer, expect=kind.expect))

    def _insist(self, call: Call[T]) -> T:
        while True:
            try:
                return self.store.run(call)
            except errors.RedisUnavailable:
                self.refused += 1
                if self._stop.wait(0.2):
                    raise

    def _any(self) -> Kind:
        priority = self.rng.randrange(10)
        dice = self.rng.random()
        if dice < 0.65:
            return self._ordinary(priority=priority)
        if dice < 0.8:
            return self._kind({"callable": "tests.chaos.payloads:write", "args": [self._seconds()]}, "python", priority)
        if dice < 0.9:
            again = "[ $MAHAVISHNU_ATTEMPT -gt 1 ] || exit 75; "
            return self._shell(_NOTE.format(what="start") + again + _NOTE.format(what="effect"), priority, retries=100)
        wanted = self._ordinary(priority=0)
        return Kind(wanted.spec, ("completed", "cancelled", *wanted.expect), cancel=True)

    def _ordinary(self, *, priority: int) -> Kind:
        command = f"{_NOTE.format(what='start')}sleep {self._seconds()}; {_NOTE.format(what='effect')}"
        return self._shell(command, priority)

    def _shell(self, command: str, priority: int, *, retries: int | None = None) -> Kind:
        return self._kind({"command": ["sh", "-c", command]}, "shell", priority, retries=retries)

    def _kind(self, payload: dict[str, object], task_type: str, priority: int, *, retries: int | None = None) -> Kind:
        fields = {"task_type": task_type, "payload": payload, "priority": priority, "max_retries": retries}
        spec = TaskSpec.model_validate({**fields, "timeout": 60, "env": {"CHAOS": str(self.diary)}})
        # A program that is killed by itself has failed; that is its outcome.
        return Kind(spec, ("completed", "failed"))

    def _seconds(self) -> float:
        return round(self.rng.choice([0.05, 0.2, 0.5, 1.0, 2.0]), 2)


def read_diary(path: Path, *, last: int | None = None) -> tuple[Line, ...]:
    """Return what tasks wrote, or what is in the ``last`` bytes; a line may be torn off."""
    if not path.exists():
        return ()
    with path.open("rb") as diary:
        if last is not None:
            diary.seek(max(0, path.stat().st_size - last))
        texts = diary.read().decode(errors="replace").splitlines()
    found = []
    for text in texts:
        words = text.split()
        if len(words) == 4 and words[2].isdigit() and words[3].isdigit():
            found.append(Line(words[1], words[0], int(words[2]), int(words[3]) / 1e9))
    return tuple(found)


def unfinished(store: SyncStore, planned: list[Planned]) -> int:
    """Return how many of the tasks have no outcome yet."""
    count = 0
    for some in _chunks([task.task_id for task in planned]):
        count += sum(one is None or one.status not in TERMINAL_STATUSES for one in store.run(tasks.read_tasks(some)))
    return count


def read_history(store: SyncStore, planned: list[Planned], diary: Path) -> History:
    """Read everything there is to know of a run."""
    outcomes = {}
    for some in _chunks([task.task_id for task in planned]):
        for result in store.run(tasks.read_tasks(some)):
            if result is not None and result.done and result.finished_at is not None:
                outcomes[result.task_id] = Outcome(result.status, result.finished_at.timestamp(), result.attempts)
    counted: dict[str, int] = {}
    for pool in store.run(pools.read_pools()).pools:
        for status, number in pool.counts.items():
            counted[status] = counted.get(status, 0) + number
    return History(tuple(planned), read_diary(diary), outcomes, {k: v for k, v in counted.items() if v})


def _chunks(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + 500] for start in range(0, len(ids), 500)]
