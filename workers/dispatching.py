"""How a claim gets to what runs it: a thread of ours, or Celery's consumer."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from celery.worker import state as worker_state

from mahavishnu_pools.store import leases

from .celery_tasks import CeleryTasks
from .claim_loop import ClaimLoop
from .claims import Running
from .concurrency import NoRoom, SlotThreads
from .outcome import dead
from .run_clock import RunClock
from .runner import GroupContext, TaskRunner, is_run_task, read_body

logger = logging.getLogger(__name__)

#: Why a message is given up that is not signed, while this worker has keys.
UNSIGNED = (
    "Its message is not signed with a key of this worker (message_signing_key): who sent it has no key, or another."
)

#: Seconds for which nothing is claimed after the machine had no room for a thread.
CROWDED = 5.0


class Unsigned(Exception):
    """A message is not signed with a key of this worker."""


class Dispatcher:
    """Starts the claims of one group. Belongs to the claim loop's thread, but for what its threads run."""

    def __init__(self, context: GroupContext, loop: ClaimLoop, *, runner: TaskRunner, celery: CeleryTasks) -> None:
        self._context = context
        self._loop = loop
        self._runner = runner
        self._celery = celery
        self._crowded_until = 0.0

    @property
    def crowded(self) -> bool:
        """Tell whether the machine had no room for a thread just now."""
        return time.monotonic() < self._crowded_until

    def start(self, running: Running, threads: SlotThreads) -> bool:
        """Give a claim to one of our threads, or to Celery's consumer; False when that has it, or is to have it."""
        try:
            return self._dispatch(running, threads)
        except NoRoom:
            # The machine has no room for another thread now: the task waits again, and nothing is claimed for a while.
            self._crowded_until = time.monotonic() + CROWDED
            self._hand_back(running)
        except Exception as exc:  # the border of strangers' messages: whatever is wrong with one, the loop goes on
            logger.warning("Task %s is given up", running.held.task_id, exc_info=True)
            self._give_up(running, exc)
        return True

    def _dispatch(self, running: Running, threads: SlotThreads) -> bool:
        message = json.loads(running.claim.message)
        if not self._context.may_run(message):
            raise Unsigned
        if is_run_task(message):
            body = read_body(message)
            if running.held.task_id in worker_state.revoked:
                # Revoked by its id alone, before anything here had seen its message.
                running.reason = "It was revoked."
                running.cancellation.cancel()
            if not body.followed:
                self._runner.received(running, message["headers"])
                threads.submit(lambda: self._run(running, body.spec, message["headers"]))
                return True
        # What was read ahead goes back, with what came behind it.
        if not running.ahead and self._loop.begin(running):
            self._celery.take(running, message)
        return False

    def _run(self, running: Running, spec: Any, headers: Mapping[str, Any]) -> None:
        if not self._loop.begin(running):
            return
        running.clock = RunClock()
        try:
            self._runner.run(running, spec, headers)
        except Exception as exc:  # the border of strangers' messages: what cannot even be begun keeps no worker
            self._give_up(running, exc)
            raise

    def _give_up(self, running: Running, exc: Exception) -> None:
        """End a claim, unless it is ending already, as a dead letter."""
        self._loop.end(running.held, dead(running.held, _cause(exc), result_ttl=self._context.result_ttl))

    def _hand_back(self, running: Running) -> None:
        self._loop.end(running.held, leases.hand_back(running.held, result_ttl=self._context.result_ttl))


def _cause(exc: Exception) -> str:
    return UNSIGNED if isinstance(exc, Unsigned) else f"The message cannot be read: {type(exc).__name__}: {exc}"
