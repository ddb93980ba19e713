"""Notes in the journal when worker types have cooled down: nobody else acts at that moment."""

from __future__ import annotations

from mahavishnu_pools.store.limits import note_cooled_down

from .context import AgentContext


class CoolDownWatch:
    """One ``look`` is one round; it is repeated. Every agent looks, and each end is noted once."""

    def __init__(self, context: AgentContext) -> None:
        self._context = context

    async def look(self) -> None:
        """Note what is over.

        Raises:
            RedisUnavailable: Redis did not answer.
        """
        await self._context.store.run(note_cooled_down())
