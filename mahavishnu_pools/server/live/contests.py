"""Reads for the page how the contest stands in which a task takes part."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mahavishnu_pools.routing.contests import CANDIDATES_MOST
from mahavishnu_pools.schemas.contest import result_of
from mahavishnu_pools.schemas.task import TaskResult, TaskStatus
from mahavishnu_pools.server.live.views import Part
from mahavishnu_pools.store.batches import read_batch
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.task_briefs import read_briefs
from mahavishnu_pools.store.tasks import read_tasks


async def part_of(store: AsyncStore, found: TaskResult, spec: str | None) -> Part | None:
    """Return a task's part in a contest; None when it has none, or the contest has expired."""
    batch_id = found.batch_id or _judged_batch(spec)
    batch = await store.run(read_batch(batch_id, last=CANDIDATES_MOST - 1)) if batch_id else None
    if batch_id is None or batch is None or batch.contest is None:
        return None
    judge_id = batch.contest.judge_id
    if found.batch_id is None and judge_id != found.task_id:
        return None
    judge = None
    if judge_id is not None:
        judge = (await store.run(read_tasks([judge_id])))[0] or _expired(judge_id)
    candidates = await _candidates(store, batch.task_ids)
    stands = result_of(batch_id, batch.contest, candidates, judge)
    return Part(
        kind=stands.kind,
        role="judge" if judge_id == found.task_id else "candidate",
        status=stands.status,
        winners=tuple(candidates[place].task_id for place in stands.winners),
        judge_id=judge_id,
        reason=stands.reason,
    )


async def _candidates(store: AsyncStore, task_ids: Sequence[str]) -> list[TaskResult]:
    """Return candidates without their answers, which may be long."""
    known = {one.task_id: one.status for one in await store.run(read_briefs(task_ids))}
    return [TaskResult(task_id=one, status=known[one]) if one in known else _expired(one) for one in task_ids]


def _expired(task_id: str) -> TaskResult:
    return TaskResult(task_id=task_id, status=TaskStatus.FAILED, error="Its result has expired.")


def _judged_batch(spec: str | None) -> str | None:
    """Return the batch that a task may judge: it is no member of it, and its payload names it."""
    given = json.loads(spec) if spec and '"batch_id"' in spec else None
    payload = given.get("payload") if isinstance(given, dict) else None
    batch_id = payload.get("batch_id") if isinstance(payload, dict) else None
    return batch_id if isinstance(batch_id, str) and batch_id else None
