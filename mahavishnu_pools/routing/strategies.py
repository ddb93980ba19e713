"""The routing strategies: how each one becomes a choice that the submit script carries out. Pure.

The choice itself is made inside Redis, in the same step that submits, because only there the load is the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from mahavishnu_pools import errors
from mahavishnu_pools.routing.eligibility import Sifted
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.schemas.routing import Choice


@dataclass(frozen=True, slots=True)
class Among:
    """What a strategy chooses from. ``everyone``: every active pool is a candidate; ``random`` is in [0, 1)."""

    sifted: Sifted
    everyone: bool
    version: int | None
    affinity: str | None
    random: float
    filters: str | None = None

    @property
    def candidates(self) -> tuple[str, ...] | None:
        """Return the candidates as a choice wants them: None when there is nothing to leave out."""
        return None if self.everyone else self.sifted.candidates


def _least_loaded(among: Among) -> Choice:
    """Smallest (running + queued) ÷ workers; pools that are equal take turns."""
    return Choice("least_loaded", candidates=among.candidates, version=among.version)


def _round_robin(among: Among) -> Choice:
    """The pool whose turn was longest ago, whatever its load."""
    return Choice("round_robin", candidates=among.candidates, version=among.version)


def _random(among: Among) -> Choice:
    """Any pool, each equally likely."""
    return Choice("random", candidates=among.candidates, version=among.version, random=among.random)


def _affinity(among: Among) -> Choice:
    """The pool the key is bound to; a new key is bound to the pool whose turn for that was longest ago."""
    return Choice(
        "affinity",
        candidates=among.candidates,
        keep=None if among.everyone else among.sifted.keep,
        affinity=among.affinity,
        version=among.version,
    )


STRATEGIES: Mapping[PoolSelector, Callable[[Among], Choice]] = MappingProxyType(
    {
        PoolSelector.LEAST_LOADED: _least_loaded,
        PoolSelector.ROUND_ROBIN: _round_robin,
        PoolSelector.RANDOM: _random,
        PoolSelector.AFFINITY: _affinity,
    }
)


def choice(selector: PoolSelector, among: Among) -> Choice:
    """Return the choice of a strategy.

    Raises:
        NoPoolAvailable: there is no candidate; for affinity also none that the key could be bound to.
    """
    possible = among.sifted.keep if selector is PoolSelector.AFFINITY else among.sifted.candidates
    if not possible:
        raise errors.NoPoolAvailable.of(among.sifted.reasons)
    return replace(STRATEGIES[selector](among), filters=among.filters)


def selector_of(given: PoolSelector | str) -> PoolSelector:
    """Return the strategy of this name.

    Raises:
        UnknownChoice: there is none; the message lists those that exist.
    """
    try:
        return PoolSelector(given)
    except ValueError:
        raise errors.UnknownChoice.of("pool selector", given, [one.value for one in PoolSelector]) from None
