"""Choices of strategies that measure, and what explains a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import errors
from mahavishnu_pools.routing.measured import Measured, placed
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.routing import EXPLAINED_MOST, Choice, RoutingCandidate, RoutingRequest
from mahavishnu_pools.store.routing_look import Seen, look_at_pools

if TYPE_CHECKING:
    from mahavishnu_pools.routing.eligibility import Need, View
    from mahavishnu_pools.routing.strategies import Among
    from mahavishnu_pools.store.pools import PoolRecord
    from mahavishnu_pools.store.steps import Steps

#: Characters of a reason that a record keeps.
REASON_LENGTH = 160


def measured_choice(strategy: Measured, among: Among, view: View, need: Need, *, count: int) -> Steps[Choice]:
    """Have a strategy choose for so many equal tasks.

    Raises:
        NoPoolAvailable: there is no candidate.
        InvalidConfig: the strategy is a plug-in's, and fails.
    """
    ids = among.sifted.candidates
    if not ids:
        raise errors.NoPoolAvailable.of(among.sifted.reasons)
    seen = yield look_at_pools(need.task_type, ids)
    known = {pool.pool_id: pool for pool in view.pools}
    candidates = [_candidate(known[pool_id], seen[pool_id]) for pool_id in ids]
    request = RoutingRequest(task_type=need.task_type, worker_type=need.worker_type)
    targets = placed(strategy, candidates, request, count=count)
    return Choice(
        "pool",
        targets=targets,
        candidates=ids,
        version=among.version,
        filters=among.filters,
        label=strategy.name,
        explain={"figures": {one.pool_id: _figures(one) for one in candidates[:EXPLAINED_MOST]}},
    )


def explained(choice: Choice, reasons: Mapping[str, str], *, wanted: bool) -> Choice:
    """Return a choice that says of itself how it came about, or, unless that is wanted, one that does not."""
    if not wanted:
        return replace(choice, explain=None) if choice.explain else choice
    named = sorted(reasons.items())[:EXPLAINED_MOST]
    more = max(0, len(reasons) - EXPLAINED_MOST)
    left_out = {name: reason[:REASON_LENGTH] for name, reason in named}
    return replace(choice, explain={**(choice.explain or {}), "left_out": left_out, "more": more})


def _candidate(pool: PoolRecord, seen: Seen) -> RoutingCandidate:
    return RoutingCandidate(
        pool_id=pool.pool_id,
        name=pool.config.name,
        region=pool.config.region,
        tags=tuple(pool.config.tags),
        workers=seen.workers,
        running=seen.running,
        queued=seen.queued,
        degraded=pool.status is PoolStatus.DEGRADED,
        completed=seen.completed,
        seconds=seen.seconds,
        usd=seen.usd,
    )


def _figures(one: RoutingCandidate) -> dict[str, Any]:
    known: Sequence[tuple[str, float | None]] = (("seconds", one.seconds), ("usd", one.usd))
    return {name: round(value, 6) for name, value in known if value is not None}
