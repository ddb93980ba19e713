"""What a manager does with tasks it finds: listing them, reading what they printed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.following import follow_log
from mahavishnu_pools.manager.task_verbs import TaskVerbs
from mahavishnu_pools.schemas.contest import Contest, with_verdict
from mahavishnu_pools.schemas.task import TERMINAL_STATUSES, TaskResult, TaskStatus
from mahavishnu_pools.schemas.task_batch import TaskBatch
from mahavishnu_pools.schemas.task_brief import TaskBrief
from mahavishnu_pools.store.approvals import list_awaiting
from mahavishnu_pools.store.batches import Batch, read_batch
from mahavishnu_pools.store.checks import Place, read_place
from mahavishnu_pools.store.dependencies import list_waiting
from mahavishnu_pools.store.leases import list_leases
from mahavishnu_pools.store.logs import LogPiece
from mahavishnu_pools.store.pools import NodeInfo, PoolRecord, list_nodes, read_pools
from mahavishnu_pools.store.task_briefs import CHUNK, read_briefs
from mahavishnu_pools.store.tasks import read_recent

_WAITING = frozenset({TaskStatus.QUEUED, TaskStatus.RETRYING})


class ListingVerbs(TaskVerbs):
    """The verbs that find tasks."""

    async def nodes(self) -> list[NodeInfo]:
        """Return the known nodes, also those that are lost."""
        return await (await self._connected()).store.run(list_nodes())

    async def tasks(
        self,
        *,
        pool: str | None = None,
        status: Collection[TaskStatus | str] | None = None,
        batch: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[TaskBrief]:
        """Return tasks, the newest first, or those of a batch in input order.

        Of each living pool those that wait, run, and the last 1000 that ended are known; of a batch all are. ``since``
        is the earliest time of submission, an aware one. The system's own periodic work is left out.

        Raises:
            PoolNotFound, PoolGone, BatchNotFound: there is none.
            UnknownChoice: there is no such status.
        """
        wanted = _statuses(status)
        pool_id = None if pool is None else (await self._record(pool)).pool_id
        if batch is not None:
            ids: list[str] = list((await self.batch(batch)).task_ids)
        else:
            ids = [one async for one in self._found(pool, wanted, limit)]
            if TaskStatus.AWAITING_APPROVAL in wanted:
                # No pool has them before they are approved.
                awaiting = await (await self._connected()).store.run(list_awaiting(most=limit))
                ids += set(awaiting).difference(ids)
            if TaskStatus.WAITING in wanted:
                waiting = await (await self._connected()).store.run(list_waiting(most=limit))
                ids += set(waiting).difference(ids)
        found = [
            brief
            for brief in await self._briefs(ids)
            if brief.status in wanted
            and not brief.periodic
            and pool_id in (None, brief.pool_id)
            and (since is None or (brief.created_at is not None and brief.created_at >= since))
        ]
        if batch is None:
            found.sort(key=lambda brief: brief.created_at or datetime.min.replace(tzinfo=UTC), reverse=True)
        return found[:limit]

    async def task_log(self, task_id: str) -> AsyncIterator[LogPiece]:
        """Yield what a task has printed so far.

        Raises:
            TaskNotFound: there is no such task.
        """
        store = (await self._connected()).store
        await self.task(task_id)
        at_once = asyncio.get_running_loop().create_future()
        at_once.set_result(None)
        async for piece in follow_log(store, task_id, at_once):
            yield piece

    async def batch(self, batch_id: str) -> TaskBatch:
        """Return what is known of a batch.

        Raises:
            BatchNotFound: there is no such batch, or it has expired.
        """
        found = await (await self._connected()).store.run(read_batch(batch_id))
        if found is None:
            raise errors.BatchNotFound.of(batch_id)
        return TaskBatch(
            batch_id=batch_id,
            total=found.total,
            successful=found.successful,
            failed=found.failed,
            reducer_id=found.follower,
            task_ids=found.task_ids,
            contest=await self._decided(found),
        )

    async def _decided(self, batch: Batch) -> Contest | None:
        """Return how a batch is decided that is a contest, by its judge too; None when it is none."""
        contest = batch.contest
        judge = (await self._read_tasks([contest.judge_id]))[0] if contest and contest.judge_id else None
        if contest is None or judge is None or not judge.done:
            return contest
        # Their answers may be long, and are not asked for.
        known = {one.task_id: one.status for one in await self._briefs(list(batch.task_ids))}
        candidates = [TaskResult(task_id=one, status=known.get(one, TaskStatus.FAILED)) for one in batch.task_ids]
        return with_verdict(contest, judge, candidates)

    async def _briefs(self, task_ids: list[str]) -> list[TaskBrief]:
        store = (await self._connected()).store
        found: list[TaskBrief] = []
        for start in range(0, len(task_ids), CHUNK):
            some = await store.run(read_briefs(task_ids[start : start + CHUNK]))
            found.extend(some)
        return found

    async def _found(self, pool: str | None, wanted: frozenset[TaskStatus], limit: int) -> AsyncIterator[str]:
        """Yield the ids of tasks that may be wanted, each once."""
        store = (await self._connected()).store
        if pool is not None:
            records: tuple[PoolRecord, ...] = (await self._record(pool),)
        else:
            records = (await store.run(read_pools())).pools
        leases = await store.run(list_leases()) if TaskStatus.RUNNING in wanted else []
        seen: set[str] = set()
        for record in records:
            ids: list[str] = []
            for place, bucket in _places(wanted, record):
                ids += await self._at(place, record.pool_id, bucket=bucket, limit=limit)
            for lease in leases:
                if lease.pool_id == record.pool_id:
                    ids += await self._at("claims", lease.lease, bucket=0, limit=lease.claims)
            if wanted & TERMINAL_STATUSES:
                ended = await store.run(read_recent(record.pool_id))
                ids.extend(ended)
            for one in ids:
                if one not in seen:
                    seen.add(one)
                    yield one

    async def _at(self, place: Place, owner: str, *, bucket: int, limit: int) -> list[str]:
        store = (await self._connected()).store
        at, found = "0", list[str]()
        while at and len(found) < limit:
            at, some = await store.run(read_place(place, owner, bucket=bucket, at=at))
            found += [one.task_id for one in some if one.recorded]
        return found


def _places(wanted: frozenset[TaskStatus], record: PoolRecord) -> list[tuple[Place, int]]:
    if not wanted & _WAITING or not record.queued:
        return []
    return [*(("queue", bucket) for bucket in range(len(names.PRIORITY_STEPS))), ("suspects", 0), ("delayed", 0)]


def _statuses(given: Collection[TaskStatus | str] | None) -> frozenset[TaskStatus]:
    if not given:
        return frozenset(TaskStatus)
    known = [one.value for one in TaskStatus]
    for one in given:
        if one not in known:
            raise errors.UnknownChoice.of("status", str(one), known)
    return frozenset(TaskStatus(one) for one in given)
