"""What a manager does to end tasks: one, a batch, or what waits in a pool."""

from __future__ import annotations

from mahavishnu_pools import errors
from mahavishnu_pools.manager.connection import Connected
from mahavishnu_pools.store.batches import read_batch
from mahavishnu_pools.store.tasks import cancel, cancel_many, cancel_waiting

#: Tasks cancelled in one call: each is a handful of commands for the server.
CANCEL_CHUNK = 200


class CancelVerbs(Connected):
    """The verbs that end tasks."""

    async def cancel(self, task_id: str, *, reason: str = "It was cancelled.") -> str:
        """End a task: ``cancelled`` (it never ran), ``asked`` (it is running), or the status of the outcome it has.

        Raises:
            TaskNotFound: there is no such task.
        """
        call = cancel(task_id, reason=reason, result_ttl=self.settings.result_expires)
        return await (await self._connected()).store.run(call)

    async def cancel_batch(self, batch_id: str, *, reason: str = "Its batch was cancelled.") -> dict[str, int]:
        """End all tasks of a batch, what follows it first.

        Returns how many are ``cancelled`` (now or before), ``asked`` (they are being stopped) and ``finished``.

        Raises:
            BatchNotFound: there is no such batch, or it has expired.
        """
        store = (await self._connected()).store
        batch = await store.run(read_batch(batch_id))
        if batch is None:
            raise errors.BatchNotFound.of(batch_id)
        ids = [*([batch.follower] if batch.follower else []), *batch.task_ids]
        answers: list[str] = []
        for start in range(0, len(ids), CANCEL_CHUNK):
            some = ids[start : start + CANCEL_CHUNK]
            call = cancel_many(some, reason=reason, result_ttl=self.settings.result_expires)
            answered = await store.run(call)
            answers.extend(answered)
        never, running = answers.count("cancelled"), answers.count("asked")
        return {"cancelled": never, "asked": running, "finished": len(answers) - never - running}

    async def cancel_queued(self, pool: str, *, reason: str = "It was cancelled while it was queued.") -> int:
        """Cancel what waits in a pool (id or name), also for its next attempt, and return how many; what runs goes on.

        Tasks that are submitted meanwhile may be cancelled too.

        Raises:
            PoolNotFound, PoolGone: there is no such pool.
        """
        store = (await self._connected()).store
        record = await self._record(pool)
        pool_id, total, ttl = record.pool_id, 0, self.settings.result_expires
        # Producers may be as fast as this is: what comes later than the call is not waited for.
        while total < record.queued:
            most = min(CANCEL_CHUNK, record.queued - total)
            left, cancelled = await store.run(cancel_waiting(pool_id, most=most, reason=reason, result_ttl=ttl))
            if not left:
                break
            total += cancelled
        return total
