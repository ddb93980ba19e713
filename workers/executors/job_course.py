"""One task's Job from its making to its end: followed by the board and its log, ended at its time-out or cancel.

It belongs to the bridge's event loop. A Job that is there already, of a bridge that was lost, is taken over as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from mahavishnu_pools import errors
from mahavishnu_pools.kube.board import Board, Ticket
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.jobs import JobTask
from mahavishnu_pools.kube.objects import kubernetes_of
from mahavishnu_pools.kube.pod_state import PodView, read_pod
from mahavishnu_pools.schemas.pool import PoolConfig

from .interface import Retryable
from .job_log import JobLog
from .job_making import JobMaker
from .job_verdict import JobEnd, ended, has_ended

logger = logging.getLogger(__name__)

#: Seconds a Pod may be in a state that usually lasts for ever.
PATIENCE = 10.0

#: Seconds, beyond its grace, that the end of a Pod is waited for after it was asked for.
GOING_MARGIN = 15.0


class NotRun(Exception):
    """The task could not be run there, for the reason in the message."""

    def __init__(self, message: str, *, retryable: Retryable | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable


@dataclass(slots=True)
class Wishes:
    """What is wanted of a Job while it runs. ``keep``: its bridge goes, the Job stays for the next one."""

    ending: asyncio.Event = field(default_factory=asyncio.Event)
    keep: bool = False

    async def until(self, work: object, *, by: float) -> object | None:
        """Return the result of work, None when the time is over or the end is asked for before."""
        doing = asyncio.ensure_future(work)  # type: ignore[call-overload]
        asked = asyncio.ensure_future(self.ending.wait())
        try:
            left = max(0.0, by - asyncio.get_running_loop().time())
            await asyncio.wait({doing, asked}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            for one in (doing, asked):
                one.cancel()
            # What it was about is over before anything else is done about it.
            await asyncio.gather(doing, asked, return_exceptions=True)


class JobCourse:
    """One Job. ``consume`` gets the output as it comes."""

    def __init__(
        self, cluster: Cluster, board: Board, config: PoolConfig, task: JobTask, *, pool_id: str, wishes: Wishes
    ) -> None:
        self._cluster, self._board, self._config = cluster, board, config
        self._task, self._wishes = task, wishes
        self._loop = asyncio.get_running_loop()
        self._start_by = self._loop.time() + kubernetes_of(config).start_timeout
        self._end_by: float | None = None
        self._maker = JobMaker(cluster, config, task, pool_id=pool_id)

    async def run(self, consume: Callable[[bytes], None]) -> JobEnd:
        """Run it and return how it went.

        Raises:
            NotRun: it could not be made, or its Pod did not start.
            ClusterRefused: it may not be made.
        """
        with self._board.ticket(self._task.name) as ticket:
            if await self._made(ticket) is None:
                if self._wishes.ending.is_set():
                    return await self._stopped(ticket, "cancelled")
                # An answer may have got lost: the task must not run beside its own retry.
                await self._remove(ticket)
                raise NotRun(f"The Job could not be made in time. {self._trouble(ticket)}", retryable="overload")
            log = JobLog(self._cluster, consume)
            try:
                return await self._follow(ticket, log)
            finally:
                await log.stop()

    async def _made(self, ticket: Ticket) -> object | None:
        try:
            return await self._wishes.until(self._maker.make(ticket), by=self._start_by)
        except errors.ClusterRefused:
            if ticket.bound:
                # Without its Secret it would wait for ever.
                await self._remove(ticket)
            raise

    # ── following ──

    async def _follow(self, ticket: Ticket, log: JobLog) -> JobEnd:
        stuck_since: float | None = None
        while True:
            view = await self._look(ticket)
            if view is not None and view.has_log:
                log.start(view.name)
            if (found := ended(ticket, view)) is not None:
                await log.finish(gone=ticket.pod_gone)
                return found
            if self._wishes.ending.is_set():
                return await self._stopped(ticket, "cancelled", log)
            if view is not None and view.started is not None:
                self._end_by = self._end_by or self._loop.time() + self._left(view.started)
            stuck_since = await self._check_stuck(ticket, view, stuck_since)
            if not await self._changed(ticket, stuck_since):
                if self._end_by is not None:
                    return await self._stopped(ticket, "timeout", log)
                if self._loop.time() >= self._start_by:
                    await self._not_started(ticket, self._trouble(ticket))

    async def _look(self, ticket: Ticket) -> PodView | None:
        """Return what is seen of the Pod; asks for what one watch tells before the other."""
        by = max(self._start_by, self._loop.time() + PATIENCE)
        if ticket.pod is None and (ticket.job_gone or has_ended(ticket.job)):
            await self._wishes.until(self._board.seek(ticket), by=by)
        view = read_pod(ticket.pod) if ticket.pod is not None else None
        if ticket.pod_gone and not ticket.job_gone and view is not None and view.end is None:
            await self._wishes.until(self._board.ask(ticket), by=by)
        return view

    async def _check_stuck(self, ticket: Ticket, view: PodView | None, since: float | None) -> float | None:
        """Return since when the Pod is in a state that usually lasts; raises NotRun when that is long enough."""
        trouble = view.trouble if view is not None and view.started is None else None
        if trouble is None or trouble.may_pass:
            return None
        since = since or self._loop.time()
        if not trouble.lasting and self._loop.time() - since < PATIENCE:
            return since
        await self._remove(ticket)
        raise NotRun(f"Its Pod cannot start: {trouble.message}")

    async def _changed(self, ticket: Ticket, stuck_since: float | None) -> bool:
        """Wait until something is new; False when a time is over."""
        by = self._end_by if self._end_by is not None else self._start_by
        until = by if stuck_since is None else min(by, stuck_since + PATIENCE)
        done = await self._wishes.until(ticket.changed.wait(), by=until)
        ticket.changed.clear()
        return done is not None or self._wishes.ending.is_set() or self._loop.time() < by

    def _left(self, started: datetime) -> float:
        """Return the seconds the task may still run; one that was taken over has run before."""
        ran = (datetime.now(UTC) - started).total_seconds() if self._maker.adopted else 0.0
        return max(0.0, self._task.timeout - max(0.0, ran))

    # ── ending ──

    async def _stopped(self, ticket: Ticket, how: Literal["timeout", "cancelled"], log: JobLog | None = None) -> JobEnd:
        """Delete the Job and wait until its Pod has ended, unless it is to stay for the next bridge."""
        pod = ticket.pod["metadata"]["name"] if ticket.pod is not None else None
        if self._wishes.keep:
            return JobEnd("cancelled", pod=pod, left=True)
        gone = await self._remove(ticket)
        if log is not None and gone:
            await log.finish(gone=True)
        return JobEnd(how, pod=pod, left=not gone)

    async def _remove(self, ticket: Ticket) -> bool:
        by = self._loop.time() + self._task.grace + GOING_MARGIN
        try:
            uid = ticket.job["metadata"]["uid"] if ticket.job is not None else None
            await self._cluster.delete("Job", self._task.name, uid=uid)
        except errors.MahavishnuError as exc:
            logger.warning("The Job %s is not deleted: %s", self._task.name, exc, extra={"action": "delete_job"})
            return False
        while ticket.pod is not None and not ticket.pod_gone and read_pod(ticket.pod).end is None:
            ticket.changed.clear()
            try:
                async with asyncio.timeout_at(by):
                    await ticket.changed.wait()
            except TimeoutError:
                return False
        return True

    async def _not_started(self, ticket: Ticket, why: str) -> None:
        if ticket.pod is None:
            why = await _last_event(self._cluster, self._task.name) or why
        await self._remove(ticket)
        seconds = kubernetes_of(self._config).start_timeout
        raise NotRun(f"Its Pod did not start within {seconds:g} s: {why}", retryable="overload")

    def _trouble(self, ticket: Ticket) -> str:
        view = read_pod(ticket.pod) if ticket.pod is not None else None
        if view is not None and view.trouble is not None:
            return view.trouble.message
        return self._maker.said or (
            "the cluster does not say why" if view else "the cluster made no Pod; see its events"
        )


async def _last_event(cluster: Cluster, job: str) -> str | None:
    """Return what the cluster last noted of a Job without a Pod; None where nobody may know."""
    try:
        found = await cluster.find("Event", fields=f"involvedObject.name={job}")
    except errors.MahavishnuError as exc:
        logger.debug("The events of %s cannot be read: %s", job, exc)
        return None
    return next((str(one["message"]) for one in reversed(found.get("items") or []) if one.get("message")), None)
