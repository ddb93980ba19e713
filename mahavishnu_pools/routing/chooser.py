"""Chooses the pool of a task: one implementation for PoolManager (coroutines) and for the Celery router (threads).

What is known of the pools is kept with the registry's version it was read at. The scripts refuse a choice made from an
older version, so a choice is never based on pools that have changed in between.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from mahavishnu_pools import errors, names, worker_types
from mahavishnu_pools.routing.eligibility import (
    Need,
    PoolFilter,
    Sifted,
    View,
    cannot_run,
    sift,
    stored_filter,
    validate,
)
from mahavishnu_pools.routing.measured import Measured, strategy_of
from mahavishnu_pools.routing.measuring import explained, measured_choice
from mahavishnu_pools.routing.strategies import Among, choice
from mahavishnu_pools.schemas.pool import ACTIVE_STATUSES, PoolSelector
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.store.pools import PoolRecord, list_nodes, read_pools
from mahavishnu_pools.store.tasks import StaleRegistry

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.task import TaskSpec
    from mahavishnu_pools.settings import Settings
    from mahavishnu_pools.store.calls import Call
    from mahavishnu_pools.store.steps import Steps

T = TypeVar("T")

#: Choices that may turn out to be out of date before one is made that no longer asks for the newest registry.
STALE_TRIES = 4


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller says about the pool: one by name (strict), or a strategy, an affinity key and a filter.

    ``selector=None`` is affinity when there is a key, else the configured strategy. ``explain`` has each task's record
    say how its pool was chosen.
    """

    pool: str | None = None
    selector: PoolSelector | str | None = None
    affinity: str | None = None
    filters: PoolFilter | None = None
    explain: bool = False


class Chooser:
    """Makes choices from a cached view of the pools. Threads may share it: the view is replaced, never changed."""

    def __init__(
        self, *, default: PoolSelector, known: Mapping[str, worker_types.WorkerType] = worker_types.BUILT_IN
    ) -> None:
        self._default = default
        self._known = known
        self._view: View | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Chooser:
        """Make a chooser with the settings' default strategy and worker types."""
        known = worker_types.load_worker_types(settings.worker_types_file)
        return cls(default=PoolSelector(settings.pool_routing_strategy), known=known)

    def view(self, *, fresh: bool = False) -> Steps[View]:
        """Return the pools and nodes; ``fresh`` reads them anew."""
        view = self._view
        if view is None or fresh:
            registry = yield read_pools()
            nodes = yield list_nodes()
            view = self._view = View(registry.version, registry.pools, tuple(nodes), self._known)
        return view

    def validate(self, spec: TaskSpec) -> Steps[None]:
        """Refuse a task that no pool could make sense of; raises like ``eligibility.validate``."""
        view = yield from self.view()
        try:
            validate(view, spec)
        except errors.UnknownChoice:
            validate((yield from self.view(fresh=True)), spec)

    def find(self, pool: str) -> Steps[PoolRecord]:
        """Return a living pool by id or name.

        Raises:
            PoolGone, PoolNotFound: there is none.
        """
        found = (yield from self.view()).find(pool) or (yield from self.view(fresh=True)).find(pool)
        if found is None:
            registry = yield read_pools(pool)
            if not registry.pools and not registry.gone:
                view = yield from self.view()
                raise errors.PoolNotFound.of(pool, [one.config.name for one in view.pools])
            found = registry.one(pool)
        return found

    def candidates(self, need: Need, *, filters: PoolFilter | None, only: tuple[str, ...] | None) -> Steps[Sifted]:
        """Return the pools that may get a task now, from a fresh view.

        Raises:
            NoPoolAvailable: there is none; says why for each pool.
        """
        sifted = sift((yield from self.view(fresh=True)), need, filters=filters, only=only)
        if not sifted.candidates:
            raise errors.NoPoolAvailable.of(sifted.reasons)
        return sifted

    def choose(self, need: Need, wish: Wish, make: Callable[[Choice], Call[T]], *, count: int = 1) -> Steps[T]:
        """Choose and carry out: ``make`` turns the choice into the call that submits or routes so many tasks with it.

        Raises:
            PoolNotFound, PoolGone, InvalidField: the named pool cannot be used.
            MissingProgram: the named pool has no program for prompts.
            NoPoolAvailable: no pool can take the task; says why for each.
            UnknownChoice: there is no such strategy.
        """
        for tries in range(STALE_TRIES):
            try:
                planned = yield from self.plan(need, wish, fresh=tries > 0, count=count)
                reply: T = yield make(planned)
            except StaleRegistry:
                continue
            except (errors.NoPoolAvailable, errors.PoolNotFound, errors.PoolGone):
                # Of a name, the view may have a pool that is not there any more.
                if tries:
                    raise
            else:
                return reply
        # Pools change faster than they are read. The scripts look at each candidate's status themselves.
        planned = yield from self.plan(need, wish, fresh=True, versioned=False, count=count)
        reply = yield make(planned)
        return reply

    def ensure(self, need: Need, wish: Wish) -> Steps[None]:
        """Make sure that a pool could be chosen; raises like ``choose``."""
        try:
            yield from self.plan(need, wish)
        except errors.NoPoolAvailable:
            yield from self.plan(need, wish, fresh=True)

    def plan(
        self, need: Need, wish: Wish, *, fresh: bool = False, versioned: bool = True, count: int = 1
    ) -> Steps[Choice]:
        """Return the choice for so many tasks; ``versioned``: the scripts refuse it when pools have changed since."""
        if wish.pool is not None:
            if fresh:
                yield from self.view(fresh=True)
            return explained((yield from self._strict(need, wish.pool)), {}, wanted=wish.explain)
        view = yield from self.view(fresh=fresh)
        selector, key = self._selector(wish)
        if key is not None and (names.is_pool_id(key) or view.find(key)):
            return explained((yield from self._strict(need, key)), {}, wanted=wish.explain)
        sifted = sift(view, need, filters=wish.filters)
        active = sum(pool.status in ACTIVE_STATUSES for pool in view.pools)
        among = Among(
            sifted,
            everyone=len(sifted.candidates) == active and len(sifted.keep) == len(view.pools),
            version=view.version if versioned else None,
            affinity=key,
            random=random.random(),
            filters=stored_filter(wish.filters),
        )
        if isinstance(selector, Measured):
            made = yield from measured_choice(selector, among, view, need, count=count)
        else:
            made = choice(selector, among)
        if need.needs:
            made = replace(made, needs=need.needs.text)
        return explained(made, sifted.reasons, wanted=wish.explain)

    def check(self, wish: Wish) -> None:
        """Refuse a strategy that does not exist, or one without the key it needs; raises like ``choose``."""
        self._selector(wish)

    def _selector(self, wish: Wish) -> tuple[PoolSelector | Measured, str | None]:
        if wish.selector is None:
            return (PoolSelector.AFFINITY if wish.affinity else self._default_strategy()), wish.affinity
        selector = strategy_of(wish.selector)
        if selector is not PoolSelector.AFFINITY:
            return selector, None
        if not wish.affinity:
            remedy = "The affinity strategy needs a key, or a pool's name."
            raise errors.InvalidField.of("pool_affinity", "is missing", remedy)
        return selector, wish.affinity

    def _default_strategy(self) -> PoolSelector:
        # Without a key affinity has nothing to stick to.
        return PoolSelector.LEAST_LOADED if self._default is PoolSelector.AFFINITY else self._default

    def _strict(self, need: Need, pool: str) -> Steps[Choice]:
        found = yield from self.find(pool)
        if cannot_run((yield from self.view()), found, need) is not None:
            # What a pool can run changes without a new version, when an agent finds a program.
            view = yield from self.view(fresh=True)
            _refuse(view, view.find(found.pool_id) or found, need)
        return Choice("pool", pool=found.pool_id)


def _refuse(view: View, pool: PoolRecord, need: Need) -> None:
    reason = cannot_run(view, pool, need)
    if reason is None:
        return
    untyped = need.task_type == "prompt" and need.worker_type is None and pool.worker_type is None
    if untyped and cannot_run(view, pool, Need()) is not None:
        raise worker_types.no_ai_program(known=view.worker_types)
    raise errors.NoPoolAvailable.of({pool.config.name: reason})
