"""Calls about batches: reading one, putting its members in order, saying what runs after the last one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools.schemas.contest import Contest
from mahavishnu_pools.store.calls import Call, pairs
from mahavishnu_pools.store.tasks import Envelope


@dataclass(frozen=True, slots=True)
class Batch:
    """The counts of a batch, its task ids in input order, and what kind of contest it is (None: it is none)."""

    total: int
    successful: int
    failed: int
    follower: str | None
    task_ids: tuple[str, ...]
    contest: Contest | None = None


def read_batch(batch: str, *, first: int = 0, last: int = -1) -> Call[Batch | None]:
    """Read a batch; None when it is unknown or expired."""

    def parse(reply: list[Any]) -> Batch | None:
        h = pairs(reply[0])
        if not h:
            return None
        counts = (int(h.get(name, 0)) for name in ("total", "successful", "failed"))
        total, successful, failed = counts
        return Batch(total, successful, failed, h.get("follower"), tuple(reply[1]), Contest.of_batch(h))

    return Call("batch_read", (batch, first, last), parse)


def sort_batch(batch: str, task_ids: Sequence[str]) -> Call[bool]:
    """Put the last members of a batch into this order; False when these are not its last members."""
    return Call("batch_sort", (batch, *task_ids), bool)


@dataclass(frozen=True, slots=True)
class Follower:
    """The task that runs when every task of a batch has its outcome, on one of the candidates."""

    envelope: Envelope
    candidates: tuple[str, ...]
    fallback: str

    def text(self) -> str:
        """Return the JSON form that the scripts keep."""
        e = self.envelope
        known = {"idem": e.idempotency_key} if e.idempotency_key else {}
        return json.dumps(
            {
                **known,
                "id": e.task_id,
                "type": e.kind,
                "spec": e.spec,
                "bucket": e.bucket,
                "prefix": e.prefix,
                "suffix": e.suffix,
                "candidates": self.candidates,
                "fallback": self.fallback,
            }
        )


def seal(batch: str, *, follower: Follower | None, client: str | None, result_ttl: float) -> Call[str | None]:
    """Say that a batch has all its tasks, and what runs after the last one. ``result_ttl`` is in seconds.

    The answer is the id of what follows ('' when nothing does), or None when there is no such batch. A follower whose
    idempotency key is known is the one that has it.
    """

    def parse(reply: int | str) -> str | None:
        return None if reply == 0 else str(reply)

    text = follower.text() if follower else ""
    return Call("seal", (batch, text, client or "", int(result_ttl * 1000)), parse)
