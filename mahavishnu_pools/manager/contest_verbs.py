"""What a manager does with contests: a race, a quorum, the best of several answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mahavishnu_pools import durations, errors
from mahavishnu_pools.manager.listing_verbs import ListingVerbs
from mahavishnu_pools.pools.interface import Task
from mahavishnu_pools.routing.contesting import StartedContest, carry_out_contest, prepare_contest
from mahavishnu_pools.routing.contests import Rules, several
from mahavishnu_pools.routing.eligibility import PoolFilter
from mahavishnu_pools.routing.task_input import task_spec
from mahavishnu_pools.schemas.contest import ContestKind, ContestResult, result_of
from mahavishnu_pools.schemas.task import TaskResult, TaskStatus
from mahavishnu_pools.store.batches import Batch, read_batch
from mahavishnu_pools.store.steps import run_steps

#: What may be given as the candidates: a task, or several.
Tasks = Task | Sequence[Task]


class ContestVerbs(ListingVerbs):
    """The verbs about tasks of which not every answer is needed."""

    async def race(self, tasks: Tasks, *, wait_timeout: float | None = None, **how: Any) -> ContestResult:
        """Have several tasks do the same; the first that succeeds wins, and the others are cancelled.

        Takes the arguments of ``start_contest``. ``wait_timeout`` (seconds) is for the decision. That nobody won is a
        result, never an error.

        Raises:
            WaitTimeout: it was not decided in time; the tasks go on.
        """
        return await self._contested(ContestKind.RACE, tasks, wait_timeout, **how)

    async def quorum(
        self, tasks: Tasks, needed: int, *, wait_timeout: float | None = None, **how: Any
    ) -> ContestResult:
        """Have several tasks do the same until ``needed`` have succeeded (``agree``: with equal answers); see ``race``.

        Answers are equal when their values are, or where they have none their texts, without regard to case and white
        space. It has failed as soon as there cannot be enough any more.
        """
        return await self._contested(ContestKind.QUORUM, tasks, wait_timeout, needed=needed, **how)

    async def best_of(
        self, tasks: Tasks, judge: Task | str, *, wait_timeout: float | None = None, **how: Any
    ) -> ContestResult:
        """Have several tasks do the same, and another one name the best of their answers; see ``race``.

        ``judge`` is a prompt, or a task of type ``prompt``, ``python`` or ``reduce:NAME``. It runs when all others have
        ended, unless none has an answer; when it fails, nobody wins.
        """
        return await self._contested(ContestKind.BEST_OF, tasks, wait_timeout, judge=judge, **how)

    async def start_contest(  # noqa: PLR0913 - the public form of what a caller may say
        self,
        kind: ContestKind | str,
        tasks: Tasks,
        *,
        needed: int | None = None,
        agree: bool = False,
        judge: Task | str | None = None,
        pools: Sequence[str] = (),
        worker_types: Sequence[str] = (),
        copies: int = 1,
        filters: PoolFilter | None = None,
        judge_pool: str | None = None,
        deadline: float | None = None,
    ) -> StartedContest:
        """Send the candidates of a contest, and its judge, in one step, and return their ids at once.

        There is a candidate for each task with each of ``worker_types`` on each of ``pools`` (ids or names; none: one
        is chosen for each, the one with the least to do), ``copies`` times. With an ``idempotency_key`` in the tasks a
        second call returns the first one's contest. ``judge_pool`` is where the judge runs (None: on ``pools``). When
        it is not decided ``deadline`` seconds after this call, it has failed, and all its tasks are cancelled.

        Raises:
            InvalidField: there are fewer than 2 or more than 32 candidates, or the rules do not fit them.
            UnknownChoice: there is no such kind or task type.
            PoolNotFound, PoolGone, NoPoolAvailable: a candidate or the judge has no pool; nothing was sent.
        """
        rules = Rules(
            kind=_kind(kind, needed=needed, agree=agree, judge=judge),
            needed=1 if kind == ContestKind.RACE else needed,
            agree=agree,
            judge=None if judge is None else task_spec({"prompt": judge} if isinstance(judge, str) else judge),
            pools=several(pools, name="pools"),
            worker_types=several(worker_types, name="worker_types"),
            copies=copies,
            deadline=deadline,
        )
        specs = [task_spec(one) for one in _each(tasks)]
        parts = await self._connected()
        steps = prepare_contest(parts.chooser, parts.sender, specs, rules, filters=filters, judge_pool=judge_pool)
        ready = await run_steps(parts.store, steps)
        parts.waiter.expect(ready.ids())
        started: set[str] = set()
        try:
            found = await run_steps(parts.store, carry_out_contest(parts.chooser, parts.sender, ready))
            started = {*found.task_ids, *([found.judge_id] if found.judge_id else [])}
        finally:
            # Those that were known before, under an idempotency key, belong to whoever submitted them.
            parts.waiter.forget(set(ready.ids()).difference(started))
        return found

    async def contest(self, batch_id: str, *, wait_timeout: float | None = 0) -> ContestResult:
        """Return how a contest stands, whoever started it, or with a ``wait_timeout`` wait until it is decided.

        ``wait_timeout`` is in seconds, None: for ever. Candidates that lost may still be on their way out then; their
        status says so.

        Raises:
            BatchNotFound: there is no such batch, or it has expired.
            InvalidField: the batch is no contest.
            WaitTimeout: it was not decided in time; the tasks go on.
        """
        within = durations.checked(wait_timeout, name="wait_timeout")
        found = await self._contest(batch_id)
        if found.status != "open" or within == 0:
            return found
        asked = [found.judge.task_id] if found.judge else [one.task_id for one in found.candidates]
        async for _ in self.results(asked, wait_timeout=within):
            found = await self._contest(batch_id)
            if found.status != "open":
                break
        return found

    async def _contested(
        self, kind: ContestKind, tasks: Tasks, wait_timeout: float | None, **how: Any
    ) -> ContestResult:
        durations.checked(wait_timeout, name="wait_timeout")
        started = await self.start_contest(kind, tasks, **how)
        return await self.contest(started.batch_id, wait_timeout=wait_timeout)

    async def _contest(self, batch_id: str) -> ContestResult:
        batch: Batch | None = await (await self._connected()).store.run(read_batch(batch_id))
        if batch is None:
            raise errors.BatchNotFound.of(batch_id)
        if batch.contest is None:
            remedy = f"Look at it with: mahavishnu pools task --batch {batch_id}"
            raise errors.InvalidField.of("batch_id", f"{batch_id} is no race, quorum or best of several", remedy)
        ids = [*batch.task_ids, *([batch.follower] if batch.follower else [])]
        found = [one or _expired(ids[place]) for place, one in enumerate(await self._read_tasks(ids))]
        judge = found.pop() if batch.follower else None
        return result_of(batch_id, batch.contest, found, judge)


def _each(tasks: Tasks) -> Sequence[Task]:
    return [tasks] if isinstance(tasks, Mapping) or not isinstance(tasks, Sequence) else tasks


def _expired(task_id: str) -> TaskResult:
    return TaskResult(task_id=task_id, status=TaskStatus.FAILED, error="Its result has expired (see result_expires).")


def _kind(kind: ContestKind | str, *, needed: int | None, agree: bool, judge: Task | str | None) -> ContestKind:
    try:
        known = ContestKind(kind)
    except ValueError:
        raise errors.UnknownChoice.of("kind of contest", kind, [one.value for one in ContestKind]) from None
    if known is not ContestKind.QUORUM and (needed is not None or agree):
        raise errors.InvalidField.of("needed and agree", f"are nothing that a {known} uses", "Leave them out.")
    if known is not ContestKind.BEST_OF and judge is not None:
        raise errors.InvalidField.of("judge", f"is nothing that a {known} uses", "Leave it out, or use best_of.")
    return known
