"""Has tasks go on whose parents have ended. Every agent hears of ends; one at a time does what is to be done."""

from __future__ import annotations

import asyncio
import contextlib

from mahavishnu_pools.routing.chooser import Chooser
from mahavishnu_pools.routing.releasing import release_some
from mahavishnu_pools.store.steps import run_steps

from .context import AgentContext
from .hearing import hear

#: Seconds after which it is looked without a word: the word may have been lost, or whoever had the turn.
LOOK_PERIOD = 1.0


class Releaser:
    """``listen`` and ``look`` are repeated without a pause."""

    def __init__(self, context: AgentContext) -> None:
        self._context = context
        self._chooser = Chooser.from_settings(context.settings)
        self._wake = asyncio.Event()

    async def listen(self) -> None:
        """Hear of ends until the connection is lost."""
        await hear(self._context.store, "release", heard=lambda _: self._wake.set())

    async def look(self) -> None:
        """Do what is to be done, then wait for the next word.

        Raises:
            RedisUnavailable: Redis did not answer.
        """
        self._wake.clear()
        context = self._context
        ttl = context.settings.result_expires
        more = True
        while more:
            more = await run_steps(context.store, release_some(self._chooser, context.me.agent_id, result_ttl=ttl))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), timeout=LOOK_PERIOD)
