"""What all tasks of a bridge share about another instance, and what one of them waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.store.delegated import Whereabouts
from mahavishnu_pools.store.logs import LogPiece

from .delegated_task import Origin
from .far_instance import FarInstance, Look

#: Seconds at most before a call that failed is made again.
LONGEST_PAUSE = 10.0


class Ledger(Protocol):
    """What a bridge keeps in the store of this instance. Its methods block."""

    def note(self, task_id: str, where: Whereabouts | None) -> None:
        """Note where a task runs, None: nowhere any more. That it cannot be noted now is no error."""
        ...

    def noted(self) -> Mapping[str, Whereabouts]:
        """Return where tasks of the pool run."""
        ...

    def ended(self, task_ids: Sequence[str]) -> Sequence[str]:
        """Return those of some tasks that have their outcome, or are not known any more."""
        ...

    def log(self, task_id: str) -> Sequence[LogPiece] | None:
        """Return what is known of a task's output; None: that cannot be said now."""
        ...


class Contact:
    """Whether an instance can be used, for all who need it. ``instance`` is its id, once it is known.

    ``made`` is set while it answers, ``open`` while it takes tasks as well.
    """

    def __init__(self, far: FarInstance) -> None:
        self.far = far
        self.instance = ""
        self.trouble = "it was not asked yet"
        self.made, self.open, self.look = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def lost(self, why: str) -> None:
        """Note that it cannot be used, and have it looked at."""
        self.trouble = why
        self.made.clear()
        self.open.clear()
        self.look.set()

    def found(self, look: Look) -> None:
        """Note what a look at it has found."""
        self.instance = look.instance
        self.made.set()
        if look.trouble is None:
            self.open.set()
        else:
            self.trouble = look.trouble
            self.open.clear()


@dataclass(slots=True)
class Job:
    """One attempt of a task. ``consume`` gets (stream, text); ``patience`` (seconds) is for an instance that is away.

    ``ending`` is set when it is to end; with ``keep`` what runs there stays, for the next bridge.
    """

    spec: TaskSpec
    origin: Origin
    consume: Callable[[str, str], None]
    patience: float
    grace: float
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    keep: bool = False


class Over(Exception):
    """The attempt has ended."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


class Errand:
    """One attempt as far as it waits: for the instance, for work, or until the task is to end."""

    def __init__(self, contact: Contact, job: Job) -> None:
        self.contact, self.job = contact, job
        #: True once the task may be there.
        self.sent = False
        self._failures = 0
        self._failing_since = 0.0

    async def contacted(self, usable: asyncio.Event) -> None:
        """Wait until the instance can be used.

        Raises:
            Over: that took too long, or the task is to end.
        """
        if usable.is_set() and not self.job.ending.is_set():
            return
        waiting = asyncio.ensure_future(usable.wait())
        try:
            await self.either(waiting, within=self.job.patience)
            if self.job.ending.is_set():
                raise Over(self.left(cancelled()))
            if not waiting.done():
                text = f"The instance could not be used for {self.job.patience:g} s: {self.contact.trouble}"
                raise Over(self.left(Outcome(status="failed", error=text, retryable="connection")))
        finally:
            waiting.cancel()

    async def failed(self, exc: errors.MahavishnuError) -> None:
        """Have the instance looked at; what fails again although that can be reached is done again later and later.

        Raises:
            Over: it has failed for too long.
        """
        self.contact.lost(exc.message)
        now = asyncio.get_running_loop().time()
        self._failing_since = self._failing_since if self._failures else now
        self._failures += 1
        if now - self._failing_since > self.job.patience:
            raise Over(self.left(Outcome(status="failed", error=exc.message, retryable="connection")))
        if self._failures > 1:
            pause = asyncio.ensure_future(asyncio.sleep(min(LONGEST_PAUSE, 0.1 * 2.0 ** min(self._failures, 10))))
            await self.either(pause)
            pause.cancel()

    def succeeded(self) -> None:
        """Note that a call did not fail."""
        self._failures = 0

    async def either(self, work: asyncio.Future[Any], *, within: float | None = None) -> None:
        """Wait for work, or until the task is to end."""
        asked = asyncio.ensure_future(self.job.ending.wait())
        try:
            await asyncio.wait({work, asked}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()

    def left(self, outcome: Outcome) -> Outcome:
        """Return an outcome that says so when the task may still run there."""
        known: dict[str, Any] = {"remote_may_still_run": True} if self.sent else {}
        return outcome.model_copy(update={"metadata": {**outcome.metadata, **known}})


def cancelled() -> Outcome:
    """Return the end of a task that was to end."""
    return Outcome(status="cancelled", error="The task was cancelled.")
