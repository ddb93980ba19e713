"""What a bridge does besides its tasks: looks at the other instance, and ends there what has ended here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Set

from mahavishnu_pools import errors
from mahavishnu_pools.store.delegated import Whereabouts

from .far_contact import Contact, Ledger
from .far_instance import TaskRefused

logger = logging.getLogger(__name__)

#: Seconds between two looks at the instance, while it can be used and while it cannot.
LOOK_EVERY, LOOK_LOST_EVERY = 10.0, 1.0

#: Seconds between two looks at what runs there for tasks that have ended here.
SWEEP_EVERY = 15.0

#: Is told off the loop what is wrong over there, or None, and whether that is news.
Report = Callable[[str | None, bool], None]


class FarWatch:
    """Looks at an instance on behalf of the one with the id ``here``."""

    def __init__(self, contact: Contact, here: str, report: Report) -> None:
        self._contact, self._far = contact, contact.far
        self._instance, self._report = here, report

    async def look(self) -> str | None:
        """Look at the instance and return what is wrong with it."""
        try:
            found = await self._far.look()
        except (errors.RemoteUnavailable, errors.RemoteRefused) as exc:
            self._contact.lost(exc.message)
            return exc.message
        if found.instance == self._instance:
            text = f"The endpoint {self._far.url} is this very instance ({found.instance}). Name another one."
            self._contact.lost(text)
            return text
        self._contact.found(found)
        return found.trouble

    async def run(self) -> None:
        """Look at the instance, sooner after a failed call, and tell of trouble until it is over and that was told."""
        well, said = False, None
        while True:
            self._contact.look.clear()
            trouble = await self.look()
            if trouble is not None or not well:
                # Told again and again: a group that has just come up is called well by its agent.
                well = await self._told(trouble, renew=trouble != said)
                said = trouble
            if trouble is not None:
                await asyncio.sleep(LOOK_LOST_EVERY)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._contact.look.wait()

    async def _told(self, trouble: str | None, *, renew: bool) -> bool:
        try:
            await asyncio.to_thread(self._report, trouble, renew)
        except errors.MahavishnuError as exc:
            logger.warning("The state of %s cannot be told now: %s", self._far.url, exc)
            return False
        return trouble is None


class FarSweep:
    """Cancels there what has ended here. ``running`` are the tasks that this bridge sees to itself."""

    def __init__(self, contact: Contact, ledger: Ledger, running: Set[str]) -> None:
        self._contact, self._far = contact, contact.far
        self._ledger, self._here = ledger, running

    async def run(self) -> None:
        """Cancel there what has ended here while no bridge could say so."""
        while True:
            await self._contact.made.wait()
            try:
                noted = await asyncio.to_thread(self._ledger.noted)
                left = {task_id: where for task_id, where in noted.items() if task_id not in self._here}
                for task_id in await asyncio.to_thread(self._ledger.ended, list(left)) if left else ():
                    await self._remove(task_id, left[task_id])
            except errors.MahavishnuError as exc:
                logger.warning("What runs at %s is not swept now: %s", self._far.url, exc)
            await asyncio.sleep(SWEEP_EVERY)

    async def _remove(self, task_id: str, where: Whereabouts) -> None:
        if where.instance == self._contact.instance and task_id not in self._here:
            with contextlib.suppress(TaskRefused):  # it is unknown there by now
                await self._far.cancel(where.task_id)
        await asyncio.to_thread(self._ledger.note, task_id, None)

    async def all(self) -> None:
        """Cancel there whatever is noted."""
        for task_id, where in (await asyncio.to_thread(self._ledger.noted)).items():
            await self._remove(task_id, where)
