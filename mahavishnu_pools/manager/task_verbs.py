"""What a manager does with single tasks and lists of tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from mahavishnu_pools import durations, errors, tracing
from mahavishnu_pools.broker.following import follow_log
from mahavishnu_pools.manager.connection import Connected
from mahavishnu_pools.pools.interface import Task
from mahavishnu_pools.routing import submission
from mahavishnu_pools.routing.chooser import Wish
from mahavishnu_pools.routing.eligibility import PoolFilter
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.store.logs import LogPiece
from mahavishnu_pools.store.steps import run_steps
from mahavishnu_pools.store.tasks import Submitted, read_tasks

#: Tasks read in one call.
READ_CHUNK = 500


class TaskVerbs(Connected):
    """The verbs about tasks."""

    async def submit(  # noqa: PLR0913 - the public form of what a caller may say
        self,
        task: Task,
        *,
        pool: str | None = None,
        pool_selector: PoolSelector | str | None = None,
        pool_affinity: str | None = None,
        filters: PoolFilter | None = None,
        batch_id: str | None = None,
        explain: bool = False,
    ) -> Submitted:
        """Put a task on a pool's queue: the named one, else one that is chosen; raises like ``submit_many``."""
        wish = Wish(pool, pool_selector, pool_affinity, filters, explain)
        return (await self._submit([task], wish, batch_id))[0]

    async def submit_many(  # noqa: PLR0913 - as above
        self,
        tasks: Iterable[Task],
        *,
        pool: str | None = None,
        pool_selector: PoolSelector | str | None = None,
        pool_affinity: str | None = None,
        filters: PoolFilter | None = None,
        batch_id: str | None = None,
        explain: bool = False,
    ) -> list[Submitted]:
        """Put many tasks on queues; the answer is in input order. All are validated before the first is sent.

        ``explain`` has the record of each (``TaskResult.routing``) say how its pool was chosen.

        Raises:
            InvalidField, UnknownChoice, PayloadTooLarge: a task cannot be used; none was sent.
            PoolNotFound, PoolGone, MissingProgram, NoPoolAvailable: no pool can take them.
            RedisUnavailable: it was lost, or takes nothing. ``queued``, ``not_queued`` and ``unknown`` of an error that
                comes half-way have each task's place (from 0) and id.
        """
        wish = Wish(pool, pool_selector, pool_affinity, filters, explain)
        return await self._submit(list(tasks), wish, batch_id)

    async def execute_on_pool(self, pool_id: str, task: Task, *, wait_timeout: float | None = None) -> TaskResult:
        """Run a task on a pool (id or name) and return its outcome, also when it failed; raises like ``result``."""
        durations.checked(wait_timeout, name="wait_timeout")
        submitted = await self.submit(task, pool=pool_id)
        return await self.result(submitted.task_id, wait_timeout=wait_timeout)

    async def execute_batch_on_pool(self, pool_id: str, tasks: Iterable[Task]) -> list[TaskResult]:
        """Run tasks on a pool and return their outcomes in input order."""
        ids = [one.task_id for one in await self.submit_many(tasks, pool=pool_id)]
        found = {result.task_id: result async for result in self.results(ids)}
        return [found[task_id] for task_id in ids]

    async def route_task(
        self,
        task: Task,
        pool_selector: PoolSelector | str | None = None,
        pool_affinity: str | None = None,
        *,
        filters: PoolFilter | None = None,
        wait_timeout: float | None = None,
    ) -> TaskResult:
        """Choose a pool, run the task there and return its outcome, also when it failed."""
        durations.checked(wait_timeout, name="wait_timeout")
        submitted = await self.submit(task, pool_selector=pool_selector, pool_affinity=pool_affinity, filters=filters)
        return await self.result(submitted.task_id, wait_timeout=wait_timeout)

    async def result(self, task_id: str, *, wait_timeout: float | None = None) -> TaskResult:
        """Return a task's outcome, waiting at most ``wait_timeout`` seconds for it (None: for ever).

        Raises:
            WaitTimeout: it was not there in time; the task goes on.
            TaskNotFound: there is no such task.
            InvalidField: the waiting time is negative or not finite.
        """
        within = durations.checked(wait_timeout, name="wait_timeout")
        return await (await self._connected()).waiter.wait(task_id, within=within)

    async def results(self, task_ids: Iterable[str], *, wait_timeout: float | None = None) -> AsyncIterator[TaskResult]:
        """Yield outcomes in the order of completion; ``wait_timeout`` (seconds) is for all of them together."""
        within = durations.checked(wait_timeout, name="wait_timeout")
        async for result in (await self._connected()).waiter.stream(task_ids, within=within):
            yield result

    async def follow(self, task_id: str, *, wait_timeout: float | None = None) -> AsyncIterator[LogPiece]:
        """Yield what a task prints, from its beginning until its outcome is there; ``wait_timeout`` is in seconds.

        Raises:
            WaitTimeout: the outcome was not there in time; the task goes on.
            TaskNotFound: there is no such task.
        """
        within = durations.checked(wait_timeout, name="wait_timeout")
        parts = await self._connected()
        await self.task(task_id)
        ended = asyncio.ensure_future(parts.waiter.wait(task_id, within=within))
        try:
            async for piece in follow_log(parts.store, task_id, ended):
                yield piece
            await ended
        finally:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)

    async def task(self, task_id: str) -> TaskResult:
        """Return what is known of a task now.

        Raises:
            TaskNotFound: there is no such task.
        """
        found = (await self._read_tasks([task_id]))[0]
        if found is None:
            raise errors.TaskNotFound.of(task_id)
        return found

    async def _submit(self, tasks: Sequence[Task], wish: Wish, batch_id: str | None) -> list[Submitted]:
        with tracing.span("submit", kind="producer", attributes={"mahavishnu.tasks": len(tasks)}):
            return await self._send(tasks, wish, batch_id)

    async def _send(self, tasks: Sequence[Task], wish: Wish, batch_id: str | None) -> list[Submitted]:
        parts = await self._connected()
        parcels = await run_steps(parts.store, submission.pack(parts.chooser, parts.sender, tasks))
        ids = [parcel.envelope.task_id for parcel in parcels]
        parts.waiter.expect(ids)
        sent: list[Submitted] = []
        try:
            steps = submission.send(parts.chooser, parts.sender, parcels, wish, batch=batch_id)
            sent = await run_steps(parts.store, steps)
        finally:
            # Those that were known before under an idempotency key belong to whoever submitted them.
            parts.waiter.forget(set(ids).difference(one.task_id for one in sent))
        return sent

    async def _read_tasks(self, task_ids: Sequence[str]) -> list[TaskResult | None]:
        store = (await self._connected()).store
        found: list[TaskResult | None] = []
        for start in range(0, len(task_ids), READ_CHUNK):
            some = await store.run(read_tasks(task_ids[start : start + READ_CHUNK]))
            found.extend(some)
        return found
