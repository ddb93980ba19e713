"""Hands the prompts of a ``session-buddy`` pool to its server: worker threads wait, one event loop does the calls.

While the server does not answer, prompts wait here, each as long as its own time-out; the pool's record says why. A
prompt whose call was cut off is sent again to a server that recognises it by its task id. On others it runs again: at
least once, as everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.pool import FIXED_WORKERS, SESSION_BUDDY
from mahavishnu_pools.schemas.task import Outcome

from .capture import cut_text
from .interface import Refused, RunContext
from .loop_thread import LoopThread
from .remote_answer import outcome_of
from .remote_pool import Endpoint, RemotePool

logger = logging.getLogger(__name__)

#: Seconds between two questions for the pool's health, while it answers and while it does not.
PROBE_EVERY, PROBE_LOST_EVERY = 10.0, 1.0

#: Times that one prompt is sent to a server which recognises it, when answers are lost.
SENDINGS = 4

#: Seconds the first contact with the server may take.
START_TIMEOUT = 15.0

#: Seconds the end of the loop may take.
STOP_TIMEOUT = 5.0


@dataclass(slots=True)
class _Call:
    """One prompt on its way. ``sent`` is True once the server may be running it."""

    prompt: str
    context: Mapping[str, Any]
    timeout: float
    sent: bool = False


class Delegate:
    """The bridge of one worker group. ``report`` is called off the loop with what is wrong with the server, or None.

    Raises:
        InvalidField: the endpoint's URL or token cannot be used.
    """

    def __init__(self, endpoint: Endpoint, pool_id: str, *, report: Callable[[str | None], None]) -> None:
        self._remote = RemotePool(endpoint, pool_id)  # first, because it refuses an endpoint that is none
        self._endpoint = endpoint
        self._pool_id = pool_id
        self._report = report
        self._loop = LoopThread("delegate")
        self._trouble: str | None = None

    def start(self) -> None:
        """Connect and have the pool on the server.

        Raises:
            RemoteUnavailable, RemoteRefused: the server does not answer, or is none with pools.
        """
        url = self._endpoint.url
        late = errors.RemoteUnavailable(f"The server at {url} did not answer in {START_TIMEOUT:g} s.", url=url)
        with ExitStack() as undo:
            undo.callback(self.close)
            self._loop.start(self._begin(), within=START_TIMEOUT, late=late)
            undo.pop_all()

    def close(self, *, delete: bool = False) -> None:
        """End the calls and the connection, with ``delete`` the remote pool, too; a second call does nothing."""
        self._loop.close(lambda: self._end(delete=delete), within=STOP_TIMEOUT)

    def run(self, context: RunContext, prompt: str) -> Outcome:
        """Run a prompt on the server and wait for its end, or for the task's cancel.

        Raises:
            Refused: the task names secrets, which never leave their node.
        """
        call = _Call(prompt, _remote_context(context), context.spec.timeout)
        future = self._loop.call(self._execute(call))
        ended = threading.Event()
        future.add_done_callback(lambda _: ended.set())
        context.cancellation.on_cancel(ended.set)
        ended.wait()
        outcome = _result(future) if future.done() else self._abandon(future, call)
        return _shown(outcome, context, url=self._endpoint.url, remote_pool=self._pool_id)

    def _abandon(self, future: Future[Outcome], call: _Call) -> Outcome:
        """Give a call up. A server that cannot be told to end it keeps its slot until it has answered."""
        metadata: dict[str, Any] = {}
        if call.sent and not self._remote.structured:
            metadata["remote_may_still_run"] = True
        else:
            future.cancel()
        return Outcome(status="cancelled", error="The task was cancelled.", metadata=metadata)

    # ── in the loop ──

    async def _begin(self) -> None:
        self._slots = asyncio.Semaphore(FIXED_WORKERS[SESSION_BUDDY])
        self._available, self._look = asyncio.Event(), asyncio.Event()
        await self._remote.ensure()
        self._available.set()
        self._watching = asyncio.create_task(self._watch(), name="watch the server")

    async def _end(self, *, delete: bool) -> None:
        try:
            async with asyncio.timeout(STOP_TIMEOUT / 2):
                if delete:
                    await self._delete()
                await self._remote.close()
        except (errors.MahavishnuError, OSError, TimeoutError) as exc:
            logger.warning("The pool %s was not left in order on %s: %s", self._pool_id, self._endpoint.url, exc)

    async def _delete(self) -> None:
        try:
            await self._remote.delete()
        except errors.RemoteUnavailable:
            # Servers end connections that were idle for a while, in this moment perhaps; a new one is tried.
            await self._remote.delete()

    async def _execute(self, call: _Call) -> Outcome:
        async with self._slots:
            if not await self._came_back(call.timeout):
                return Outcome(status="failed", error=self._trouble or "The server is away.", retryable="connection")
            call.sent = True
            began, left = time.monotonic(), call.timeout
            for sent in range(1, SENDINGS + 1):
                try:
                    return outcome_of(await self._remote.execute(call.prompt, context=call.context, timeout=left))
                except errors.RemoteUnavailable as exc:
                    lost = exc
                self._available.clear()
                self._look.set()
                left = call.timeout - (time.monotonic() - began)
                # Sent again, it joins the one that may run there, or gets its result.
                again = lost.details().get("maybe_ran") and self._remote.knows_tasks and sent < SENDINGS
                if not (again and left > 0 and await self._came_back(left)):
                    break
            known: dict[str, Any] = {"remote_may_still_run": True} if lost.details().get("maybe_ran") else {}
            return Outcome(status="failed", error=lost.message, retryable="connection", metadata=known)

    async def _came_back(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._available.wait()
        except TimeoutError:
            return False
        return True

    async def _watch(self) -> None:
        """Ask for the pool's health, sooner after a failed call, and tell what changed until somebody took note."""
        told: str | None = None
        while True:
            self._look.clear()
            pause = PROBE_EVERY if self._available.is_set() else PROBE_LOST_EVERY
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._look.wait()
            self._trouble = await self._probe()
            if self._trouble is None:
                self._available.set()
            else:
                self._available.clear()
            if self._trouble != told:
                try:
                    await asyncio.to_thread(self._report, self._trouble)
                    told = self._trouble
                except errors.MahavishnuError as exc:
                    logger.warning("The state of %s cannot be told now: %s", self._endpoint.url, exc)

    async def _probe(self) -> str | None:
        try:
            trouble = await self._remote.trouble()
        except errors.MahavishnuError as exc:
            return exc.message
        return None if trouble is None else f"Session-Buddy at {self._endpoint.url}: {trouble}"


def _result(future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except CancelledError:
        return Outcome(status="cancelled", error="The worker group ended.")
    except errors.MahavishnuError as exc:
        return Outcome(status="failed", error=exc.message)


def _remote_context(context: RunContext) -> dict[str, Any]:
    spec = context.spec
    if spec.secrets:
        raise Refused(
            f"secrets: {', '.join(spec.secrets)} cannot be handed to another server. "
            "Keep them there, or run the task on a pool of this system."
        )
    known_by = {"task_id": context.task_id, "attempt": context.attempt}
    given = {**known_by, "cwd": spec.cwd, "worker_type": spec.worker_type, "env": spec.env or None}
    return {name: value for name, value in given.items() if value is not None}


def _shown(outcome: Outcome, context: RunContext, *, url: str, remote_pool: str) -> Outcome:
    """Put the output into the log, within its limit into the outcome, and say where it was made."""
    context.log.write("stdout", outcome.output.encode("utf-8", "replace"))
    output = cut_text(outcome.output, limit=context.limits.max_output_bytes)
    metadata = {**outcome.metadata, "delegated_to": url, "remote_pool_id": remote_pool}
    return outcome.model_copy(update={"output": output, "metadata": metadata})
