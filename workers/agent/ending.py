"""Ends a worker group with everything it started and hands its claims back."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import signal
from typing import Any

import psutil

from mahavishnu_pools import errors
from mahavishnu_pools.store.leases import Cause, reap

from ..fresh_directories import remove_left
from .context import AgentContext
from .group import Group

logger = logging.getLogger(__name__)

#: Pause between two tries to hand claims back while Redis is away, in seconds.
_REAP_PAUSE = 0.5

#: How long the zygote's word that a killed group is gone is waited for, in seconds.
_EXIT_SECONDS = 1.0


class Verdict(enum.Enum):
    """Why a group ends."""

    EXITED = "it ended by itself"
    FROZEN = "it was frozen"
    NEVER_READY = "it was not ready in time"
    REFUSED = "its lease was taken over"
    CUT_OFF = "this node was cut off from Redis"
    STOPPED = "it was told to"
    RENEWED = "its pool is restarted"

    @property
    def is_failure(self) -> bool:
        """Tell whether the group itself is to blame."""
        return self in (Verdict.EXITED, Verdict.FROZEN, Verdict.NEVER_READY)


async def drain(
    context: AgentContext, group: Group, *, grace: float, condemned: asyncio.Future[Verdict] | None
) -> None:
    """Tell a group to end and wait for that at most ``grace`` seconds, until there is a hurry or it is condemned."""
    if group.process is not None:
        with contextlib.suppress(psutil.Error):
            group.process.terminate()
    hurrying = asyncio.create_task(context.hurry.wait())
    waiting: list[asyncio.Future[Any]] = [group.exited, hurrying, *([condemned] if condemned else [])]
    await asyncio.wait(waiting, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()


async def end(context: AgentContext, group: Group, verdict: Verdict) -> None:
    """Kill what is left of a group and its programs, wait until all are gone, then hand its claims back."""
    start = group.start
    shared = context.table.has_pool(start.pool_id, besides=group)
    await context.sweeper.end(group.process, context.mark(start.pool_id, start.lease, shared=shared))
    await asyncio.wait({group.exited}, timeout=_EXIT_SECONDS)
    await context.containers.end(start.lease)
    await asyncio.to_thread(remove_left, start.lease)
    context.table.remove(group)
    await _hand_back(context, start.lease, cause=_cause(context, group, verdict))
    context.leases.discard(start.lease)


def reason_of(group: Group, verdict: Verdict) -> str:
    """Return in words why a group failed: its own account when it gave one."""
    if verdict is not Verdict.EXITED:
        return str(verdict.value)
    if group.told.get("detail"):
        return str(group.told["detail"])
    ended = group.exited.result()
    if ended.signal:
        return f"its process was killed by signal {ended.signal} ({signal.Signals(ended.signal).name})"
    return f"its process ended with code {ended.code}"


async def _hand_back(context: AgentContext, lease: str, *, cause: Cause) -> None:
    call = reap(lease, cause=cause, result_ttl=context.settings.result_expires)
    while True:
        try:
            while (await context.store.run(call)).left:
                continue
            return
        except errors.RedisUnavailable as exc:
            logger.warning("Claims of %s cannot be handed back now: %s", lease, exc, extra={"action": "reap"})
            if context.stopping.is_set():
                return
        await asyncio.sleep(_REAP_PAUSE)


def ended_in_order(group: Group, verdict: Verdict) -> bool:
    """Tell whether a group ended by itself and had nothing to complain about."""
    return verdict is Verdict.EXITED and _exit_of(group) == (0, 0)


def _exit_of(group: Group) -> tuple[int, int]:
    return (group.exited.result().code, group.exited.result().signal) if group.exited.done() else (0, 0)


def _cause(context: AgentContext, group: Group, verdict: Verdict) -> Cause:
    """Return who may be to blame: an ordered end counts against nobody, a crash against what ran.

    KILL comes from people and from the kernel when memory is short, and a freeze from a machine with too much to do as
    well as from a task. So of several tasks none is a suspect the first time, unless the kernel did kill. Tasks that
    run elsewhere never are: a bridge dies of itself.
    """
    if group.start.pool_config().runs_elsewhere:
        return "node"
    if not verdict.is_failure or ended_in_order(group, verdict):
        return "node"
    if verdict is Verdict.FROZEN:
        return "kill"
    if verdict is Verdict.EXITED and _exit_of(group)[1] == signal.SIGKILL and not context.memory.was_short():
        return "kill"
    return "loss"
