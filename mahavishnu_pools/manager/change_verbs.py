"""What a manager does with the changes that tasks made in their worktrees."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.manager.connection import Connected
from mahavishnu_pools.store.tasks import read_tasks

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.worktree import Applied, Changes, Diff, Discarded
    from mahavishnu_pools.worktrees.records import Place


class ChangeVerbs(Connected):
    """The verbs on changes. They work on the machine whose repository it is, whatever node ran the program."""

    async def diff(
        self, task_id: str, *, stat: bool = False, colour: bool = False, most: int = 32 * 1024 * 1024
    ) -> Diff:
        """Return what a task changed in its worktree, as git shows it; at most ``most`` bytes of it.

        ``stat`` gives only the files with their numbers of lines, ``colour`` marks up for a terminal.

        Raises:
            TaskNotFound, ChangesNotFound: there is no such task, it changed nothing, or its changes are elsewhere.
            GitFailed: git cannot be used.
        """
        from mahavishnu_pools.worktrees.review import find_review, show

        place, told = await self._told(task_id)

        def work() -> Diff:
            return show(find_review(place, task_id, told), stat=stat, colour=colour, most=most)

        return await asyncio.to_thread(work)

    async def apply(self, task_id: str, *, commit: bool = False) -> Applied:
        """Bring the changes of a task into the checkout it began at, as changes or (``commit``) as one commit.

        All or nothing: with anything in the way, the checkout stays as it is.

        Raises:
            ChangesConflict: files with changes of their own, or conflicts, are in the way.
            TaskNotFound, ChangesNotFound, GitFailed: as in ``diff``.
        """
        from mahavishnu_pools.worktrees.applying import apply
        from mahavishnu_pools.worktrees.review import find_review

        place, told = await self._told(task_id)
        return await asyncio.to_thread(lambda: apply(place, find_review(place, task_id, told), commit=commit))

    async def discard(self, task_id: str) -> Discarded:
        """Delete the branch of a task, and its worktree where that was kept.

        Raises:
            RepositoryRefused: it still runs, or somebody else uses the branch.
            TaskNotFound, ChangesNotFound, GitFailed: as in ``diff``.
        """
        from mahavishnu_pools.worktrees.review import discard

        place, told = await self._told(task_id)
        return await asyncio.to_thread(lambda: discard(place, task_id, told))

    async def _told(self, task_id: str) -> tuple[Place, Changes | None]:
        """Return where this machine's worktrees are, and the changes that the task's result tells of."""
        from pydantic import ValidationError

        from mahavishnu_pools.schemas.worktree import Changes
        from mahavishnu_pools.worktrees.records import Place

        store = (await self._connected()).store
        place = Place(self.settings.data_dir.absolute(), self.settings.worktree_author)
        result = (await store.run(read_tasks([task_id])))[0]
        if result is None and place.read(task_id) is None:
            raise errors.TaskNotFound.of(task_id)
        try:
            return place, Changes.model_validate((result.metadata if result else {})["worktree"], extra="ignore")
        except (KeyError, ValidationError):  # a handler, or another instance, may have put anything there
            return place, None
