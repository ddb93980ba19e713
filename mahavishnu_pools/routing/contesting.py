"""Carrying a contest out: find pools for all candidates and the judge, and submit everything in one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.message import Messages, envelope
from mahavishnu_pools.routing.contests import Candidate, Rules, batch_of, candidates_of, judge_of, least_busy, rules_key
from mahavishnu_pools.routing.distributing import check_reducer
from mahavishnu_pools.routing.eligibility import Need, PoolFilter
from mahavishnu_pools.routing.judging import refuse_call
from mahavishnu_pools.routing.submission import Parcel, Sender, pack
from mahavishnu_pools.schemas.contest import ContestKind
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.batches import Follower, read_batch
from mahavishnu_pools.store.contests import Opening, submit_contest
from mahavishnu_pools.store.tasks import StaleRegistry
from mahavishnu_pools.task_types import REDUCER_PREFIX

if TYPE_CHECKING:
    from mahavishnu_pools.routing.chooser import Chooser
    from mahavishnu_pools.store.pools import PoolRecord
    from mahavishnu_pools.store.steps import Steps

#: Times that pools are found anew because they changed meanwhile; then it is submitted as it is.
STALE_TRIES = 4


@dataclass(frozen=True, slots=True)
class StartedContest:
    """A contest that is under way: its candidates in input order, and the task that judges them (None: none does).

    ``new`` is False when there was one with this idempotency key; then it is that one, whatever was asked for.
    """

    batch_id: str
    kind: ContestKind
    task_ids: tuple[str, ...]
    judge_id: str | None = None
    new: bool = True


@dataclass(frozen=True, slots=True)
class ReadyContest:
    """A contest ready to be sent."""

    batch_id: str
    rules: Rules
    candidates: tuple[Candidate, ...]
    parcels: tuple[Parcel, ...]
    judge: Parcel | None
    filters: PoolFilter | None
    judge_pool: str | None

    def ids(self) -> list[str]:
        """Return the ids of all its tasks."""
        return [one.envelope.task_id for one in (*self.parcels, *([self.judge] if self.judge else []))]


def prepare_contest(
    chooser: Chooser,
    sender: Sender,
    tasks: Sequence[TaskSpec],
    rules: Rules,
    *,
    filters: PoolFilter | None = None,
    judge_pool: str | None = None,
) -> Steps[ReadyContest]:
    """Make candidates and messages; nothing is sent.

    Raises:
        InvalidField, UnknownChoice, PayloadTooLarge: a task, the rules or the judge cannot be used.
    """
    candidates = candidates_of(tasks, rules)
    batch_id = batch_of(rules_key(tasks))
    parcels = yield from pack(chooser, sender, [one.spec for one in candidates])
    judge = None
    if rules.judge is not None:
        after = judge_of(rules.judge, batch_id)
        if after.task_type.startswith(REDUCER_PREFIX):
            yield from check_reducer(chooser, after.task_type.removeprefix(REDUCER_PREFIX))
        try:
            yield from chooser.validate(after)
        except errors.InvalidField as exc:
            raise errors.InvalidField(f"judge: {exc.message}", field="judge") from exc
        view = yield from chooser.view()
        refuse_call(view, after, pools=rules.pools if judge_pool is None else (judge_pool,))
        made = envelope(
            after, task_id=names.new_task_id(), max_bytes=sender.max_bytes, messages=Messages(sender.signer)
        )
        judge = Parcel(Need.of(after), None, made)
    return ReadyContest(batch_id, rules, tuple(candidates), tuple(parcels), judge, filters, judge_pool)


def carry_out_contest(chooser: Chooser, sender: Sender, ready: ReadyContest) -> Steps[StartedContest]:
    """Find pools and submit; all is sent or nothing.

    Raises:
        PoolNotFound, PoolGone, NoPoolAvailable: a candidate or the judge has no pool; says why for each.
    """
    for tries in range(STALE_TRIES):
        targets = yield from _targets(chooser, ready)
        judge, rules = (yield from _judge(chooser, ready)), ready.rules
        opening = Opening(rules.kind, rules.needed, rules.agree, judge, rules.deadline)
        version = (yield from chooser.view()).version if tries < STALE_TRIES - 1 else None
        choice = Choice("pool", targets=targets, version=version)
        envelopes = [parcel.envelope for parcel in ready.parcels]
        try:
            sent = yield submit_contest(envelopes, choice, batch=ready.batch_id, opening=opening, client=sender.client)
        except StaleRegistry:
            continue
        return (yield from _started(ready, tuple(one.task_id for one in sent)))
    raise AssertionError("the last try names no version")


def _started(ready: ReadyContest, task_ids: tuple[str, ...]) -> Steps[StartedContest]:
    judge = ready.judge.envelope.task_id if ready.judge else None
    if task_ids == tuple(parcel.envelope.task_id for parcel in ready.parcels):
        return StartedContest(ready.batch_id, ready.rules.kind, task_ids, judge)
    batch = yield read_batch(ready.batch_id)
    if batch is None or batch.contest is None:
        raise errors.BatchNotFound.of(ready.batch_id)
    return StartedContest(ready.batch_id, batch.contest.kind, task_ids, batch.follower, new=False)


def _targets(chooser: Chooser, ready: ReadyContest) -> Steps[tuple[str, ...]]:
    """Return a pool for each candidate: its own, else one with little to do, other ones for other candidates."""
    targets: list[str] = []
    taken: dict[str, int] = {}
    pools: dict[tuple[Need, str | None], list[PoolRecord]] = {}
    for candidate, parcel in zip(ready.candidates, ready.parcels, strict=True):
        wanted = (parcel.need, candidate.pool)
        if wanted not in pools:
            pools[wanted] = yield from _pools(chooser, ready, *wanted)
        target = least_busy(pools[wanted], taken)
        taken[target] = taken.get(target, 0) + 1
        targets.append(target)
    return tuple(targets)


def _pools(chooser: Chooser, ready: ReadyContest, need: Need, pool: str | None) -> Steps[list[PoolRecord]]:
    only = None if pool is None else ((yield from chooser.find(pool)).pool_id,)
    sifted = yield from chooser.candidates(need, filters=ready.filters, only=only)
    found = [one for one in (yield from chooser.view()).pools if one.pool_id in sifted.candidates]
    return [one for one in found if one.status is not PoolStatus.DEGRADED] or found


def _judge(chooser: Chooser, ready: ReadyContest) -> Steps[Follower | None]:
    """Return the judge with the pools it may run on: the one it was given, else those of the candidates."""
    if ready.judge is None:
        return None
    named = (ready.judge_pool,) if ready.judge_pool is not None else ready.rules.pools
    ids = []
    for pool in dict.fromkeys(named):
        ids.append((yield from chooser.find(pool)).pool_id)
    filters = None if ready.judge_pool is not None else ready.filters
    try:
        sifted = yield from chooser.candidates(ready.judge.need, filters=filters, only=tuple(ids) or None)
    except errors.NoPoolAvailable as exc:
        remedy = "Say where the judge runs (judge_pool, --judge-pool) or what runs it (its worker_type, --judge-with)."
        raise exc.but(f"The judge has no pool. {exc.message} {remedy}") from exc
    return Follower(ready.judge.envelope, sifted.candidates, sifted.candidates[0])
