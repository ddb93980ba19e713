"""The tools on the changes that tasks made in their worktrees."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_tools import Answer, Tool
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.worktree import Applied, Diff, Discarded
from mahavishnu_pools.server.pools import Pools

#: Bytes of a diff that a tool answers unless asked for more, and at most.
SHOWN, MOST = 100_000, 1_000_000


class OneTask(Value):
    """A task that ran in a worktree."""

    task_id: str = Field(description="Id of a task that ran with isolation worktree.")


class ShowDiff(OneTask):
    """How much of its changes is shown."""

    stat: bool = Field(default=False, description="Only the files, with how many lines came and went.")
    max_bytes: int = Field(default=SHOWN, ge=1, le=MOST, description="Of the diff; cut tells that there is more.")


class ApplyChanges(OneTask):
    """How its changes come into the checkout."""

    commit: bool = Field(default=False, description="Make one commit of them; else they are left uncommitted.")
    confirm: bool = Field(default=False, description="Must be true: files of the user's checkout are written.")


class DiscardChanges(OneTask):
    """That its changes are to be deleted."""

    confirm: bool = Field(default=False, description="Must be true: the branch with the changes is deleted.")


class ChangeTools:
    """The tools on the changes of one stack's tasks."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        apply = "Bring a task's changes into the checkout it began at, all of them or none."
        discard = "Delete the branch with a task's changes, and its worktree where that was kept."
        return (
            Tool("pool_diff", "Show what a task changed in its worktree.", ShowDiff, self.diff, Diff, reads=True),
            Tool("pool_apply", apply, ApplyChanges, self.apply, Applied),
            Tool("pool_discard", discard, DiscardChanges, self.discard, Discarded),
        )

    async def diff(self, given: ShowDiff) -> Answer:
        """Show the changes."""
        found = await (await self._pools.manager()).diff(given.task_id, stat=given.stat, most=given.max_bytes)
        more = "\n… cut" if found.cut else ""
        return Answer(f"{found.text}{more}", found.model_dump(mode="json"))

    async def apply(self, given: ApplyChanges) -> Answer:
        """Apply the changes."""
        _confirmed(given.confirm, "this writes files of the user's checkout", "Ask the user first.")
        done = await (await self._pools.manager()).apply(given.task_id, commit=given.commit)
        how = f", commit {done.commit}" if done.commit else ""
        text = f"✅ Applied to {done.changes.repository}: {', '.join(done.files)}{how}"
        if not done.files:
            text = f"{done.changes.repository} has all of it already, of an earlier apply"
        return Answer(text, done.model_dump(mode="json"))

    async def discard(self, given: DiscardChanges) -> Answer:
        """Delete the changes."""
        _confirmed(given.confirm, "this deletes what the task changed", "Ask the user first.")
        done = await (await self._pools.manager()).discard(given.task_id)
        return Answer(f"✅ Discarded the changes of task {done.task_id}", done.model_dump(mode="json"))


def _confirmed(given: bool, what: str, remedy: str) -> None:
    if not given:
        raise errors.InvalidField.of("confirm", f"must be true: {what}", remedy)
