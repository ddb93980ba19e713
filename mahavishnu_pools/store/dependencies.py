"""Calls about tasks that come after others: told, routed, found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools.schemas.dependency import Relative, Relatives
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.tasks import refused

#: Tasks that one call tells of an end, and lists as ready: few enough that the server is never blocked for long.
RELEASED_MOST = 200

#: Tasks on either side of one that are told, and members of its batch that are looked through for them.
RELATIVES_MOST, MEMBERS_LOOKED = 50, 500

#: Seconds for which an agent that died keeps the others from going on with this.
TURN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A task that waits for nothing any more but a pool.

    ``need`` are the fields of its specification by which pools are chosen. ``wish`` is as ``routing.wishes`` keeps it
    (None: the pool it was submitted to, and no other). Both are as they were found, whoever wrote them.
    """

    task_id: str
    pool: str
    need: Any
    wish: Any
    explain: bool


@dataclass(frozen=True, slots=True)
class Released:
    """What one call did. ``more``: there is more to tell; ``idle``: there was nothing to do at all."""

    ready: tuple[Ready, ...]
    more: bool
    idle: bool


def release(who: str, *, result_ttl: float, most: int = RELEASED_MOST) -> Call[Released]:
    """Tell tasks of the ends of those they come after, some at a time, and list those that are to get a pool."""

    def parse(reply: list[Any]) -> Released:
        if reply[0] != "ok":
            return Released((), False, reply[0] == "none")
        return Released(tuple(_ready(*entry) for entry in reply[2:]), reply[1] == 1, False)

    return Call("release", (most, int(result_ttl * 1000), who, int(TURN_SECONDS * 1000)), parse)


def start(task_ids: Sequence[str], choice: Choice) -> Call[int]:
    """Put tasks on queues that wait for nothing any more, or have them await their approval; returns how many.

    Raises:
        StaleRegistry, PoolGone, PoolNotFound, InvalidField, NoPoolAvailable: as ``tasks.submit``; they wait as before.
    """

    def parse(reply: list[Any]) -> int:
        refused(reply)
        return int(reply[1])

    return Call("release_start", (choice.options(), *task_ids), parse)


def try_later(task_ids: Sequence[str], *, why: str, seconds: float) -> Call[int]:
    """Have tasks for which there is no pool now tried again so much later; returns how many."""
    return Call("release_later", (why, f"{seconds:.3f}", 0, *task_ids), int)


def give_up(task_ids: Sequence[str], *, why: str, result_ttl: float) -> Call[int]:
    """End tasks as failed for which there will be no pool; returns how many."""
    return Call("release_later", (why, "", int(result_ttl * 1000), *task_ids), int)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended that another comes after; ``status`` is empty while it has not, ``name`` when it has none."""

    task_id: str
    status: str
    name: str


def read_parents(task_id: str) -> Call[tuple[Ended, ...] | None]:
    """Read what a task comes after; None when its record does not say so, or is gone."""

    def parse(reply: list[Any]) -> tuple[Ended, ...] | None:
        return tuple(Ended(*entry) for entry in reply[1:]) if reply[0] else None

    return Call("parents_read", (task_id,), parse)


def read_relatives(task_id: str) -> Call[Relatives | None]:
    """Read what a task comes after and what comes after it, some of each; None when there is neither."""

    def parse(reply: list[Any]) -> Relatives | None:
        if not reply[2:]:
            return None
        told = [
            (kind, Relative(task_id=one, status=status or None, name=name or None))
            for kind, one, status, name in reply[2:]
        ]
        parents, children = (tuple(one for kind, one in told if kind == which) for which in ("parent", "child"))
        return Relatives(parents=parents, parents_total=int(reply[0]), children=children, more_children=reply[1] == 1)

    return Call("relatives_read", (task_id, RELATIVES_MOST, MEMBERS_LOOKED), parse)


def unknown_tasks(task_ids: Sequence[str]) -> Call[list[str]]:
    """Return those of the tasks that have no record."""
    return Call("parents_known", tuple(task_ids), list)


def list_waiting(*, most: int) -> Call[list[str]]:
    """Read the ids of tasks that wait for others, the newest first."""
    return Call("waiting_list", (most,), list)


def look_at_waiting(first: int, last: int) -> Call[tuple[int, dict[str, str]]]:
    """Look at tasks that wait for others, from one place of their index to another.

    Returns how many there were, and those that nobody will have go on, each with what tells whether it has changed.
    """
    return Call("check_waiting", (first, last), lambda reply: (int(reply[0]), {one[0]: one[1] for one in reply[1:]}))


def mend_waiting(task_id: str, *, result_ttl: float) -> Call[bool]:
    """Have a task told again of what it comes after; False when it does not wait any more."""
    return Call("mend_waiting", (task_id, int(result_ttl * 1000)), bool)


def _ready(task_id: str, pool: str, more: str) -> Ready:
    after = json.loads(more).get("after", {})
    return Ready(task_id, pool, after.get("need"), after.get("wish"), bool(after.get("explain")))
