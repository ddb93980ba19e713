"""What a manager does with the parts of one task over several pools."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mahavishnu_pools import durations
from mahavishnu_pools.manager.task_verbs import TaskVerbs
from mahavishnu_pools.pools.interface import Task
from mahavishnu_pools.routing.distributing import Distribution, Ready, carry_out, prepare
from mahavishnu_pools.routing.distribution import spread
from mahavishnu_pools.routing.eligibility import PoolFilter
from mahavishnu_pools.routing.task_input import task_spec
from mahavishnu_pools.schemas.pool import DistributionStrategy
from mahavishnu_pools.schemas.task import DistributionResult, TaskResult
from mahavishnu_pools.schemas.task_batch import TaskBatch
from mahavishnu_pools.store.steps import run_steps

logger = logging.getLogger(__name__)

#: Called with the number of parts that have an outcome, and of all.
Progress = Callable[[int, int], None]


class BatchVerbs(TaskVerbs):
    """The verbs about distributions."""

    async def distribute(
        self,
        task: Task,
        *,
        wait_timeout: float | None = None,
        on_progress: Progress | None = None,
        **how: Any,
    ) -> DistributionResult:
        """Split a task over several pools and gather the results: one an item, in input order.

        Takes the arguments of ``start_distribution``. A part that fails is an item with that status, never an error.
        ``on_progress`` is called with (done, total). ``wait_timeout`` (seconds) is for all parts together.

        Raises:
            WaitTimeout: not all was there in time; the parts go on.
        """
        durations.checked(wait_timeout, name="wait_timeout")
        started = await self.start_distribution(task, **how)
        return await self.gather(started, wait_timeout=wait_timeout, on_progress=on_progress)

    async def start_distribution(  # noqa: PLR0913 - the public form of the seven things a caller may say
        self,
        task: Task,
        *,
        strategy: DistributionStrategy | str = DistributionStrategy.ROUND_ROBIN,
        pools: Sequence[str] | None = None,
        filters: PoolFilter | None = None,
        split_on: str | None = None,
        reducer: str | None = None,
        chunk_size: int = 1,
    ) -> Distribution:
        """Send the parts of a task to several pools and return their ids at once.

        The list under ``items``, ``files``, ``batch``, ``data`` or ``split_on`` is split into pieces of ``chunk_size``;
        ``broadcast`` sends the whole task once to each pool. ``pools`` (ids or names) limits them. ``reducer=None`` is
        ``analysis`` for ``analyze``, else ``concat``.

        Raises:
            InvalidField: there is no list to split, or a part cannot be used.
            UnknownChoice: there is no such strategy, reducer or task type.
            PoolNotFound, PoolGone, NoPoolAvailable: no pool can run the parts.
            RedisUnavailable: as in ``submit_many``.
        """
        parts = await self._connected()
        how = spread(strategy, split_on=split_on, chunk_size=chunk_size, reducer=reducer)
        steps = prepare(parts.chooser, parts.sender, task_spec(task), how, pools=pools, filters=filters)
        ready: Ready = await run_steps(parts.store, steps)
        parts.waiter.expect(ready.ids())
        sent = carry_out(parts.sender, ready, result_ttl=self.settings.result_expires)
        started: set[str] = set()
        try:
            found = await run_steps(parts.store, sent)
            started = {*found.task_ids, *([found.reducer_id] if found.reducer_id else [])}
        finally:
            # Those that were known before under an idempotency key belong to whoever submitted them.
            parts.waiter.forget(set(ready.ids()).difference(started))
        return found

    async def gather_batch(
        self, batch: TaskBatch, *, wait_timeout: float | None = None, on_progress: Progress | None = None
    ) -> DistributionResult:
        """Wait for all tasks of a batch, whoever sent them; see ``distribute``. The strategy told is ``batch``."""
        started = Distribution(batch.batch_id, batch.task_ids, "batch", batch.reducer_id)
        return await self.gather(started, wait_timeout=wait_timeout, on_progress=on_progress)

    async def gather(
        self, started: Distribution, *, wait_timeout: float | None = None, on_progress: Progress | None = None
    ) -> DistributionResult:
        """Wait for a distribution that was started; see ``distribute``."""
        follower = [started.reducer_id] if started.reducer_id else []
        total = len(started.task_ids)
        found: dict[str, TaskResult] = {}
        async for result in self.results([*started.task_ids, *follower], wait_timeout=wait_timeout):
            found[result.task_id] = result
            if on_progress is not None and result.task_id != started.reducer_id:
                # What reduces the parts may be seen before the last of them, and is none itself.
                on_progress(len(found) - (started.reducer_id in found), total)
        return _gathered(started, found)


def _gathered(started: Distribution, found: Mapping[str, TaskResult]) -> DistributionResult:
    items = tuple(found[task_id] for task_id in started.task_ids)
    successful = sum(item.ok for item in items)
    reducing = found[started.reducer_id] if started.reducer_id else None
    if reducing is not None and not reducing.ok:
        logger.warning("Nothing was reduced: %s", reducing.error, extra={"action": "reduce"})
    return DistributionResult(
        batch_id=started.batch_id,
        strategy=started.strategy,
        total=len(items),
        successful=successful,
        failed=len(items) - successful,
        items=items,
        reduced=reducing.value if reducing is not None else None,
    )
