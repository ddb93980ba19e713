"""When a claim loop asks for work, and with which request: one without an answer is asked again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from secrets import token_hex

#: Seconds between two looks of an idle loop: stock producers do not ring, their messages are seen within 2 s.
LOOK = 1.8

#: The most messages claimed at once, so that one script stays short.
CLAIM_MOST = 100

#: Seconds between two ticks of an idle loop.
TICK = 1.0


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """One request for at most ``most`` messages; with 0 the answer still tells which tasks are to be cancelled.

    There are workers for ``free`` of them, the rest is read ahead. ``asked_at`` is by the monotonic clock.
    """

    request_id: str
    most: int
    free: int
    asked_at: float


def has_room(*, free: int, ahead: int) -> bool:
    """Tell whether there is cause to claim: a free worker, or half of what may be read ahead."""
    return free > 0 or (ahead > 0 and 2 * (free + ahead) >= ahead)


class ClaimRequests:
    """Belongs to the loop's thread, but for ``ring``."""

    def __init__(self) -> None:
        self._rung = True
        self._more = False
        self._overdue = False
        self._look_at = 0.0
        self._due: float | None = None
        self._open: ClaimRequest | None = None
        self._full = False

    @property
    def rung(self) -> bool:
        """Tell whether somebody rang and nothing was asked for since. Any thread may ask."""
        return self._rung

    def ring(self) -> None:
        """Have work asked for at the next occasion."""
        self._rung = True

    def more(self) -> None:
        """Have work asked for when there is room for some: the queue may hold more than fitted."""
        self._more = True

    def next(self, *, free: int, ahead: int) -> ClaimRequest | None:
        """Return what to ask for, or None while there is no cause.

        ``free`` is how many workers have nothing to do (less than 0: so many tasks are read ahead already), ``ahead``
        how many tasks are read ahead at most.
        """
        # Without room the answer still tells what is to be cancelled. With tasks read ahead there will be room soon:
        # only what is due is asked for at once, or it would wake the loop again and again.
        urgent = self._rung and (self._overdue or not ahead)
        asks = self._rung or self._more if has_room(free=free, ahead=ahead) else urgent
        if self._open is None and asks:
            self._rung = self._more = self._overdue = False
            most = 0 if self._full else max(0, min(CLAIM_MOST, free + ahead))
            self._open = ClaimRequest(token_hex(8), most, max(0, min(most, free)), time.monotonic())
        return self._open

    def answered(self) -> ClaimRequest:
        """Take note of an answer; returns what had been asked for."""
        assert self._open is not None, "nothing was asked for"
        asked, self._open, self._full = self._open, None, False
        self._look_at = time.monotonic() + LOOK
        return asked

    def refused(self) -> None:
        """Take note that the server is full: ask for nothing once, then try again."""
        self._open, self._rung, self._full = None, True, True

    def wait(self, due_in: float | None) -> None:
        """Have work asked for when a delayed message is due, in so many seconds (None: there is none)."""
        self._due = None if due_in is None else time.monotonic() + due_in

    def pause(self) -> float:
        """Return for how many seconds there is nothing to do, at most one tick."""
        pause = min(TICK, self._look_at - time.monotonic())
        if self._due is not None:
            pause = min(pause, self._due - time.monotonic())
        return max(0.0, pause)

    def look(self) -> None:
        """Have work asked for when it is time, whether or not somebody rang."""
        now = time.monotonic()
        if now >= self._look_at or (self._due is not None and now >= self._due):
            self._rung = self._overdue = True
