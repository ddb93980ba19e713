"""Moves waiting tasks between pools: counts what waits, plans, carries the plan out in small atomic steps."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mahavishnu_pools import errors, names, task_types
from mahavishnu_pools.pools.factory import on_nodes
from mahavishnu_pools.routing.eligibility import Need, PoolFilter, View, cannot_run, misses
from mahavishnu_pools.routing.rebalance import Plan, Shift, Stand, picker, window_of
from mahavishnu_pools.schemas.moving import TaskMove
from mahavishnu_pools.schemas.needs import NO_NEEDS, Needs
from mahavishnu_pools.schemas.pool import PoolSelector, PoolStatus
from mahavishnu_pools.store.moves import PLACES, MoveOrder, count_waiting, move

if TYPE_CHECKING:
    from mahavishnu_pools.store.pools import PoolRecord
    from mahavishnu_pools.store.steps import Steps

#: What a lot of tasks sent by ``run_task.apply_async`` is called; what they are stands in their messages only.
_RUN_TASK = f"celery:{names.RUN_TASK}"


def unfit(pool: PoolRecord) -> str | None:
    """Return why no tasks are moved to a pool, or None: it is running, and a worker group of it is ready."""
    if pool.status is not PoolStatus.RUNNING:
        return f"it is {pool.status}"
    return "no worker group of it is ready" if is_dead(pool) else None


def is_dead(pool: PoolRecord) -> bool:
    """Tell whether no living node has a worker group of the pool that is ready."""
    return on_nodes(pool.config.pool_type) and pool.ready_workers == 0


def same_kind(pool: PoolRecord, other: PoolRecord) -> bool:
    """Tell whether another pool may stand in for this one: same pool type, same worker type."""
    return pool.config.pool_type == other.config.pool_type and same_worker_type(pool, other)


def same_worker_type(pool: PoolRecord, other: PoolRecord) -> bool:
    """Tell whether two pools run a prompt alike. Of one that nobody runs now only its configuration is known."""
    return pool.worker_type in (other.worker_type, other.config.worker_type)


def is_run_as_prompt(need: Need, pool: PoolRecord) -> bool:
    """Tell whether a pool's own worker type would run a task: a prompt that names none, or a type nobody registered."""
    if need.celery or need.worker_type is not None:
        return False
    return need.task_type == "prompt" or not (
        need.task_type in task_types.BUILT_IN or need.task_type in pool.task_types
    )


class Reach:
    """Tells which of the targets could run a lot. ``bound``: a lot bound by an affinity key goes only to its pool."""

    def __init__(self, view: View, targets: Sequence[PoolRecord], *, bound: bool) -> None:
        self._view = view
        self._targets = targets
        self._bound = bound
        self._known: dict[tuple[str, str], tuple[str, ...]] = {}

    def __call__(self, source: str, lot: str) -> Collection[str]:
        """Return the ids of the pools that could run it."""
        found = self._known.get((source, lot))
        if found is None:
            able = (pool.pool_id for pool in self._targets if self.refusal(source, lot, pool) is None)
            found = self._known[source, lot] = tuple(able)
        return found

    def refusal(self, source: str, lot: str, pool: PoolRecord) -> str | None:
        """Return why a pool cannot get a lot, or None."""
        lot, asked = _split_needs(lot)
        kind, worker_type, filters, home = lot.rsplit("\n", 3)
        if self._bound and home not in ("", pool.pool_id):
            return "an affinity key binds them to another pool"
        missing = misses(pool, PoolFilter.model_validate_json(filters)) if filters else None
        if missing is not None:
            return missing
        origin = self._view.find(source)
        if kind == _RUN_TASK:
            alike = origin is not None and same_kind(origin, pool) and set(origin.task_types) <= set(pool.task_types)
            return None if alike else "it is of another kind, and only the message says what the task needs"
        need = Need(kind.removeprefix("celery:"), worker_type or None, kind.startswith("celery:"), asked)
        if origin is not None and is_run_as_prompt(need, pool) and not same_worker_type(origin, pool):
            return "it would run prompts with another worker type"
        return cannot_run(self._view, pool, need)


def _split_needs(lot: str) -> tuple[str, Needs]:
    rest, _, last = lot.rpartition("\n")
    return (rest, Needs.of_text(last)) if last.startswith("{") else (lot, NO_NEEDS)


@dataclass(frozen=True, slots=True)
class Census:
    """What waits in a pool: the lot of each message (None: it stays), by place, the newest first."""

    pool: PoolRecord
    waiting: Mapping[str, tuple[str | None, ...]]

    def stand(self) -> Stand:
        """Return how the pool stands for the planner."""
        lots: Counter[tuple[str, str]] = Counter()
        for place, found in self.waiting.items():
            lots.update((place, lot) for lot in found if lot is not None)
        apart = 0 if "suspects" in self.waiting else self.pool.suspects
        fixed = self.pool.running + apart + sum(found.count(None) for found in self.waiting.values())
        return Stand(self.pool.pool_id, self.pool.workers, fixed, dict(lots))


def take_census(pool: PoolRecord, *, places: Sequence[str] = PLACES) -> Steps[Census]:
    """Count what waits in a pool."""
    waiting: dict[str, tuple[str | None, ...]] = {}
    if not pool.queued:
        return Census(pool, waiting)
    for place in places:
        found: list[str | None] = []
        counted = yield count_waiting(pool.pool_id, place)
        total = counted.total
        found.extend(counted.lots)
        while counted.lots and len(found) < total:
            counted = yield count_waiting(pool.pool_id, place, start=len(found))
            found.extend(counted.lots)
        if found:
            waiting[place] = tuple(found)
    return Census(pool, waiting)


def evacuate(
    view: View, pool: PoolRecord, targets: Sequence[PoolRecord], *, partly: bool = False
) -> Steps[tuple[TaskMove, ...]]:
    """Move everything that waits in a pool to the targets, each task to the least loaded one.

    Raises:
        NoPoolAvailable: some of it no target can run; nothing was moved. With ``partly`` it stays, and the rest goes.
    """
    census = yield from take_census(pool)
    stands = [census.stand(), *(_as_target(one) for one in targets)]
    reach = Reach(view, targets, bound=False)
    plan = Plan(stands, reach, picker(PoolSelector.LEAST_LOADED))
    stuck = plan.clear(pool.pool_id)
    if stuck and not partly:
        lot = next(iter(stuck))
        reasons = {one.config.name: unfit(one) or "it was not named" for one in view.pools if one is not pool}
        reasons |= {one.config.name: str(reach.refusal(pool.pool_id, lot, one)) for one in targets}
        raise errors.NoPoolAvailable.of(reasons)
    done = yield from carry_out(plan.shifts(), {pool.pool_id: census})
    return moves_of(view, done)


def carry_out(
    shifts: Sequence[Shift], censuses: Mapping[str, Census], *, even: Collection[str] = ()
) -> Steps[list[Shift]]:
    """Move what a plan says, and return what was moved: meanwhile some tasks may have been run or cancelled.

    Of the pools in ``even`` nothing is moved that would make the target at least as loaded as they are.
    """
    done: list[Shift] = []
    for index, shift in enumerate(shifts):
        rest = [one for one in shifts[index:] if (one.source, one.place) == (shift.source, shift.place)]
        wanted: Counter[str] = Counter()
        for one in rest:
            wanted[one.lot] += one.count
        window = window_of(censuses[shift.source].waiting[shift.place], wanted)
        count = yield from _carry_out_one(shift, window, even=shift.source in even)
        if count:
            done.append(Shift(shift.source, shift.target, shift.place, shift.lot, count))
    return done


def _carry_out_one(shift: Shift, window: int, *, even: bool) -> Steps[int]:
    left = shift.count
    while left and window:
        order = MoveOrder(shift.source, shift.target, shift.place, window, {shift.lot: left}, even=even)
        moved = yield move(order, request=secrets.token_hex(8))
        left, window = left - moved.count, moved.window
        if moved.even:
            break
    return shift.count - left


def moves_of(view: View, shifts: Sequence[Shift]) -> tuple[TaskMove, ...]:
    """Return moves as people see them."""
    found: Counter[tuple[str, str, str]] = Counter()
    for shift in shifts:
        found[shift.source, shift.target, shift.place] += shift.count

    def name(pool_id: str) -> str:
        pool = view.find(pool_id)
        return pool.config.name if pool else pool_id

    return tuple(
        TaskMove(
            source=source,
            target=target,
            source_name=name(source),
            target_name=name(target),
            waiting="queued" if place.isdigit() else place,
            priority=names.own_priority(int(place)) if place.isdigit() else None,
            tasks=count,
        )
        for (source, target, place), count in found.items()
    )


def _as_target(pool: PoolRecord) -> Stand:
    return Stand(pool.pool_id, pool.workers, pool.running + pool.queued, {})
