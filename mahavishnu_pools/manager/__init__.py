"""PoolManager: what a Python program does with pools and tasks. The work is done in ``pools`` and ``routing``."""

from __future__ import annotations

from typing import Self

from mahavishnu_pools.manager.approval_verbs import ApprovalVerbs
from mahavishnu_pools.manager.batch_verbs import BatchVerbs
from mahavishnu_pools.manager.cancel_verbs import CancelVerbs
from mahavishnu_pools.manager.change_verbs import ChangeVerbs
from mahavishnu_pools.manager.check_verbs import CheckVerbs
from mahavishnu_pools.manager.contest_verbs import ContestVerbs
from mahavishnu_pools.manager.dead_verbs import DeadVerbs
from mahavishnu_pools.manager.event_verbs import EventVerbs
from mahavishnu_pools.manager.instance_verbs import InstanceVerbs
from mahavishnu_pools.manager.limit_verbs import LimitVerbs
from mahavishnu_pools.manager.memory_verbs import MemoryVerbs
from mahavishnu_pools.manager.move_verbs import MoveVerbs
from mahavishnu_pools.manager.report_verbs import ReportVerbs
from mahavishnu_pools.manager.restart_verbs import RestartVerbs
from mahavishnu_pools.manager.retry_verbs import RetryVerbs
from mahavishnu_pools.manager.routing_verbs import RoutingVerbs
from mahavishnu_pools.manager.schedule_verbs import ScheduleVerbs

__all__ = ["PoolManager"]


class PoolManager(
    MoveVerbs,
    RestartVerbs,
    ReportVerbs,
    MemoryVerbs,
    BatchVerbs,
    ContestVerbs,
    CancelVerbs,
    ChangeVerbs,
    CheckVerbs,
    DeadVerbs,
    RetryVerbs,
    LimitVerbs,
    EventVerbs,
    ScheduleVerbs,
    ApprovalVerbs,
    RoutingVerbs,
    InstanceVerbs,
):
    """A client of the pools. Connects at first use; ``async with`` closes the pools it spawned, then its connections.

    Without a configured Redis it uses the running local stack, else a private one that lives as long as the manager.
    ``message_bus`` is a bus over Redis that all managers share, unless a ``MessageBus`` is given, which stays inside
    this process. ``terminal_manager`` and ``session_buddy_client`` are kept for programs that pass them; workers are
    started by node agents.
    """

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._spawned:
                await self.close_all()
        finally:
            await self.close()
