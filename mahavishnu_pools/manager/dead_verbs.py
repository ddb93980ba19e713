"""What a manager does with dead letters."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable

from mahavishnu_pools import errors
from mahavishnu_pools.manager.connection import Connected
from mahavishnu_pools.schemas.dead import DeadLetter
from mahavishnu_pools.store.dead import CHUNK, Replayed, purge_letters, read_letters, replay_letters
from mahavishnu_pools.store.pools import read_pools

#: More letters than are ever kept.
ALL = 100_000


class DeadVerbs(Connected):
    """The verbs about tasks that were given up."""

    async def dead_letters(self, *, pool: str | None = None, limit: int = 100) -> list[DeadLetter]:
        """Return the newest dead letters, of one pool (id or name; closed ones by id) or of all.

        Raises:
            PoolNotFound: no pool has this name.
        """
        parts = await self._connected()
        return await parts.store.run(read_letters(pool_id=await self._pool_id(pool), most=limit))

    async def dead_letter(self, task_id: str) -> DeadLetter:
        """Return one dead letter.

        Raises:
            DeadLetterNotFound: there is none.
        """
        found = await (await self._connected()).store.run(read_letters([task_id]))
        if not found:
            raise errors.DeadLetterNotFound.of(task_id)
        return found[0]

    async def replay_dead(self, task_ids: Iterable[str] | None = None, *, pool: str | None = None) -> list[str]:
        """Run dead tasks again under their ids, in their own pools or in one, and return their ids; None means all.

        Losses, attempts and retries count from zero again. All that can be replayed are, also when one cannot.

        Raises:
            DeadLetterNotFound: one of the ids is no dead letter's.
            PoolNotFound, PoolGone: the pool does not exist, or a task's own pool is closed.
            InvalidField: a message that could not be read cannot be run.
        """
        store = (await self._connected()).store
        pool_id = await self._pool_id(pool, living=True)
        if task_ids is None:
            task_ids = [letter.task_id for letter in await store.run(read_letters(most=ALL)) if letter.replayable]
        wanted, request = list(dict.fromkeys(task_ids)), secrets.token_hex(8)
        answers: list[Replayed] = []
        for start in range(0, len(wanted), CHUNK):
            some = wanted[start : start + CHUNK]
            answered = await store.run(replay_letters(some, pool_id=pool_id, request=request))
            answers.extend(answered)
        for task_id, one in zip(wanted, answers, strict=True):
            if one.answer != "ok":
                raise _problem(task_id, one)
        return wanted

    async def purge_dead(self, task_ids: Iterable[str] | None = None, *, older_than: float | None = None) -> int:
        """Forget dead letters and return how many; None means all. ``older_than`` (seconds) spares newer ones.

        Raises:
            DeadLetterNotFound: one of the ids is no dead letter's; the others are forgotten.
        """
        parts, ttl = await self._connected(), self.settings.result_expires
        before = None if older_than is None else time.time() - older_than
        if task_ids is None:
            total = 0
            while done := await parts.store.run(purge_letters(before=before, result_ttl=ttl)):
                total += done
            return total
        wanted = list(dict.fromkeys(task_ids))
        known = {one.task_id for one in await parts.store.run(read_letters(wanted))} if wanted else set()
        total = await parts.store.run(purge_letters(sorted(known), before=before, result_ttl=ttl)) if known else 0
        for task_id in wanted:
            if task_id not in known:
                raise errors.DeadLetterNotFound.of(task_id)
        return total

    async def _pool_id(self, pool: str | None, *, living: bool = False) -> str | None:
        if pool is None:
            return None
        registry = await (await self._connected()).store.run(read_pools(pool))
        if not living and not registry.pools and pool in registry.gone:
            return pool
        return registry.one(pool).pool_id


def _problem(task_id: str, one: Replayed) -> errors.MahavishnuError:
    if one.answer == "unknown":
        return errors.DeadLetterNotFound.of(task_id)
    if one.answer == "gone":
        return errors.PoolGone(
            f"The pool {one.pool_id} of dead task {task_id} was closed. Name another one with --pool (pool=).",
            pool=one.pool_id,
        )
    return errors.InvalidField.of(
        task_id, "is a message that could not be read and cannot be run", "Purge it, and correct who sent it."
    )
