"""Look at a stack as it is now: what its supervisor wrote, checked against the living processes."""

from __future__ import annotations

import enum
from dataclasses import replace
from pathlib import Path

from mahavishnu_pools.embedded.identity import is_alive
from mahavishnu_pools.embedded.parts import REDIS
from mahavishnu_pools.embedded.ping import ping
from mahavishnu_pools.embedded.state import GOOD, PartState, PartStatus, StackState, settled_state
from mahavishnu_pools.embedded.web_ping import why_silent

#: How long the server may take to answer, in seconds.
PING_TIMEOUT = 1.0

#: Name of the row that shows the supervisor itself.
SUPERVISOR = "supervisor"

_REPAIR = "'mahavishnu up' repairs it"


class Health(enum.StrEnum):
    """How a stack is as a whole."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNREACHABLE = "unreachable"


def examine(data_dir: Path) -> StackState | None:
    """Return the stack as it is now, with a row for its supervisor; None when there is none.

    Raises:
        StackPartFailed: a supervisor lives, but what it wrote cannot be read.
    """
    state = settled_state(data_dir)
    if state is None:
        return None
    supervised = is_supervised(state)
    row = PartState(SUPERVISOR, PartStatus.RUNNING, process=state.supervisor)
    if not supervised:
        row = replace(row, status=PartStatus.DEAD, reason=f"was ended; nothing restarts the parts until {_REPAIR}")
    parts = tuple(_checked(part, state, supervised=supervised) for part in state.parts)
    return replace(state, parts=(row, *parts))


def health_of(state: StackState) -> Health:
    """Return how an examined stack is: without its server nothing works, without another part less does."""
    redis = state.part(REDIS)
    if redis is None or redis.status not in GOOD:
        return Health.UNREACHABLE
    return Health.HEALTHY if all(part.is_well for part in state.parts) else Health.DEGRADED


def is_supervised(state: StackState) -> bool:
    """Tell whether the supervisor that wrote the state still lives."""
    return is_alive(state.supervisor)


def _checked(part: PartState, state: StackState, *, supervised: bool) -> PartState:
    if part.process is not None and not is_alive(part.process):
        what_next = "its supervisor restarts it" if supervised else f"its supervisor is gone too; {_REPAIR}"
        return replace(part, status=PartStatus.DEAD, reason=f"was ended; {what_next}")
    if part.name == REDIS and part.status in GOOD and state.redis_url:
        problem = ping(state.redis_url, timeout=PING_TIMEOUT).reason
        return part if problem is None else replace(part, status=PartStatus.UNREACHABLE, reason=problem)
    if part.health_url is not None and part.status is PartStatus.RUNNING:
        silence = why_silent(part.health_url, timeout=PING_TIMEOUT)
        return part if silence is None else replace(part, status=PartStatus.UNREACHABLE, reason=silence)
    return part
