"""Notes when worker types have cooled down, and knows which of them are not logged in on this node.

The end of a cool-down is noted by agents, because nobody else acts at that moment. One that began because a program is
not logged in here is ended before its time when the files change that show a login, and when the agent starts: it may
have other variables now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mahavishnu_pools.schemas.limits import CoolDown
from mahavishnu_pools.store.limits import end_everywhere, note_cooled_down, read_limits
from mahavishnu_pools.store.pools import PoolRecord
from mahavishnu_pools.store.steps import run_steps
from mahavishnu_pools.worker_types import WorkerType

from .context import AgentContext

logger = logging.getLogger(__name__)

#: How the files are that show a login: name, time of the last change, size. Of one that is away there is nothing.
Signs = tuple[tuple[str, int, int], ...]


class CoolDownWatch:
    """One ``look`` is one round; it is repeated. Every agent looks, and each end is noted once."""

    def __init__(self, context: AgentContext, records: Callable[[], Iterable[PoolRecord]]) -> None:
        self._context = context
        self._records = records
        self._seen: dict[str, Signs] | None = None

    async def look(self) -> None:
        """Note what is over, and look after the logins of this node.

        Raises:
            RedisUnavailable: Redis did not answer.
        """
        store, facts = self._context.store, self._context.facts
        await store.run(note_cooled_down())
        mine = [one for one in (await store.run(read_limits())).cool_downs if one.node == facts.name]
        kinds = {kind.name: kind for kind in facts.worker_types()}
        now = {one.worker_type: signs_of(kinds[one.worker_type]) for one in mine if one.worker_type in kinds}
        before = self._seen
        over = [one for one in mine if before is None or _changed(one.worker_type, before, now)]
        for one in over:
            await self._end(one)
        # Only now: what could not be ended is ended by the next look.
        self._seen = now
        facts.logged_out = {one.worker_type: one.because for one in mine if one not in over}

    async def _end(self, one: CoolDown) -> None:
        store = self._context.store
        freed = await run_steps(store, end_everywhere(one, [record.pool_id for record in self._records()]))
        extra = {"action": "log_in"}
        logger.info("%s may be logged in now; %d prompts that waited start", one.worker_type, freed, extra=extra)


def _changed(kind: str, before: Mapping[str, Signs], now: Mapping[str, Signs]) -> bool:
    return kind in before and before[kind] != now.get(kind)


def signs_of(kind: WorkerType) -> Signs:
    """Return how the files are now that show that somebody has logged in."""
    found = []
    for sign in kind.login:
        if not sign.startswith(("/", "~")):
            continue
        try:
            status = Path(sign).expanduser().stat()
        except OSError:
            continue
        found.append((sign, status.st_mtime_ns, status.st_size))
    return tuple(found)
