"""Executions that are asked for twice, because an answer was lost: the second joins the first, or gets its result."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.session_buddy.worker import ExecutionResult

#: Results that are remembered: at most so many, with so many characters of output together, for so many seconds.
MOST, MOST_CHARACTERS, SECONDS = 2000, 64 * 1024 * 1024, 3600.0

#: Characters an id may have.
MAX_ID = 200

Work = Callable[[], Coroutine[Any, Any, ExecutionResult]]


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two executions one. ``attempt`` (None: not told) counts the tries of a caller that saw one fail."""

    key: str
    attempt: int | None


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[ExecutionResult]
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class _Kept:
    result: ExecutionResult
    attempt: int | None
    until: float


def identity_of(pool_id: str, prompt: str, context: Mapping[str, Any] | None) -> Identity | None:
    """Return what an execution is known by: its context's ``task_id`` with prompt and surroundings; None without one.

    Raises:
        InvalidField: ``task_id`` or ``attempt`` cannot be used.
    """
    given = dict(context or {})
    task_id, attempt = given.pop("task_id", None), given.pop("attempt", None)
    if task_id is None:
        return None
    if not isinstance(task_id, str) or not 0 < len(task_id) <= MAX_ID:
        raise errors.InvalidField.of("context.task_id", f"must be a text of 1 to {MAX_ID} characters", "Correct it.")
    if attempt is not None and (not isinstance(attempt, int) or isinstance(attempt, bool)):
        raise errors.InvalidField.of("context.attempt", "must be a whole number", "Correct it or leave it out.")
    told = json.dumps([pool_id, task_id, prompt, given], sort_keys=True, default=repr)
    return Identity(blake2b(told.encode("utf-8", "replace"), digest_size=16).hexdigest(), attempt)


class Repeats:
    """Runs what is known by one identity once. ``clock`` gives seconds (None: the monotonic clock)."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or time.monotonic
        self._running: dict[str, _Running] = {}
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._characters = 0

    async def run(self, identity: Identity | None, work: Work) -> ExecutionResult:
        """Run the work, unless it runs already or has ended within an hour; ``metadata.repeated`` tells the latter two.

        Without an identity it is run. What ended otherwise than completed is run again for another attempt; what was
        cancelled, for everybody. Work that nobody waits for any more is cancelled.
        """
        if identity is None:
            return await work()
        self._forget()
        kept = self._kept.get(identity.key)
        if kept is not None and (kept.result.status == "completed" or kept.attempt == identity.attempt):
            return _repeated(kept.result)
        running = self._running.get(identity.key)
        joined = running is not None
        if running is None:
            running = self._running[identity.key] = _Running(asyncio.create_task(work()))
            running.task.add_done_callback(partial(self._ended, identity, running))
        running.waiting += 1
        try:
            result = await asyncio.shield(running.task)
        finally:
            running.waiting -= 1
            if not running.waiting and not running.task.done():
                self._drop(identity.key, running)
                running.task.cancel()
        return _repeated(result) if joined else result

    def _ended(self, identity: Identity, running: _Running, task: asyncio.Task[ExecutionResult]) -> None:
        self._drop(identity.key, running)
        if task.cancelled() or task.exception() is not None:
            return
        result = task.result()
        if result.status == "cancelled":
            return
        self._remove(identity.key)
        self._kept[identity.key] = _Kept(result, identity.attempt, self._clock() + SECONDS)
        self._characters += len(result.output)
        while len(self._kept) > MOST or self._characters > MOST_CHARACTERS:
            self._remove(next(iter(self._kept)))

    def _drop(self, key: str, running: _Running) -> None:
        if self._running.get(key) is running:
            del self._running[key]

    def _forget(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values())).until <= now:
            self._remove(next(iter(self._kept)))

    def _remove(self, key: str) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._characters -= len(gone.result.output)


def _repeated(result: ExecutionResult) -> ExecutionResult:
    return result.model_copy(update={"metadata": {**result.metadata, "repeated": True}})
