"""What a manager tells of the journal of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime

from mahavishnu_pools import errors
from mahavishnu_pools.manager.pool_verbs import PoolVerbs
from mahavishnu_pools.pools import journal
from mahavishnu_pools.schemas.event import Event


class EventVerbs(PoolVerbs):
    """The verbs about events."""

    async def events(
        self, *, pool: str | None = None, types: Sequence[str] = (), since: datetime | None = None, limit: int = 50
    ) -> list[Event]:
        """Return the newest events that match, at most ``limit``, the oldest first.

        ``pool`` is an id or a name, also of a pool that was closed; ``types`` are patterns (``task_*``).

        Raises:
            InvalidField: ``limit`` is less than 1.
        """
        if limit < 1:
            raise errors.InvalidField.of("limit", f"is {limit}", "Ask for one event at least.")
        wanted = journal.EventFilter(pool, tuple(types))
        return await journal.newest((await self._connected()).store, wanted, since=since, limit=limit)

    async def follow_events(
        self, *, pool: str | None = None, types: Sequence[str] = (), after: Iterable[Event] | None = None
    ) -> AsyncIterator[Event]:
        """Yield events that match as they come, until the caller stops: behind the given ones, or from now on."""
        wanted = journal.EventFilter(pool, tuple(types))
        async for event in journal.coming((await self._connected()).store, wanted, after=after):
            yield event

    async def last_events(self) -> list[Event]:
        """Return the last event of each kind, whatever it is: where ``follow_events`` can go on from."""
        return await journal.ends((await self._connected()).store)
