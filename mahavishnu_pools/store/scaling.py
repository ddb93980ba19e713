"""Calls of the autoscaler: what pools need workers by, and giving them another number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mahavishnu_pools.schemas.scaling import Sample
from mahavishnu_pools.store.calls import Argument, Call


def look(node: str, least: Mapping[str, int], *, turn: float) -> Call[dict[str, Sample]]:
    """Look at pools (id: the least workers it may have).

    Those another node scales, and those with nothing to do and their least workers, are left out. The node
    keeps a pool's turn for ``turn`` seconds.
    """
    flat: list[Argument] = [node, max(1, round(turn * 1000))]
    for pool_id, number in least.items():
        flat.extend((pool_id, number))
    return Call("scaling_look", tuple(flat), lambda reply: {entry[0]: _sample(entry[1:]) for entry in reply})


def set_workers(pool_id: str, node: str, *, before: int, after: int, reason: str) -> Call[bool]:
    """Give a pool another number of workers; False when its number, its limits or its turn changed meanwhile."""
    return Call("scaling_set", (pool_id, node, before, after, reason), bool)


def _sample(entry: Sequence[Any]) -> Sample:
    workers, queued, running, waited, ended, seconds, chosen_at, now, rate = entry
    return Sample(
        at=float(now),
        workers=workers,
        queued=queued,
        running=running,
        waited=float(waited),
        ended=ended,
        run_seconds=float(seconds),
        chosen_at=float(chosen_at) if chosen_at else None,
        rate=float(rate) if rate else None,
    )
