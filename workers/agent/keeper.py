"""Keeps the worker group of one pool on this node: starts it, sees it ready, ends it, starts it again.

A pool with suspects (tasks that may have killed their group) has a second group for them, which ends by itself when
there are none left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store.pools import GroupInfo, PoolRecord, change_pool

from .backoff import Backoff
from .context import AgentContext
from .ending import Verdict, drain, end, ended_in_order, reason_of
from .group import Group
from .link import ZygoteGone
from .start import GroupStart, dump_settings, fixed_share, share_of

logger = logging.getLogger(__name__)

#: After so many failures in a row the pool is called degraded; it is still tried.
DEGRADED_AFTER = 5

#: A group that is not ready after this many seconds (or `frozen_after`, if longer) is started again.
START_SECONDS = 30.0

#: Time, besides the drain and the grace of its tasks, after which a group that was asked to end is killed, in seconds.
DRAIN_MARGIN = 4.0

#: A pool in one of these states is running again when a group of it is ready.
_UNWELL = (PoolStatus.PENDING, PoolStatus.INITIALIZING, PoolStatus.DEGRADED)

#: A pool in one of these states is degraded when its group cannot be kept; others were set by people.
_WELL_OR_NOT = (*_UNWELL, PoolStatus.RUNNING)


@dataclass(slots=True)
class Standing:
    """How a group stands, as it is announced."""

    state: str = "starting"
    reason: str = ""
    restarts: int = 0

    def failed(self, reason: str) -> None:
        """Take note of a failure."""
        self.state, self.reason, self.restarts = "failed", reason, self.restarts + 1

    def info(self, context: AgentContext, record: PoolRecord, group: Group | None) -> GroupInfo:
        """Return the announcement of a pool's group here (None: there is none now)."""
        facts = context.facts
        worker_type = facts.worker_type(record.config)
        told = group.told.get("workers") if group else None
        return GroupInfo(
            node=facts.name,
            status=self.state,
            workers=told if isinstance(told, int) else _share(record),
            pid=group.pid if group else None,
            reason=self.reason or None,
            worker_type=worker_type,
            warning=facts.warning(record.config),
            memory_mb=group.memory_mb if group else None,
            cpu_percent=group.cpu_percent if group else None,
            restarts=self.restarts,
            generation=group.start.generation if group else record.generation,
        )


class Keeper:
    """See the module. ``tell`` announces the group to everybody and returns when that is done.

    ``alone`` keeps the group for suspects: nothing of it is announced, and its failures say nothing of the pool.
    """

    def __init__(
        self,
        context: AgentContext,
        record: PoolRecord,
        *,
        tell: Callable[[str], Coroutine[Any, Any, None]],
        adopted: Group | None = None,
        alone: bool = False,
    ) -> None:
        self.pool_id = record.pool_id
        self.group = adopted
        self._alone = alone
        self._record = record
        self._context = context
        self._tell = tell
        self._condemned: asyncio.Future[Verdict] | None = None
        self._stop = asyncio.Event()
        self._grace = context.settings.drain_timeout + context.settings.kill_grace + DRAIN_MARGIN
        self._backoff = Backoff()
        self._standing = Standing()
        if adopted is not None:
            context.leases.add(adopted.start.lease)

    # ── from outside ─────────────────────────────────────────────────────────────────────────────────────────────────

    def stop(self, *, grace: float | None = None) -> None:
        """End the group for good; ``grace`` is the time it gets in seconds, None: as long as its tasks may take."""
        if grace is not None:
            self._grace = grace
        self._stop.set()

    def condemn(self, group: Group, verdict: Verdict) -> None:
        """Have a group killed and started anew, if it is still the one that is kept."""
        if self.group is group and self._condemned is not None and not self._condemned.done():
            self._condemned.set_result(verdict)

    def update(self, record: PoolRecord) -> bool:
        """Take what the registry says now; True when the number of workers is another one."""
        scaled = self._record.workers != record.workers
        self._record = record
        if scaled and self.group is not None:
            self.group.told.pop("workers", None)
        if self.group is not None and not self._alone and record.generation != self.group.start.generation:
            self.condemn(self.group, Verdict.RENEWED)
        return scaled

    def info(self) -> GroupInfo:
        """Return the group as it is announced."""
        return self._standing.info(self._context, self._record, self.group)

    # ── the life of the groups ───────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Keep a group until stopped; then it is gone and its claims are handed back."""
        while not self._stop.is_set():
            try:
                group = self.group or await self._begin()
            except ZygoteGone:
                return
            except errors.StackPartFailed as exc:
                await self._failed(exc.message, lived=0.0)
                continue
            verdict = await self._watch(group)
            lived = group.lived
            logger.info(
                "Worker group %d of %s ends: %s", group.pid, self.pool_id, verdict.value, extra=self._extra("end")
            )
            if verdict in (Verdict.STOPPED, Verdict.RENEWED):
                self._standing.state = "stopping"
                await self._tell(self.pool_id)
                condemned = self._condemned if verdict is Verdict.STOPPED else None
                await drain(self._context, group, grace=self._grace, condemned=condemned)
            await end(self._context, group, verdict)
            self.group = None
            if self._alone and ended_in_order(group, verdict):
                return
            if verdict.is_failure:
                await self._failed(reason_of(group, verdict), lived=lived)

    async def _begin(self) -> Group:
        context, start = self._context, _start_data(self._context, self._record, alone=self._alone)
        slot = context.table.reserve_slot()
        context.leases.add(start.lease)
        try:
            pid = await context.link.start_group(start, slot=slot)
        except (errors.StackPartFailed, ZygoteGone):
            context.table.free_slot(slot)
            context.leases.discard(start.lease)
            raise
        self._standing.state = "starting"
        self.group = context.table.add(pid, slot=slot, start=start)
        logger.info("Worker group %d of pool %s was started", pid, self.pool_id, extra=self._extra("start_group"))
        return self.group

    async def _watch(self, group: Group) -> Verdict:
        condemned: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._condemned = condemned
        announcing = asyncio.create_task(self._announce(group), name=f"announce {self.pool_id}")
        stopping = asyncio.create_task(self._stop.wait(), name=f"stop {self.pool_id}")
        waiting: list[asyncio.Future[Any]] = [group.exited, condemned, stopping]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            announcing.cancel()
            stopping.cancel()
        if group.exited.done():
            return Verdict.EXITED
        return condemned.result() if condemned.done() else Verdict.STOPPED

    async def _announce(self, group: Group) -> None:
        try:
            async with asyncio.timeout(max(START_SECONDS, self._context.settings.frozen_after)):
                await group.ready.wait()
        except TimeoutError:
            self.condemn(group, Verdict.NEVER_READY)
            return
        self._standing.state, self._standing.reason = "ready", ""
        if self._alone:
            return
        await self._tell(self.pool_id)
        await _set_status(self._context, self.pool_id, PoolStatus.RUNNING, only_if=_UNWELL)
        logger.info("Pool %s is ready here", self.pool_id, extra=self._extra("group_ready"))

    async def _failed(self, reason: str, *, lived: float) -> None:
        pause = self._backoff.failed(lived=lived)
        self._standing.failed(reason)
        logger.warning("The worker group of %s failed: %s", self.pool_id, reason, extra=self._extra("group_failed"))
        await self._tell(self.pool_id)
        if self._backoff.failures >= DEGRADED_AFTER and not self._alone:
            why = f"The worker group on node {self._context.facts.name} fails again and again: {reason}"
            await _set_status(self._context, self.pool_id, PoolStatus.DEGRADED, only_if=_WELL_OR_NOT, reason=why)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), timeout=pause)

    def _extra(self, action: str) -> dict[str, str]:
        return {"action": action, "pool_id": self.pool_id}


def _start_data(context: AgentContext, record: PoolRecord, *, alone: bool) -> GroupStart:
    node = context.facts.name
    return GroupStart(
        pool_id=record.pool_id,
        node=node,
        lease=f"{record.pool_id}:{node}:{secrets.token_hex(6)}",
        workers=record.workers,
        replicas=record.config.replicas,
        config=record.config.model_dump(mode="json"),
        worker_type=context.facts.worker_type(record.config),
        settings=dump_settings(context.settings, node=node),
        redis_url=context.redis_url,
        agent_pid=context.me.pid,
        agent_id=context.me.agent_id,
        allowed_roots=context.facts.allowed_roots(record.config),
        data_dir=str(context.settings.data_dir),
        alone=alone,
        generation=record.generation,
        fixed=fixed_share(record.config),
    )


def _share(record: PoolRecord) -> int:
    return fixed_share(record.config) or share_of(record.workers, replicas=record.config.replicas)


async def _set_status(
    context: AgentContext, pool_id: str, status: PoolStatus, *, only_if: tuple[PoolStatus, ...], reason: str = ""
) -> None:
    try:
        await context.store.run(change_pool(pool_id, only_if=only_if, status=status, reason=reason))
    except (errors.PoolNotFound, errors.InvalidField) as exc:
        # It was closed or paused meanwhile, or another node was first.
        logger.debug("The status of %s stays: %s", pool_id, exc)
    except errors.RedisUnavailable as exc:
        logger.warning("The status of %s cannot be written: %s", pool_id, exc)
