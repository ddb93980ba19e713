"""Knows whether a container engine answers on this node: docker's command is often there without its daemon."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

from mahavishnu_pools.worker_types import WorkerType

from ..executors.container_engine import Engine, EngineSilent, engines_of
from .node import NodeFacts

#: How often the engines are asked, in seconds, and how long one may take to answer.
PERIOD = 15.0
PROBE_SECONDS = 3.0


class EngineWatch:
    """Tells the facts of a node which of its worker types have no engine that answers."""

    def __init__(self, facts: NodeFacts) -> None:
        self._facts = facts
        self._silent: Mapping[str, str] | None = None

    async def look(self) -> None:
        """Ask the engines; what is found goes with the next beat."""
        before, self._silent = self._silent, await asyncio.to_thread(self._ask)
        # Where one has answered, a single answer that is late, on a busy machine, turns no task away.
        self._facts.unusable = {
            name: problem for name, problem in self._silent.items() if before is None or name in before
        }

    def _ask(self) -> dict[str, str]:
        kinds = [kind for kind in self._facts.worker_types() if kind.container is not None]
        found = {kind.name: find_engine(kind, os.environ)[1] for kind in kinds}
        return {name: problem for name, problem in found.items() if problem is not None}


def find_engine(kind: WorkerType, env: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the program that runs the containers of a worker type, and why it cannot (None: it can).

    It is the first one whose engine answers, else the first one that is installed (None: none is, and nothing is said).
    """
    engines = engines_of(kind, env)
    said = []
    for engine in engines:
        problem = _problem_of(engine)
        if problem is None:
            return engine.program, None
        said.append(problem)
    return (engines[0].program if engines else None), "; ".join(said) or None


def _problem_of(engine: Engine) -> str | None:
    # Where podman runs containers itself, it needs nobody to answer, and asking it costs more than asking docker.
    if engine.name == "podman" and sys.platform == "linux" and "CONTAINER_HOST" not in engine.env:
        return None
    try:
        engine.probe(seconds=PROBE_SECONDS)
    except EngineSilent as exc:
        return f"{engine.name} is installed, but its engine does not answer: {exc}"
    return None
