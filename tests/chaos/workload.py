"""A producer that never gives up, and the reading of what its tasks did."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from celery import Celery
from kombu.exceptions import OperationalError

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.routing.celery_app import add_pools
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TERMINAL_STATUSES
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import pools, tasks
from mahavishnu_pools.store.client import SyncStore
from tests.chaos.history import History, Line, Outcome, Planned
from tests.chaos.kinds import Kind, Kinds

T = TypeVar("T")

#: Tasks of one pool that wait at a time, so that submitting goes on during the whole run and no pool is ever idle.
BACKLOG = 12

#: The priority of all tasks in a lane.
LANE_PRIORITY = 5

#: Seconds in which one call of the producer must be answered.
CALL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where a producer's tasks go: ``lane`` is the pool of one worker, ``shop`` the one with a user's Celery app."""

    url: str
    diary: Path
    web: str
    lane: str
    shop: str


@dataclass(slots=True)
class Producer:
    """Submits tasks to all pools in a thread of its own, through the line."""

    places: Places
    rng: random.Random
    planned: list[Planned] = field(default_factory=list)
    repeated: int = 0
    enough: threading.Event = field(default_factory=threading.Event)
    store: SyncStore = field(init=False)
    _app: Celery = field(init=False)
    _kinds: Kinds = field(init=False)
    _cancels: list[tuple[float, int]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.store = SyncStore(self.places.url, timeout=CALL_SECONDS)
        self._kinds = Kinds(self.rng, self.places.diary, self.places.web)
        self._app = Celery("producer", broker=self.places.url, backend="disabled://", set_as_current=False)
        add_pools(self._app, settings=Settings(submit_timeout=CALL_SECONDS), url=lambda: self.places.url)

    def run(self, least: int) -> None:
        """Submit tasks, each until it was accepted: at least so many, and until ``enough`` is set."""
        while not self._stop.is_set() and (len(self.planned) < least or not self.enough.is_set()):
            found = self._insist(lambda: self.store.run(pools.read_pools()))
            hungry = [one.pool_id for one in found.pools if one.queued < BACKLOG]
            for pool in hungry:
                self._submit_one(pool)
            self._cancel_what_is_due()
            if not hungry:
                self._stop.wait(0.05)

    def pool_of(self) -> dict[str, str]:
        """Return the pools of the tasks submitted so far."""
        return {task.task_id: task.pool_id for task in list(self.planned)}

    def stop(self) -> None:
        """Give up."""
        self._stop.set()

    def close(self) -> None:
        """Close the connections."""
        self.store.close()
        self._app.close()

    def _submit_one(self, pool: str) -> None:
        task_id = names.new_task_id()
        kind = self._kind(pool, task_id)
        asked = time.time()
        twin = self._submit(kind, pool, task_id)
        lane = f"{pool}/{LANE_PRIORITY}" if pool == self.places.lane else None
        task = Planned(task_id, pool, lane=lane, expect=kind.expect, twin=twin, silent=kind.silent, once=kind.once)
        self.planned.append(replace(task, not_before=asked + kind.countdown) if kind.countdown else task)
        if kind.cancel_after is not None:
            self._cancels.append((time.monotonic() + kind.cancel_after, len(self.planned) - 1))
            self._cancel_what_is_due()

    def _kind(self, pool: str, task_id: str) -> Kind:
        if pool == self.places.lane:
            return self._kinds.ordinary(priority=LANE_PRIORITY)
        if pool == self.places.shop and self.rng.random() < 0.5:
            return self._kinds.celery()
        return self._kinds.any(task_id)

    def _submit(self, kind: Kind, pool: str, task_id: str) -> str | None:
        """Submit a task; one with an idempotency key twice, and return the id that the second one got."""
        if kind.spec is None:
            self._insist(lambda: self._send(kind, pool, task_id))
            return None
        made = envelope(kind.spec, task_id=task_id, max_bytes=1 << 20)
        choice = Choice("pool", pool=pool)
        self._insist(lambda: self.store.run(tasks.submit([made], choice, client="chaos")))
        if not kind.keyed:
            return None
        again = envelope(kind.spec, task_id=names.new_task_id(), max_bytes=1 << 20)
        (second,) = self._insist(lambda: self.store.run(tasks.submit([again], choice, client="chaos")))
        return second.task_id

    def _send(self, kind: Kind, pool: str, task_id: str) -> None:
        options = {"priority": names.celery_priority(kind.priority), "countdown": kind.countdown or None}
        assert kind.celery is not None
        self._app.send_task(kind.celery, [kind.seconds], task_id=task_id, queue=names.queue_of(pool), **options)

    def _cancel_what_is_due(self) -> None:
        due = [number for at, number in self._cancels if at <= time.monotonic()]
        self._cancels = [one for one in self._cancels if one[1] not in due]
        for number in due:
            self.planned[number] = self._cancelled(self.planned[number])

    def _cancelled(self, task: Planned) -> Planned:
        before = self.repeated
        call = tasks.cancel(task.task_id, reason="no longer wanted", result_ttl=3600)
        answer = self._insist(lambda: self.store.run(call))
        if self.repeated > before:
            # The answer that was lost may have been another one: "it is cancelled" is true of what ran as well.
            return replace(task, cancelled="unclear")
        (then,) = self._insist(lambda: self.store.run(tasks.read_tasks([task.task_id])))
        if answer not in ("asked", "cancelled") or then is None:
            return replace(task, cancelled=answer)
        expect = ("cancelled",) if answer == "cancelled" else task.expect
        return replace(task, cancelled=answer, attempt_then=then.attempts, expect=expect)

    def _insist(self, ask: Callable[[], T]) -> T:
        while True:
            try:
                return ask()
            except (errors.RedisUnavailable, OperationalError):
                self.repeated += 1
                if self._stop.wait(0.2):
                    raise


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
