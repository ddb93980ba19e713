"""Carrying a distribution out: submit the parts as one batch, seal it, and say what follows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.message import Messages, envelope
from mahavishnu_pools.routing.distribution import Spread, copies, follower, split
from mahavishnu_pools.routing.eligibility import Need, PoolFilter, stored_filter
from mahavishnu_pools.routing.submission import Parcel, Sender, chunked, ids_of, keyed, pack
from mahavishnu_pools.routing.tally import Tally
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.batches import Follower, seal
from mahavishnu_pools.store.tasks import Submitted, submit

if TYPE_CHECKING:
    from mahavishnu_pools.routing.chooser import Chooser
    from mahavishnu_pools.store.steps import Steps


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution that is under way: its parts in input order, and the task that reduces them (None: none does).

    ``known`` are those parts that had been submitted before, by their idempotency keys.
    """

    batch_id: str
    task_ids: tuple[str, ...]
    strategy: str
    reducer_id: str | None = None
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """A distribution ready to be sent. ``targets`` has one pool a part for broadcast, else it is None."""

    batch_id: str
    how: Spread
    parcels: tuple[Parcel, ...]
    candidates: tuple[str, ...]
    targets: tuple[str, ...] | None
    follower: Follower | None
    filters: str | None = None

    def ids(self) -> list[str]:
        """Return the ids of all its tasks."""
        after = [self.follower.envelope.task_id] if self.follower else []
        return [parcel.envelope.task_id for parcel in self.parcels] + after


def prepare(
    chooser: Chooser,
    sender: Sender,
    spec: TaskSpec,
    how: Spread,
    *,
    pools: Sequence[str] | None = None,
    filters: PoolFilter | None = None,
) -> Steps[Ready]:
    """Split, find the pools, and build all messages; ``pools`` (ids or names) limits where parts may go.

    Raises:
        PoolNotFound, PoolGone: a named pool does not exist.
        NoPoolAvailable: no pool can run the parts.
        InvalidField, UnknownChoice, PayloadTooLarge: the task cannot be split or a part cannot be used.
    """
    if spec.session is not None:
        remedy = "Send them as tasks of their own, or leave it out."
        raise errors.InvalidField.of("session", "cannot be shared by the parts of a task", remedy)
    if how.reducer is not None:
        yield from check_reducer(chooser, how.reducer)
    parts = split(spec, how) if how.selector is not None else None
    only = None
    if pools is not None:
        found = []
        for pool in pools:
            found.append((yield from chooser.find(pool)).pool_id)
        only = tuple(dict.fromkeys(found))
    # What no pool could ever run is the caller's mistake; only then is it said which pools are missing.
    yield from chooser.validate(parts[0] if parts else spec)
    sifted = yield from chooser.candidates(Need.of(spec), filters=filters, only=only)
    targets = sifted.candidates if parts is None else None
    if parts is None:
        parts = copies(spec, len(sifted.candidates))
    parcels = yield from pack(chooser, sender, parts)
    batch_id = names.new_batch_id()
    after = follower(spec, how, batch_id)
    then = None
    if after is not None:
        made = envelope(
            after, task_id=names.new_task_id(), max_bytes=sender.max_bytes, messages=Messages(sender.signer)
        )
        reducing = yield from chooser.candidates(Need.of(after), filters=filters, only=only)
        then = Follower(made, reducing.candidates, reducing.candidates[0])
    return Ready(batch_id, how, tuple(parcels), sifted.candidates, targets, then, stored_filter(filters))


def check_reducer(chooser: Chooser, name: str) -> Steps[None]:
    """Refuse a reducer that no pool's workers have loaded.

    Raises:
        UnknownChoice: nobody knows it; the message lists those that are known.
    """
    if name not in (yield from chooser.view()).reducers():
        known = (yield from chooser.view(fresh=True)).reducers()
        if name not in known:
            raise errors.UnknownChoice.of("reducer", name, known)


def carry_out(sender: Sender, ready: Ready, *, result_ttl: float) -> Steps[Distribution]:
    """Submit all parts as one batch and seal it.

    Raises:
        NoPoolAvailable, PoolGone, InvalidField: the pools went away; parts already sent run, and the error says which
        (``Tally.told``).
    """
    ids = [parcel.envelope.task_id for parcel in ready.parcels]
    followed = ready.follower is not None
    tally = Tally(ids, batch=ready.batch_id, keyed=keyed(ready.parcels), what="part", followed=followed)
    with tally.telling():
        sent = yield from _send_parts(sender, ready, tally)
        reducer = yield seal(ready.batch_id, follower=ready.follower, client=sender.client, result_ttl=result_ttl)
    known = tuple(one.task_id for one in sent if not one.new)
    return Distribution(ready.batch_id, tuple(ids_of(sent)), ready.how.strategy.value, reducer or None, known)


def _send_parts(sender: Sender, ready: Ready, tally: Tally) -> Steps[list[Submitted]]:
    sent: list[Submitted] = []
    strategy = ready.how.strategy.value
    for indexes, choice in _chunks(ready):
        envelopes = [ready.parcels[index].envelope for index in indexes]
        made = submit(envelopes, choice, client=sender.client, batch=ready.batch_id, counted=strategy)
        sent += yield tally.watched(made, indexes, ids=ids_of)
    return sent


def _chunks(ready: Ready) -> Iterator[tuple[list[int], Choice]]:
    for indexes in chunked(ready.parcels, range(len(ready.parcels))):
        if ready.targets is not None:
            yield indexes, Choice("pool", targets=tuple(ready.targets[index] for index in indexes))
        else:
            assert ready.how.selector is not None
            # One random number a call seeds the choice of every task in it.
            how, seed = ready.how.selector.value, random.random()
            yield indexes, Choice(how, candidates=ready.candidates, random=seed, filters=ready.filters)
