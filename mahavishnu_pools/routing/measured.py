"""Strategies that look at what was measured: ``fastest``, ``cheapest``, and those of plug-ins.

One is a function that gets the candidates and the request, and returns the id of a candidate. It is called once for
each task of a call; the tasks it has placed before count as queued where it placed them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.schemas.routing import RoutingCandidate, RoutingRequest
from mahavishnu_pools.wording import short

#: Entry points of this group name strategies.
ENTRY_POINT_GROUP = "mahavishnu_pools.routing_strategies"

#: A strategy: the candidates (at least one), the request, and the id of the one it chooses.
Strategy = Callable[[Sequence[RoutingCandidate], RoutingRequest], str]


@dataclass(frozen=True, slots=True)
class Measured:
    """A strategy by its name."""

    name: str
    choose: Strategy


def fastest(candidates: Sequence[RoutingCandidate], request: RoutingRequest) -> str:
    """Return the pool where a task will probably have ended first: its run time there, and that of those before it.

    A pool of which nothing is known counts as the fastest of the others, so that it is tried. Of equal ones it is the
    one that has completed the fewest.
    """
    guess = min((one.seconds for one in candidates if one.seconds is not None), default=1.0)

    def ends(one: RoutingCandidate) -> tuple[float, float, int]:
        seconds = guess if one.seconds is None else one.seconds
        return seconds * (1 + one.load), one.load, one.completed

    return min(_healthy(candidates), key=ends).pool_id


def cheapest(candidates: Sequence[RoutingCandidate], request: RoutingRequest) -> str:
    """Return the pool where a run has cost least; of equal ones the least loaded.

    One of which no cost is known counts as free.
    """
    return min(_healthy(candidates), key=lambda one: (one.usd or 0.0, one.load, one.completed)).pool_id


BUILT_IN: Mapping[str, Measured] = MappingProxyType(
    {name: Measured(name, choose) for name, choose in (("fastest", fastest), ("cheapest", cheapest))}
)


def strategy_of(given: PoolSelector | str) -> PoolSelector | Measured:
    """Return the strategy of this name.

    Raises:
        UnknownChoice: there is none; the message lists those that exist.
        InvalidConfig: the plug-in of this name cannot be used.
    """
    if given in {one.value for one in PoolSelector}:
        return PoolSelector(given)
    if given in BUILT_IN:
        return BUILT_IN[given]
    plugins = plugin_names()
    if given not in plugins:
        raise errors.UnknownChoice.of("pool selector", given, [*map(str, PoolSelector), *BUILT_IN, *plugins])
    return _plugin(given)


def plugin_names() -> tuple[str, ...]:
    """Return the names of the strategies that plug-ins bring."""
    own = {*map(str, PoolSelector), *BUILT_IN}
    return tuple(dict.fromkeys(one.name for one in entry_points(group=ENTRY_POINT_GROUP) if one.name not in own))


def placed(
    strategy: Measured, candidates: Sequence[RoutingCandidate], request: RoutingRequest, *, count: int
) -> tuple[str, ...]:
    """Return the pools of so many equal tasks, one after the other.

    Raises:
        InvalidConfig: the strategy fails, or names a pool that is no candidate.
    """
    now = {one.pool_id: one for one in candidates}
    found: list[str] = []
    for _ in range(count):
        try:
            chosen = strategy.choose(tuple(now.values()), request)
        except Exception as exc:  # the border to plug-ins: whatever one raises is a fault of that plug-in
            raise errors.InvalidConfig(
                f"The routing strategy {strategy.name!r} failed ({type(exc).__name__}: {exc}). Use another one."
            ) from exc
        if chosen not in now:
            raise errors.InvalidConfig(
                f"The routing strategy {strategy.name!r} chose {short(chosen)}, which is no candidate. Use another one."
            )
        found.append(chosen)
        now[chosen] = now[chosen].model_copy(update={"queued": now[chosen].queued + 1})
    return tuple(found)


@cache
def _plugin(name: str) -> Measured:
    (entry, *_) = entry_points(group=ENTRY_POINT_GROUP, name=name)
    try:
        loaded = entry.load()
    except Exception as exc:  # the border to plug-ins, as above
        raise errors.InvalidConfig(f"The routing strategy {name!r} ({entry.value}) cannot be loaded: {exc}.") from exc
    if not callable(loaded):
        raise errors.InvalidConfig(f"The routing strategy {name!r} ({entry.value}) is no function.")
    return Measured(name, loaded)


def _healthy(candidates: Sequence[RoutingCandidate]) -> Sequence[RoutingCandidate]:
    return [one for one in candidates if not one.degraded] or candidates
