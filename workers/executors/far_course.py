"""One task on another instance from its sending to its end: found again by its key, however often contact is lost.

It belongs to the bridge's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.store.logs import START

from .delegated_task import loop_refusal, outcome_of, request_of
from .far_contact import Contact, Errand, Job, Ledger, Over, cancelled
from .far_instance import Accepted, TaskRefused
from .far_output import FarOutput

#: Seconds, beyond the grace of a task's end, that an instance has for a cancel.
CANCEL_MARGIN = 15.0


class FarCourse:
    """See the module."""

    def __init__(self, contact: Contact, job: Job, ledger: Ledger) -> None:
        self._contact, self._job, self._ledger = contact, job, ledger
        self._far = contact.far
        self._errand = Errand(contact, job)
        self._output = FarOutput(job, ledger, contact.far.url)
        self._accepted: Accepted | None = None

    async def run(self) -> Outcome:
        """Run the task there and return how it ended."""
        try:
            request = request_of(self._job.spec, self._job.origin, routed=self._far.choice.pool is None)
            accepted = self._accepted = await self._send(request)
            await self._output.attach(accepted, self._contact.instance)
            task = await self._follow(accepted)
            outcome = outcome_of(task)
            if outcome.status == "cancelled" and self._job.ending.is_set():
                outcome = cancelled()
            await asyncio.to_thread(self._ledger.note, self._job.origin.task_id, None)
            return self._shown(outcome, {"status": task.get("status"), "attempts": task.get("attempts")})
        except Over as over:
            return self._shown(over.outcome, {})

    # ── sending ──

    async def _send(self, request: Mapping[str, JsonValue]) -> Accepted:
        while True:
            await self._errand.contacted(self._contact.open)
            refusal = loop_refusal(self._job.spec, here=self._job.origin.instance, there=self._contact.instance)
            if refusal is not None:
                raise Over(Outcome(status="failed", error=refusal, final=True))
            sending = asyncio.ensure_future(self._far.submit(request))
            try:
                await self._errand.either(sending)
                if self._job.ending.is_set() and self._job.keep:
                    raise Over(cancelled())
                # A cancel has to know what is to be cancelled.
                accepted = await sending
                self._errand.sent = True
                self._errand.succeeded()
                return accepted
            except (errors.RemoteUnavailable, errors.RemoteRefused) as exc:
                self._errand.sent |= bool(exc.details().get("maybe_ran"))
                await self._errand.failed(exc)
            except TaskRefused as exc:
                raise Over(_refused(self._far.url, exc)) from exc
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    # ── following ──

    async def _follow(self, accepted: Accepted) -> Mapping[str, Any]:
        """Return the task's record once it has ended.

        Raises:
            Over: it is lost there, or its end was asked for.
        """
        after = START
        while True:
            if self._job.ending.is_set():
                return await self._cancel(accepted.task_id, after)
            await self._contacted_or_ending()
            looking = asyncio.ensure_future(self._far.follow(accepted.task_id, after=after))
            try:
                await self._errand.either(looking)
                if not looking.done():
                    continue
                news = looking.result()
            except (errors.RemoteUnavailable, errors.RemoteRefused) as exc:
                await self._errand.failed(exc)
                continue
            except TaskRefused as exc:
                raise Over(_lost_there(self._far.url, exc, final=self._job.spec.on_worker_lost == "fail")) from exc
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
            after = news.after
            self._errand.succeeded()
            await self._output.take(news)
            if news.task is not None:
                return news.task

    async def _contacted_or_ending(self) -> None:
        try:
            await self._errand.contacted(self._contact.made)
        except Over:
            if not self._job.ending.is_set():
                raise

    # ── ending ──

    async def _cancel(self, task_id: str, after: str) -> Mapping[str, Any]:
        """Have it ended there and return its record.

        Raises:
            Over: it is not there any more, or could not be told in time.
        """
        if self._job.keep:
            raise Over(cancelled())
        try:
            async with asyncio.timeout(self._job.grace + CANCEL_MARGIN):
                return await self._ended(task_id, after)
        except TimeoutError:
            raise Over(self._errand.left(cancelled())) from None
        except TaskRefused:
            raise Over(cancelled()) from None

    async def _ended(self, task_id: str, after: str) -> Mapping[str, Any]:
        asked = False
        while True:
            await self._contact.made.wait()
            try:
                if not asked:
                    await self._far.cancel(task_id)
                    asked = True
                news = await self._far.follow(task_id, after=after)
            except (errors.RemoteUnavailable, errors.RemoteRefused) as exc:
                self._contact.lost(exc.message)
                continue
            after = news.after
            await self._output.take(news)
            if news.task is not None:
                return news.task

    def _shown(self, outcome: Outcome, facts: Mapping[str, Any]) -> Outcome:
        """Return an outcome that says where it was made."""
        remote: dict[str, Any] = {"url": self._far.url, "instance": self._contact.instance, **facts}
        if self._accepted is not None:
            remote |= {"task_id": self._accepted.task_id, "pool_id": self._accepted.pool_id}
        if "remote" in outcome.metadata:
            # That one delegated it, too.
            remote["remote"] = outcome.metadata["remote"]
        return outcome.model_copy(update={"metadata": {**outcome.metadata, "remote": remote}})


def _refused(url: str, exc: TaskRefused) -> Outcome:
    text = f"The instance at {url} refuses the task: {exc.message}"
    if exc.may_pass:
        return Outcome(status="failed", error=text, retryable="overload")
    return Outcome(status="failed", error=text, final=True)


def _lost_there(url: str, exc: TaskRefused, *, final: bool) -> Outcome:
    text = (
        f"The instance at {url} does not know the task any more ({exc.message.rstrip('.')}): its Redis "
        "was emptied, or the result expired there. Whether it ran cannot be known."
    )
    return Outcome(status="failed", error=text, retryable="connection", metadata={"remote_lost": True}, final=final)
