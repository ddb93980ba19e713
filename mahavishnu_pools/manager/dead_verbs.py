"""What a manager does with dead letters."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence

from mahavishnu_pools import durations, errors
from mahavishnu_pools.manager.connection import Connected
from mahavishnu_pools.schemas.dead import DeadLetter, DeadLetterDetails
from mahavishnu_pools.store import dead
from mahavishnu_pools.store.client import AsyncStore
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
        store = (await self._connected()).store
        pool_id = await self._pool_id(pool)
        found: dict[str, DeadLetter] = {}
        first: int | None = 0
        while first is not None and len(found) < limit:
            page = await store.run(dead.list_letters(pool_id=pool_id, first=first, most=min(dead.CHUNK, limit)))
            found |= {letter.task_id: letter for letter in page.letters}
            first = page.onward
        return list(found.values())[:limit]

    async def dead_letter(self, task_id: str) -> DeadLetterDetails:
        """Return all that is known of one dead letter.

        Raises:
            DeadLetterNotFound: there is none.
        """
        found = await (await self._connected()).store.run(dead.read_letter(task_id))
        if found is None:
            raise errors.DeadLetterNotFound.of(task_id)
        return found

    async def replay_dead(self, task_ids: Iterable[str] | None = None, *, pool: str | None = None) -> list[str]:
        """Run dead tasks again under their ids, in their own pools or in one, and return their ids; None means all.

        Losses, attempts and retries count from zero again, and ``expires`` limits their waiting no longer. All that can
        be replayed are, also when one cannot.

        Raises:
            DeadLetterNotFound: one of the ids is no dead letter's.
            PoolNotFound, PoolGone: the pool does not exist, or a task's own pool is closed.
            InvalidField: a message that could not be read cannot be run, or the pool takes no tasks.
        """
        store = (await self._connected()).store
        pool_id = await self._pool_id(pool, living=True)
        if task_ids is None:
            task_ids = [letter.task_id for letter in await self.dead_letters(limit=ALL) if letter.replayable]
        wanted, request = list(dict.fromkeys(task_ids)), secrets.token_hex(8)
        answers: list[dead.Replayed] = []
        for some in _pieces(wanted, dead.REPLAY_CHUNK):
            answered = await store.run(dead.replay_letters(some, pool_id=pool_id, request=request))
            answers.extend(answered)
        for task_id, one in zip(wanted, answers, strict=True):
            if one.answer != "ok":
                raise _problem(task_id, one, pool=await self._name_of(one.pool_id))
        return wanted

    async def purge_dead(self, task_ids: Iterable[str] | None = None, *, older_than: float | None = None) -> int:
        """Forget dead letters and return how many; None means all. ``older_than`` (seconds) spares newer ones.

        Raises:
            DeadLetterNotFound: one of the ids is no dead letter's; the others are forgotten.
        """
        durations.checked(older_than, name="older_than")
        store, ttl = (await self._connected()).store, self.settings.result_expires
        before = None if older_than is None else time.time() - older_than
        if task_ids is not None:
            return await _purge_some(store, list(dict.fromkeys(task_ids)), before=before, result_ttl=ttl)
        total = 0
        while done := await store.run(dead.purge_letters(before=before, result_ttl=ttl)):
            total += done
        return total

    async def _name_of(self, pool_id: str) -> str:
        """Return a pool's name; of one that is gone only the id is known."""
        store = (await self._connected()).store
        return next((found.config.name for found in (await store.run(read_pools(pool_id))).pools), pool_id)

    async def _pool_id(self, pool: str | None, *, living: bool = False) -> str | None:
        if pool is None:
            return None
        registry = await self._registry(pool)
        if not living and not registry.pools and pool in registry.gone:
            return pool
        return registry.one(pool).pool_id


async def _purge_some(store: AsyncStore, wanted: Sequence[str], *, before: float | None, result_ttl: float) -> int:
    total, missing = 0, []
    for some in _pieces(wanted, dead.CHUNK):
        page = await store.run(dead.find_letters(some))
        known = [letter.task_id for letter in page.letters]
        missing += [task_id for task_id in some if task_id not in known]
        if known:
            total += await store.run(dead.purge_letters(known, before=before, result_ttl=result_ttl))
    if missing:
        raise errors.DeadLetterNotFound.of(missing[0])
    return total


def _pieces(ids: Sequence[str], size: int) -> list[Sequence[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _problem(task_id: str, one: dead.Replayed, *, pool: str) -> errors.MahavishnuError:
    if one.answer == "unknown":
        return errors.DeadLetterNotFound.of(task_id)
    if one.answer == "gone":
        return errors.PoolGone(
            f"The pool {pool} of dead task {task_id} was closed. Name another one with pool=NAME.",
            pool=one.pool_id,
        )
    if one.answer == "closing":
        problem = f"{pool!r} takes no tasks now, so dead task {task_id} cannot wait there"
        return errors.InvalidField.of("pool", problem, "Resume it, or name another one with pool=NAME.")
    return errors.InvalidField.of(
        task_id, "is a message that could not be read and cannot be run", "Purge it, and correct who sent it."
    )
