"""The claim loop: takes messages for free workers, sends finished claims back, both in as few round trips as it can.

Two threads. The **bell** waits in ``XREAD BLOCK`` for work to be announced. The **loop** wakes for the bell, for a due
time, for finished claims, to look by itself for messages nobody rang for, and once a second (its tick shows the
controller that it lives); it writes all finished claims and claims anew in one pipeline. While workers have tasks that
were read ahead, finished claims wait a little for others, which end with them in one script. Otherwise the bell and
workers do the loop's step themselves, if nobody is at it: to wake another thread takes longer.

Nothing is given up when Redis is away: finished claims stay until they are confirmed, and a claim is asked for with the
same request id until it is answered.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.store import leases
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.client import SyncStore

from .bell import Bell
from .claim_request import TICK
from .claiming import Claiming, LoopConfig, LoopHooks
from .claims import ClaimTable, Running
from .endings import Endings
from .exchange import Exchange
from .read_ahead import ReadAhead

logger = logging.getLogger(__name__)

#: Seconds between two tries while Redis does not answer.
PAUSE = 0.25

#: Seconds for which the bell leaves what is new to a worker that ends a short task: its step claims, too. In a burst of
#: single tasks each would otherwise be claimed by a step of its own.
REST = 0.003


class ClaimLoop:
    """Claims for one pool under one lease. Callbacks run in the loop's thread and must not block."""

    def __init__(
        self, store: SyncStore, bell_store: SyncStore, config: LoopConfig, table: ClaimTable, hooks: LoopHooks
    ) -> None:
        self._bell = Bell(bell_store, config.pool_id, ring=self._rung)
        self._table = table
        self._hooks = hooks
        self._ended = Endings()
        self._claiming = Claiming(config, table, hooks, bell=self._bell, end=partial(self.end, unbegun=True))
        self._exchange = Exchange(store, self._ended, self._claiming, confirmed=self._confirmed)
        self._wake = threading.Event()
        #: Held by who does a step.
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="claim-loop", daemon=True)

    @property
    def ahead(self) -> ReadAhead:
        """Return what the group has learned of its tasks."""
        return self._claiming.ahead

    def start(self) -> None:
        """Start both threads."""
        self._thread.start()
        self._bell.start()

    def wait_ready(self, timeout: float) -> bool:
        """Wait until the first claim was answered."""
        return self._exchange.first_answer.wait(timeout)

    def ring(self) -> None:
        """Have the loop look for work now."""
        self._claiming.requests.ring()
        self._wake.set()

    def end(self, held: leases.Held, call: Call[Any], *, unbegun: bool = False) -> None:
        """Send the end of a claim; the first one for a claim counts. With ``unbegun`` only if no worker has begun."""
        if self._table.end(held, unbegun=unbegun) is None:
            return
        self._ended.add(held, call)
        self._wake.set()

    def end_here(self, held: leases.Held, call: Call[Any]) -> None:
        """Send the end of a claim in the thread it ran in, if it is the only one; that waits for Redis then."""
        running = self._table.end(held)
        if running is None:
            return
        if running.clock is not None:
            # Before the round trip, which is no part of what a task takes.
            self._claiming.ahead.ran(running.clock.seconds())
        self._ended.add(held, call)
        self._step_here()

    def _rung(self) -> None:
        self._claiming.requests.ring()
        if self._claiming.ends_soon and not self._stop.wait(REST) and not self._claiming.requests.rung:
            return
        self._step_here()

    def _step_here(self) -> None:
        """Do a step in this thread, which takes less time than to wake another one; the loop does what is left."""
        if self._claiming.supplied or not self._turn.acquire(blocking=False):
            self._wake.set()
            return
        try:
            if self._given_up.is_set():
                return  # the lease is closed, or about to be
            again = self._exchange.step()
        except errors.RedisUnavailable:
            again = True
        except BaseException:
            self._broken()
            raise
        finally:
            self._turn.release()
        if again or self._claiming.pause() < TICK:
            self._wake.set()

    def _broken(self) -> None:
        """Do no more steps in any thread, and tick no more: what a broken one has claimed runs when the group ends."""
        self._given_up.set()
        self._wake.set()

    def begin(self, running: Running) -> bool:
        """Tell that a worker begins with a claim; False when it is not to be run (any more)."""
        begun = self._table.begin(running)
        if not self._claiming.supplied:
            self._ended.hurry()
        return begun

    def stop_claiming(self) -> None:
        """Take no more messages, and hand back what no worker has begun; finished claims are still sent."""
        self._claiming.halt()
        self._ended.hurry()
        self._wake.set()

    def stop(self, timeout: float) -> None:
        """Send what is finished and end the threads; gives up after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        self._claiming.halt()
        self._stop.set()
        self._bell.stop()
        self._wake.set()
        self._thread.join(timeout)
        self._given_up.set()
        # Neither the bell nor a worker asks for anything under a lease that is closed next.
        if self._turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            self._turn.release()

    def _loop(self) -> None:
        try:
            self._go_on()
        except BaseException:
            self._broken()
            raise

    def _go_on(self) -> None:
        while not self._given_up.is_set():
            if self._stop.is_set() and not self._ended:
                return
            self._hooks.tick()
            try:
                with self._turn:
                    again = self._exchange.step()
            except errors.RedisUnavailable as exc:
                logger.warning("Claims wait for Redis: %s", exc)
                self._claiming.requests.ring()
                if self._given_up.wait(PAUSE):
                    return  # nobody waits any more for what is finished to be sent
                continue
            if not again:
                self._wait()
            # Ends wait for others as long as no worker has to.
            self._ended.linger(lambda: self._claiming.supplied)
            self._claiming.hand_back_late()

    def _wait(self) -> None:
        if self._stop.is_set():
            return
        self._wake.wait(self._claiming.pause())
        self._wake.clear()
        self._claiming.requests.look()

    def _confirmed(self, held: leases.Held, verdict: str) -> None:
        self._table.remove(held)
        self._hooks.ended(held, verdict)
