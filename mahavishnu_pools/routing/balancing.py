"""Evens the loads of pools by moving what waits in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mahavishnu_pools.routing.moving import Census, Reach, carry_out, is_dead, moves_of, take_census, unfit
from mahavishnu_pools.routing.rebalance import Plan, Shift, Stand, picker
from mahavishnu_pools.schemas.moving import PoolBalance, Rebalanced, total
from mahavishnu_pools.schemas.pool import PoolSelector, PoolStatus
from mahavishnu_pools.store.moves import PLACES

if TYPE_CHECKING:
    from mahavishnu_pools.routing.eligibility import View
    from mahavishnu_pools.store.pools import PoolRecord
    from mahavishnu_pools.store.steps import Steps

#: A pool in one of these states works off nothing, so that a rebalance takes everything away.
_IDLE = frozenset({PoolStatus.DRAINING, PoolStatus.FAILED})

#: Suspects stay where they are: another pool is no safer from them.
_PLACES = tuple(place for place in PLACES if place != "suspects")


def rebalance(
    view: View, pools: Sequence[PoolRecord], *, strategy: PoolSelector, dry_run: bool = False
) -> Steps[Rebalanced]:
    """Even the loads of some pools; ``strategy`` chooses where moved tasks go.

    Tasks bound by an affinity key stay where they are; the strategy ``affinity`` moves them, and nothing else, to the
    pool their key is bound to. Everything leaves a pool that is drained, failed, or run by nobody.
    """
    censuses: dict[str, Census] = {}
    for pool in pools:
        censuses[pool.pool_id] = yield from take_census(pool, places=_PLACES)
    reach = Reach(view, [pool for pool in pools if unfit(pool) is None], bound=True)
    to_even = {pool.pool_id for pool in pools if pool.status not in _IDLE and not is_dead(pool)}
    stands = [census.stand() for census in censuses.values()]
    if strategy is PoolSelector.AFFINITY:
        shifts, to_even = _home(stands, reach), set()
    else:
        plan = Plan(stands, reach, picker(strategy))
        for pool_id in sorted(censuses.keys() - to_even):
            plan.clear(pool_id)
        plan.even_out(to_even)
        shifts = plan.shifts()
    if not dry_run:
        shifts = yield from carry_out(shifts, censuses, even=to_even)
    moves = moves_of(view, shifts)
    return Rebalanced(
        strategy=strategy.value,
        dry_run=dry_run,
        moved=total(moves),
        moves=moves,
        pools=_balances(censuses, shifts),
        left_out={pool.config.name: reason for pool in pools if (reason := unfit(pool))},
    )


def _home(stands: Sequence[Stand], reach: Reach) -> list[Shift]:
    """Return what brings tasks to the pool their affinity key is bound to."""
    found = []
    for stand in stands:
        for (place, lot), count in sorted(stand.lots.items()):
            home = lot.rsplit("\n", 1)[1]
            if home and home != stand.pool_id and home in reach(stand.pool_id, lot):
                found.append(Shift(stand.pool_id, home, place, lot, count))
    return found


def _balances(censuses: Mapping[str, Census], shifts: Sequence[Shift]) -> tuple[PoolBalance, ...]:
    change: Counter[str] = Counter()
    for shift in shifts:
        change[shift.source] -= shift.count
        change[shift.target] += shift.count
    found = []
    for pool_id, census in censuses.items():
        stand, pool = census.stand(), census.pool
        queued = stand.tasks - pool.running
        found.append(
            PoolBalance(
                pool_id=pool_id,
                name=pool.config.name,
                queued_before=queued,
                queued_after=queued + change[pool_id],
                load_before=stand.load,
                load_after=(stand.tasks + change[pool_id]) / max(1, stand.workers),
            )
        )
    return tuple(found)
