"""Calls about batches: reading one, putting its members in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools.schemas.contest import Contest
from mahavishnu_pools.store.calls import Call, pairs


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
