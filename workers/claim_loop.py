"""The claim loop: takes messages for free workers, sends finished claims back, both in as few round trips as it can.

Two threads. The **bell** waits in ``XREAD BLOCK`` for work to be announced. The **loop** wakes for the bell, for a due
time, for finished claims, to look by itself for messages nobody rang for, and once a second (its tick shows the
controller that it lives); it writes all finished claims
and claims anew in one pipeline. Nothing is given up when Redis is away: finished claims stay until they are confirmed,
and a claim is asked for with the same request id until it is answered.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.store import leases
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.client import SyncStore

from .bell import Bell
from .claim_request import ClaimRequests
from .claims import ClaimTable, Running

logger = logging.getLogger(__name__)

#: Seconds between two tries while Redis does not answer.
PAUSE = 0.25

#: The most messages claimed at once, so that one script stays short.
CLAIM_MOST = 100


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """What a claim loop works for. ``result_ttl`` is in seconds; ``alone`` runs one suspect at a time."""

    lease: str
    pool_id: str
    worker: str
    result_ttl: float
    alone: bool = False
    worker_type: str | None = None


class ClaimLoop:
    """Claims for one pool under one lease. Callbacks run in the loop's thread and must not block."""

    def __init__(
        self, store: SyncStore, bell_store: SyncStore, config: LoopConfig, table: ClaimTable, hooks: LoopHooks
    ) -> None:
        self._store = store
        self._bell = Bell(bell_store, config.pool_id, ring=self.ring)
        self._config = config
        self._table = table
        self._hooks = hooks
        self._ended: deque[tuple[leases.Held, Call[Any]]] = deque()
        self._wake = threading.Event()
        self._requests = ClaimRequests()
        self._claiming = True
        self._stop = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="claim-loop", daemon=True)
        self._first_answer = threading.Event()

    def start(self) -> None:
        """Start both threads."""
        self._thread.start()
        self._bell.start()

    def wait_ready(self, timeout: float) -> bool:
        """Wait until the first claim was answered."""
        return self._first_answer.wait(timeout)

    def ring(self) -> None:
        """Have the loop look for work now."""
        self._requests.ring()
        self._wake.set()

    def end(self, held: leases.Held, call: Call[Any]) -> None:
        """Send the end of a claim; the first one for a claim counts."""
        if self._table.end(held) is None:
            return
        self._ended.append((held, call))
        self._wake.set()

    def stop_claiming(self) -> None:
        """Take no more messages; finished claims are still sent."""
        self._claiming = False
        self._wake.set()

    def stop(self, timeout: float) -> None:
        """Send what is finished and end the threads; gives up after ``timeout`` seconds."""
        self._claiming = False
        self._stop.set()
        self._bell.stop()
        self._wake.set()
        self._thread.join(timeout)
        self._given_up.set()

    def _loop(self) -> None:
        while True:
            if self._stop.is_set() and not self._ended:
                return
            self._hooks.tick()
            try:
                again = self._step()
            except errors.RedisUnavailable as exc:
                logger.warning("Claims wait for Redis: %s", exc)
                self._requests.ring()
                if self._given_up.wait(PAUSE):
                    return  # nobody waits any more for what is finished to be sent
                continue
            if not again:
                self._wait()

    def _wait(self) -> None:
        if self._stop.is_set():
            return
        self._wake.wait(self._requests.pause())
        self._wake.clear()
        self._requests.look()

    def _step(self) -> bool:
        """Write what is finished and claim; True when there may be more to claim at once."""
        ended = [self._ended[i] for i in range(min(len(self._ended), CLAIM_MOST))]
        claim = self._next_claim(ending=len(ended))
        calls: list[Call[Any]] = [*leases.together([call for _, call in ended]), *([claim] if claim else ())]
        if not calls:
            return False
        replies = self._store.run_many(calls)
        self._sent(replies if claim is None else replies[:-1])
        if claim is None:
            return bool(self._ended)
        if isinstance(replies[-1], errors.RedisFull):
            logger.warning("Nothing is claimed: %s", replies[-1].message)
            self._requests.refused()
            return True
        return self._claimed(replies[-1]) or bool(self._ended)

    def _sent(self, replies: Sequence[list[leases.Ending] | errors.RedisFull]) -> None:
        for verdicts in replies:
            if isinstance(verdicts, errors.RedisFull):
                return
            for verdict in verdicts:
                held, _ = self._ended.popleft()
                self._table.remove(held)
                self._hooks.ended(held, verdict)

    def _next_claim(self, *, ending: int) -> Call[leases.Claimed | None] | None:
        """Return the claim to ask for, or None when there is nothing to look for."""

        def free() -> int:
            return min(CLAIM_MOST, self._hooks.slots() - len(self._table) + ending) if self._claiming else 0

        asked = self._requests.next(free)
        if asked is None:
            return None
        c = self._config
        by = leases.Claimant(c.lease, c.pool_id, c.worker, c.alone, c.worker_type)
        return leases.claim(by, most=asked.most, request=asked.request_id, result_ttl=c.result_ttl)

    def _claimed(self, reply: leases.Claimed | None) -> bool:
        asked = self._requests.answered()
        if reply is None:
            self._hooks.lease_lost()
            return False
        if reply.late:
            logger.warning("The lease's time has run out; new claims wait until it is refreshed")
            return False
        self._bell.known = reply.bell
        self._requests.wait(reply.due_in)
        self._hooks.pool(reply.pool_status, reply.workers)
        if reply.untold:
            self._hooks.untold()
        for claim in reply.claims:
            self._take(claim)
        for task_id in reply.cancels:
            running = self._table.get(task_id)
            if running is not None:
                running.reason = "It was cancelled."
                running.cancellation.cancel()
        self._first_answer.set()
        if not reply.claims and not len(self._table):
            self._hooks.idle()
        if reply.more or not asked:
            # The queue may hold more than fitted: look again as soon as a worker is free.
            self._requests.ring()
        return reply.more and self._hooks.slots() > len(self._table)

    def _take(self, claim: leases.Claim) -> None:
        c = self._config
        running = Running(leases.Held(c.lease, claim.number, claim.task_id, c.pool_id), claim)
        if self._table.add(running):
            self._hooks.start(running)


@dataclass(frozen=True, slots=True)
class LoopHooks:
    """What the loop asks of and tells to the worker group.

    ``slots`` is the number of workers, ``start`` runs a claim, ``ended`` tells the store's verdict, ``pool`` the pool's
    status and wanted workers, ``idle`` that nothing is held and nothing was there to claim, ``lease_lost`` that
    everything held is somebody else's now, ``tick`` that the loop lives, ``untold`` that Celery is to be told of tasks.
    """

    slots: Callable[[], int]
    start: Callable[[Running], None]
    ended: Callable[[leases.Held, str], None]
    pool: Callable[[str, int], None]
    idle: Callable[[], None]
    lease_lost: Callable[[], None]
    tick: Callable[[], None]
    untold: Callable[[], None] = lambda: None
