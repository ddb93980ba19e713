"""What a worker group claims, and what becomes of the answers: how many, how many of them ahead, what goes back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools.store import leases
from mahavishnu_pools.store.calls import Call

from .bell import Bell
from .claim_request import ClaimRequest, ClaimRequests, has_room
from .claims import ClaimTable, Running
from .read_ahead import ReadAhead

logger = logging.getLogger(__name__)

#: What a claim says instead of the pool's status when the time of a drain is over.
HAND_BACK = "handback"

#: What a claim says of a pool none of whose tasks is to begin.
_HALTED = frozenset({"paused", "stopped", HAND_BACK})


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """What a claim loop works for. ``result_ttl`` is in seconds; ``alone`` runs one suspect at a time."""

    lease: str
    pool_id: str
    worker: str
    result_ttl: float
    alone: bool = False
    worker_type: str | None = None


@dataclass(frozen=True, slots=True)
class LoopHooks:
    """What the loop asks of and tells to the worker group.

    ``slots`` is the number of workers, ``start`` runs a claim and tells whether a worker of ours has it, ``ended``
    tells the store's verdict, ``pool`` the pool's status and wanted workers, ``idle`` that nothing is held and nothing
    was there to claim, ``lease_lost`` that everything held is somebody else's now, ``tick`` that the loop lives,
    ``untold`` that Celery is to be told of tasks; ``foreign`` tells whether Celery's consumer has claims.
    """

    slots: Callable[[], int]
    start: Callable[[Running], bool]
    ended: Callable[[leases.Held, str], None]
    pool: Callable[[str, int], None]
    idle: Callable[[], None]
    lease_lost: Callable[[], None]
    tick: Callable[[], None]
    untold: Callable[[], None] = lambda: None
    foreign: Callable[[], bool] = lambda: False


class Claiming:
    """Asks for claims and starts them. Belongs to the claim loop's thread, but for what says otherwise."""

    def __init__(
        self,
        config: LoopConfig,
        table: ClaimTable,
        hooks: LoopHooks,
        *,
        bell: Bell,
        end: Callable[[leases.Held, Call[Any]], None],
    ) -> None:
        self._config = config
        self._table = table
        self._hooks = hooks
        self._bell = bell
        self._end = end
        self._halted = False
        self._low = 0
        self.requests = ClaimRequests()
        self.ahead = ReadAhead()

    @property
    def supplied(self) -> bool:
        """Tell whether workers have enough to do for now, so that none waits for this loop. Any thread may ask."""
        return not self._halted and self._table.waiting > self._low

    @property
    def ends_soon(self) -> bool:
        """Tell whether a worker has a task that will end in a moment. Any thread may ask."""
        return len(self._table) > 0 and self.ahead.quick

    def halt(self) -> None:
        """Claim nothing from now on, and hand back what no worker has begun. Any thread may call it."""
        self._halted = True
        self._return(self._table.not_begun())

    def next(self, *, ending: int) -> Call[leases.Claimed | None] | None:
        """Return what to ask for, or None when there is no cause; ``ending`` claims end before it is answered."""
        free = 0 if self._halted else self._hooks.slots() - len(self._table) + ending
        asked = self.requests.next(free=free, ahead=self._most_ahead())
        if asked is None:
            return None
        c = self._config
        by = leases.Claimant(c.lease, c.pool_id, c.worker, c.alone, c.worker_type)
        return leases.claim(by, most=asked.most, free=asked.free, request=asked.request_id, result_ttl=c.result_ttl)

    def _most_ahead(self) -> int:
        if self._halted or self._config.alone or self._hooks.foreign():
            return 0
        return self.ahead.size(self._hooks.slots())

    def answered(self, reply: leases.Claimed | None) -> bool:
        """Start what an answer brings; True when there may be more for free workers."""
        asked = self.requests.answered()
        if reply is None:
            self._hooks.lease_lost()
            return False
        if reply.late:
            logger.warning("The lease's time has run out; new claims wait until it is refreshed")
            return False
        self._bell.known = reply.bell
        self.requests.wait(reply.due_in)
        self._hooks.pool(reply.pool_status, reply.workers)
        if reply.untold:
            self._hooks.untold()
        self._start(reply.claims, asked)
        if self._halted or reply.pool_status in _HALTED:
            self._return(self._table.not_begun())
        self._cancel(reply.cancels)
        # The group of a suspect that waits for what it needs is told when to look again: it has something to do.
        waits = self._config.alone and reply.due_in is not None
        if not (reply.claims or len(self._table) or waits):
            self._hooks.idle()
        if reply.more or not asked.most:
            self.requests.more()
        free = self._hooks.slots() - len(self._table)
        # Some tasks are never read ahead: only a claim that got any goes on at once with that.
        return reply.more and has_room(free=free, ahead=self._most_ahead() if reply.claims else 0)

    def _start(self, claims: Sequence[leases.Claim], asked: ClaimRequest) -> None:
        direct = True
        for index, claim in enumerate(claims):
            held = leases.Held(self._config.lease, claim.number, claim.task_id, self._config.pool_id)
            running = Running(held, claim, ahead=index >= asked.free, asked_at=asked.asked_at)
            if not self._table.add(running):
                continue
            if not self._halted and (direct or not running.ahead):
                direct = self._hooks.start(running) and direct
        if not direct:
            # Celery's consumer hands its tasks over in its own time: nothing may be in their way. What goes back would
            # be read ahead at once again.
            self.ahead.stalled()
            self._return([running for running in self._table.not_begun() if running.ahead])
        self._low = self._table.waiting // 2

    def _cancel(self, task_ids: frozenset[str]) -> None:
        for task_id in task_ids:
            running = self._table.get(task_id)
            if running is not None:
                running.reason = "It was cancelled."
                running.cancellation.cancel()
        # What no worker has begun ends in the store.
        self._return([running for running in self._table.not_begun() if running.held.task_id in task_ids])

    def pause(self) -> float:
        """Return for how many seconds there is nothing to do."""
        # What has a worker is begun by it in a moment.
        pause, since = self.requests.pause(), self._table.waiting_since(ahead=True)
        return pause if since is None else min(pause, max(0.0, since + self.ahead.patience - time.monotonic()))

    def hand_back_late(self) -> None:
        """Hand back what has waited too long for a worker: others may have one."""
        since = self._table.waiting_since()
        if since is not None and time.monotonic() - since >= self.ahead.patience:
            self.ahead.stalled()
            self._return(self._table.not_begun())

    def _return(self, claims: Sequence[Running]) -> None:
        # The newest first, so that the oldest is the first to be claimed again.
        for running in reversed(claims):
            self._end(running.held, leases.hand_back(running.held, result_ttl=self._config.result_ttl))
