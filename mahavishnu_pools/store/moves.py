"""Calls about what waits in a pool: counting it, moving it to another pool, taking over the queue of a dead one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.store.calls import Call

#: Where tasks of a pool wait: priority buckets (Celery's numbers, the highest first), later, apart from the others.
PLACES = (*(str(bucket) for bucket in range(10)), "delayed", "suspects")

#: Messages looked at in one call of a census.
CENSUS_CHUNK = 500

#: Tasks moved in one call, so that the server is never blocked for long.
MOVE_CHUNK = 100


@dataclass(frozen=True, slots=True)
class Counted:
    """One piece of a census: how many wait in the place, and the lot of each message looked at (None: it stays)."""

    total: int
    lots: tuple[str | None, ...]


def count_waiting(pool_id: str, place: str, *, start: int = 0) -> Call[Counted]:
    """Look at what waits in a place, from the newest on; repeat with a later ``start`` until ``total`` is reached."""

    def parse(reply: list[Any]) -> Counted:
        total, _, lots, numbers = reply
        return Counted(total, tuple(lots[number - 1] if number else None for number in numbers))

    return Call("queue_census", (pool_id, place, start, CENSUS_CHUNK), parse)


@dataclass(frozen=True, slots=True)
class MoveOrder:
    """Which waiting tasks go from a place of a pool to the same place of another.

    Of the ``window`` newest messages (-1: all) the oldest of each lot are taken, as many as ``quotas`` says. With
    ``even`` none is moved that would make the target at least as loaded as the source is.
    """

    source: str
    target: str
    place: str
    window: int
    quotas: Mapping[str, int]
    even: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """What one call moved, by lot; ``window`` is what is left to look at, ``even`` that the loads are even now."""

    count: int
    window: int
    even: bool
    lots: Mapping[str, int] = field(default_factory=dict)


def move(order: MoveOrder, *, request: str) -> Call[Moved]:
    """Move at most ``MOVE_CHUNK`` tasks; the same request moves nothing a second time.

    Raises:
        InvalidField: the target takes no tasks.
    """

    def parse(reply: list[Any]) -> Moved:
        if reply[0] == "closing":
            problem = f"{reply[3]!r} is {reply[2]} and takes no tasks"
            raise errors.InvalidField.of("pool", problem, "Name another pool.")
        lots = dict(zip(reply[4::2], reply[5::2], strict=True))
        return Moved(reply[1], reply[2], reply[3] == "1", lots)

    head = (request, order.source, order.target, order.place, order.window, MOVE_CHUNK)
    return Call("move", (*head, json.dumps(dict(order.quotas)), "1" if order.even else "0"), parse)


def take_turn(pool_id: str, *, node: str, seconds: float) -> Call[bool]:
    """Ask whether a pool's queue is to be taken over by this node's agent now: nobody runs the pool, and tasks wait."""
    return Call("failover_turn", (pool_id, node, int(seconds * 1000)), bool)
