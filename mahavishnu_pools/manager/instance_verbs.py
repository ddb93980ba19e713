"""What other instances ask of this one, which delegate tasks to it."""

from __future__ import annotations

from mahavishnu_pools.manager.task_verbs import TaskVerbs
from mahavishnu_pools.store.delegated import read_instance_id
from mahavishnu_pools.store.logs import START, LogPiece, read_log


class InstanceVerbs(TaskVerbs):
    """The verbs of federation."""

    async def instance_id(self) -> str:
        """Return the random id of this instance: of its Redis and namespace, kept until that is emptied."""
        return await (await self._connected()).store.run(read_instance_id())

    async def log_pieces(self, task_id: str, *, after: str = START) -> list[LogPiece]:
        """Return at most 500 pieces of what a task printed, those behind an entry; none of a task that is unknown."""
        return await (await self._connected()).store.run(read_log(task_id, after=after))
