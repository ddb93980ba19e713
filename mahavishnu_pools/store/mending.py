"""Calls that mend what ``checks`` found. Each looks again first, and does nothing when it is not so any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.checks import BatchCounts, OddClaim, OddTask
from mahavishnu_pools.store.tasks import Envelope

#: What became of a task without a message; ``changed``: it was not as it had been.
Mended = Literal["queued", "failed", "dead", "ended", "changed"]


def mend_task(task: OddTask, envelope: Envelope | None, *, repair: str, result_ttl: float) -> Call[Mended]:
    """Give a task a new message; None: none can be made, so the task has failed. ``repair`` is new for each attempt."""
    parts = ("0", "", "") if envelope is None else (str(envelope.bucket), envelope.prefix, envelope.suffix)
    return Call("mend_task", (task.task_id, task.mark, *parts, int(result_ttl * 1000), repair), str)  # type: ignore[arg-type]


def mend_claim(claim: OddClaim) -> Call[bool]:
    """Release a claim whose task has its outcome, or record the task of one that has no record."""
    return Call("mend_claim", (claim.lease, claim.number, claim.task_id), bool)


def mend_lease(lease: str, *, pool_id: str) -> Call[str]:
    """Remove a lease nobody knows (``gone``), or make it ``known`` again when it has claims, so that it can be reaped.

    ``pool_id`` is named when none of its claims tells its pool.
    """
    return Call("mend_lease", (lease, pool_id), str)


def mend_batch(batch: str, was: BatchCounts, now: BatchCounts, *, result_ttl: float) -> Call[bool]:
    """Correct the counts of a batch; False when they were not ``was`` any more."""
    counts = (was.total, was.successful, was.failed, now.total, now.successful, now.failed)
    return Call("mend_batch", (batch, *counts, int(result_ttl * 1000)), bool)


def mend_records(task_ids: Sequence[str], *, result_ttl: float) -> Call[int]:
    """Give records with an outcome and no lifetime one; returns how many."""
    return Call("mend_records", (int(result_ttl * 1000), *task_ids), int)


def mend_ended(pool_id: str, task_ids: Sequence[str]) -> Call[int]:
    """Forget that cancelled tasks have left messages in a pool; returns how many."""
    return Call("mend_ended", (pool_id, *task_ids), int)


def mend_remains(pool_id: str) -> Call[bool]:
    """Remove what is left of a pool that does not exist, when nothing waits there."""
    return Call("mend_remains", (pool_id,), bool)
