"""Hands the tasks of a ``mahavishnu-remote`` pool to another instance: threads wait, one event loop does the calls.

While the instance does not answer, tasks wait for it, each as long as the pool's patience; the pool's record says why.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import CancelledError
from contextlib import ExitStack
from dataclasses import dataclass

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import Outcome

from .capture import cut_text
from .delegated_task import Origin
from .far_contact import Contact, Job, Ledger
from .far_course import FarCourse
from .far_instance import FarInstance, PoolChoice
from .far_watch import LOOK_EVERY, FarSweep, FarWatch, Report
from .interface import Refused, RunContext
from .loop_thread import LoopThread, lasting
from .remote_pool import Endpoint

logger = logging.getLogger(__name__)

#: Seconds a task waits for an instance that is away, when the pool does not say how many.
PATIENCE = 3600.0

#: Seconds the first contact may take, and the end.
START_TIMEOUT, STOP_TIMEOUT = 20.0, 5.0


@dataclass(frozen=True, slots=True)
class BridgePlace:
    """Whose bridge it is: this instance's id, the pool, and how long (s) its tasks wait for one that is away."""

    instance: str
    pool_id: str
    patience: float = PATIENCE


class FarBridge:
    """The bridge of one worker group. ``report`` is called off the loop with what is wrong over there, or None,
    and whether that is news.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        choice: PoolChoice,
        place: BridgePlace,
        *,
        ledger: Ledger,
        report: Report,
    ) -> None:
        self._far = FarInstance(endpoint, choice)  # first, because it refuses an endpoint that is none
        self._contact = Contact(self._far)
        self._place, self._ledger = place, ledger
        self._loop = LoopThread("bridge")
        self._here: set[str] = set()
        self._watch = FarWatch(self._contact, place.instance, report)
        self._sweep = FarSweep(self._contact, ledger, self._here)

    def start(self, *, strict: bool) -> None:
        """Look at the instance; with ``strict`` it must be usable, else tasks wait for it.

        Raises:
            RemoteUnavailable, RemoteRefused: it is not, or does not answer in time.
        """
        url = self._far.url
        late = errors.RemoteUnavailable(f"The instance at {url} did not answer in {START_TIMEOUT:g} s.", url=url)
        with ExitStack() as undo:
            undo.callback(self.close)
            self._loop.start(self._begin(strict=strict), within=START_TIMEOUT, late=late if strict else None)
            undo.pop_all()

    def close(self, *, delete: bool = False) -> None:
        """End the waiting and the connections, with ``delete`` what the pool left there, too; again: only wait."""
        self._loop.close(lambda: self._end(delete=delete), within=2 * STOP_TIMEOUT)

    def run(self, context: RunContext) -> Outcome:
        """Run a task there and wait for its end, or for its cancel.

        Raises:
            Refused: it names secrets, which never leave their node.
        """
        job = self._job(context)

        def ask() -> None:
            job.keep = context.cancellation.leave
            self._loop.tell(job.ending.set)

        running = self._loop.call(self._course(job))
        context.cancellation.on_cancel(ask)
        try:
            outcome = running.result()
        except CancelledError:
            return Outcome(status="cancelled", error="The worker group ended.")
        return outcome.model_copy(update={"output": cut_text(outcome.output, limit=context.limits.max_output_bytes)})

    def _job(self, context: RunContext) -> Job:
        spec, log = context.spec, context.log
        if spec.secrets:
            raise Refused(
                f"secrets: {', '.join(spec.secrets)} cannot be handed to another instance. "
                "Keep them there, or run the task on a pool of this one."
            )
        return Job(
            spec,
            Origin(self._place.instance, self._place.pool_id, context.task_id),
            consume=lambda stream, text: log.write(stream, text.encode("utf-8", "replace")),
            patience=self._place.patience,
            grace=context.limits.kill_grace,
        )

    # ── in the loop ──

    async def _begin(self, *, strict: bool) -> None:
        trouble = await self._watch.look()
        if trouble is not None:
            if strict:
                raise errors.RemoteRefused(trouble, url=self._far.url)
            logger.warning("Tasks of %s wait: %s", self._place.pool_id, trouble, extra={"action": "bridge"})
        self._working = [
            asyncio.create_task(lasting(work, pause=LOOK_EVERY)) for work in (self._watch.run, self._sweep.run)
        ]

    async def _course(self, job: Job) -> Outcome:
        self._here.add(job.origin.task_id)
        try:
            return await FarCourse(self._contact, job, self._ledger).run()
        finally:
            self._here.discard(job.origin.task_id)

    async def _end(self, *, delete: bool) -> None:
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                if delete:
                    await self._sweep.all()
                await self._far.close()
        except (errors.MahavishnuError, OSError, TimeoutError) as exc:
            logger.warning("What runs at %s is left there: %s", self._far.url, exc, extra={"action": "bridge"})
