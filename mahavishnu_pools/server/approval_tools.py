"""The tools that decide about tasks which await approval."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from mahavishnu_pools.mcp_tools import Answer, Tool
from mahavishnu_pools.schemas.approval import Decision
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.server.pools import Pools

_BY = "Who decides: the person's name. An assistant decides on a person's word alone."


class Refuse(Value):
    """What is decided about a task."""

    task_id: str = Field(description="Id of the task that awaits approval.")
    by: str = Field(description=_BY)
    reason: str | None = Field(default=None, description="Why; kept with the task.")


class Approve(Refuse):
    """A task that may run."""

    pool_id: str | None = Field(default=None, description="Run it on this pool (id or name) instead.")


class ApprovalTools:
    """The tools on the tasks of one stack that await approval."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        approve = "Let a task run that awaits approval; pool_tasks with status awaiting_approval lists them."
        refuse = "End a task that awaits approval, with the status refused."
        return (
            Tool("pool_approve", approve, Approve, self.approve, Decision),
            Tool("pool_refuse", refuse, Refuse, self.refuse, Decision),
        )

    async def approve(self, given: Approve) -> Answer:
        """Let a task run."""
        manager = await self._pools.manager()
        found = await manager.approve(given.task_id, by=given.by, reason=given.reason, pool=given.pool_id)
        return _told(found, f"Task {found.task_id} is approved and queued on pool {found.pool_id}")

    async def refuse(self, given: Refuse) -> Answer:
        """End a task."""
        found = await (await self._pools.manager()).refuse(given.task_id, by=given.by, reason=given.reason)
        return _told(found, f"Task {found.task_id} is refused")


def _told(found: Decision, text: str) -> Answer:
    if found.again:
        text = f"Task {found.task_id} was {found.decision} by {found.by} before"
    return Answer(text, found.model_dump(mode="json"))
