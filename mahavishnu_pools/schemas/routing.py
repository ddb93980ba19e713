"""How the pool of a task is to be chosen: what routing decides and the store carries out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Choice:
    """How the pool of a call's tasks is chosen.

    ``strategy`` is a routing strategy or ``pool`` (then ``pool`` names the one, or ``targets`` one a task).
    ``candidates=None`` means every active pool. ``keep`` are the pools that an affinity key may stay bound to, also
    while they are paused (None: any). ``version`` is the registry version the candidates were read at. ``filters``
    (JSON of a PoolFilter) is what was asked of the pool, kept with the task for whoever moves it later.
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
            **more,
        }
        return json.dumps({name: value for name, value in given.items() if value is not None})
