"""How the pool of a task is to be chosen: what routing decides and the store carries out, and how that is explained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from mahavishnu_pools.schemas.base import MappingValue, Value

#: Pools that an explanation names, as candidates and as left out.
EXPLAINED_MOST = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """How the pool of a call's tasks is chosen.

    ``strategy`` is a routing strategy or ``pool`` (then ``pool`` names the one, or ``targets`` one a task).
    ``candidates=None`` means every active pool. ``keep`` are the pools that an affinity key may stay bound to, also
    while they are paused (None: any). ``version`` is the registry version the candidates were read at. ``filters``
    (JSON of a PoolFilter) is what was asked of the pool, kept with the task for whoever moves it later. ``label`` is
    the strategy's name where that was carried out already. ``explain`` has each task's record say how it was routed:
    names of pools that were left out, and why (``left_out``), what was measured (``figures``, by pool id).
    ``needs`` is what the tasks ask of a node (``Needs.text``): ``least_loaded`` prefers pools that have it free.
    """

    strategy: str
    pool: str | None = None
    targets: tuple[str, ...] | None = None
    candidates: tuple[str, ...] | None = None
    keep: tuple[str, ...] | None = None
    affinity: str | None = None
    random: float = 0.0
    version: int | None = None
    filters: str | None = None
    label: str | None = None
    explain: Mapping[str, Any] | None = None
    needs: str | None = None

    @property
    def name(self) -> str:
        """Return the strategy's name."""
        return self.label or self.strategy

    def options(self, **more: Any) -> str:
        """Return the JSON options of the submit and route scripts."""
        given = {
            "strategy": self.strategy,
            "pool": self.pool or (self.targets[0] if self.targets else None),
            "targets": self.targets,
            "candidates": self.candidates,
            "keep": self.keep,
            "affinity": self.affinity,
            "random": self.random,
            "version": self.version,
            "filters": self.filters,
            "needs": self.needs,
            "explain": None if self.explain is None else {"strategy": self.name, **self.explain},
            **more,
        }
        return json.dumps({name: value for name, value in given.items() if value is not None})


class RoutedCandidate(MappingValue):
    """A pool that could have got a task. ``load`` is (running + queued) ÷ workers at that moment.

    Strategies that measure also tell ``seconds`` (what a task of this type takes there) and ``usd`` (what a run costs).
    ``room`` is how many tasks with these needs its nodes could start then; None for those without needs.
    """

    pool_id: str
    name: str | None = None
    load: float
    degraded: bool = False
    seconds: float | None = None
    usd: float | None = None
    room: int | None = None


class Routing(MappingValue):
    """How a task got to its pool: by which strategy, from which candidates, and why each other pool was left out.

    ``pool_id`` is None where nobody can say before it happens (``random``). At most 20 candidates and 20 others are
    named; ``more`` are those that are not.
    """

    strategy: str
    pool_id: str | None = None
    candidates: tuple[RoutedCandidate, ...]
    left_out: dict[str, str] = Field(default_factory=dict)
    more: int = 0
    at: datetime

    @classmethod
    def of_text(cls, text: str) -> Routing:
        """Return an explanation as the store keeps it."""
        found = json.loads(text)
        # An empty table of Lua may be a list or an object of JSON.
        empty = {"candidates": tuple(found["candidates"]), "left_out": dict(found["left_out"])}
        return cls.model_validate({**found, **empty, "at": datetime.fromtimestamp(float(found["at"]), UTC)})


class RoutingRequest(Value):
    """The task a routing strategy chooses for."""

    task_type: str
    worker_type: str | None = None


class RoutingCandidate(Value):
    """A pool that a routing strategy may choose, as it is now, with what was measured of it.

    ``seconds`` is what a task of the request's type takes there on average (one of any type where none of this type has
    completed yet), ``usd`` what a run of an AI program costs there; None: nothing was measured. ``completed`` counts
    the tasks of this type that have completed.
    """

    pool_id: str
    name: str
    region: str
    tags: tuple[str, ...] = ()
    workers: int
    running: int
    queued: int
    degraded: bool = False
    completed: int = 0
    seconds: float | None = None
    usd: float | None = None

    @property
    def load(self) -> float:
        """Return (running + queued) ÷ workers."""
        return (self.running + self.queued) / max(1, self.workers)
