"""Calls that look at pools for routing: what strategies measure by, and how a choice would be made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools.schemas.routing import Choice, Routing
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.tasks import refused


@dataclass(frozen=True, slots=True)
class Seen:
    """A pool now, and what was measured of it: seconds of a task, dollars of a run; None: nothing was."""

    workers: int
    queued: int
    running: int
    completed: int
    seconds: float | None
    usd: float | None


def look_at_pools(task_type: str, pool_ids: Sequence[str]) -> Call[dict[str, Seen]]:
    """Look at pools with what was measured of a task type there."""

    def parse(reply: list[Any]) -> dict[str, Seen]:
        edges = [float(edge) for edge in reply[0]]
        return {pool_id: _seen(edges, *rest) for pool_id, *rest in reply[1:]}

    return Call("routing_look", (task_type, *pool_ids), parse)


def explain_route(choice: Choice) -> Call[Routing]:
    """Tell how a choice would be made now, without making it; raises like ``tasks.submit``."""

    def parse(reply: list[Any]) -> Routing:
        refused(reply)
        return Routing.of_text(reply[1])

    return Call("routing_explain", (choice.options(),), parse)


def _seen(edges: Sequence[float], workers: str, queued: int, running: int, *measured: Any) -> Seen:
    total, count, runs, usd, counts = measured
    numbers = [int(number or 0) for number in counts]
    middles = [(low + high) / 2 for low, high in zip((0.0, *edges), (*edges, 2 * edges[-1]), strict=True)]
    completed = sum(numbers)
    seconds = None
    if completed:
        seconds = sum(number * middle for number, middle in zip(numbers, middles, strict=True)) / completed
    elif count:
        seconds = float(total or 0) / int(count)
    cost = float(usd or 0) / float(runs) if runs else None
    return Seen(int(workers or 0), queued, running, completed, seconds, cost)
