"""Submitting tasks: validate all, choose, send in chunks. Nothing is sent before everything is known to be usable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import Messages, envelope
from mahavishnu_pools.broker.signing import Signer
from mahavishnu_pools.routing.chooser import Chooser, Wish
from mahavishnu_pools.routing.eligibility import Need
from mahavishnu_pools.routing.graphs import in_order, linked
from mahavishnu_pools.routing.tally import Tally
from mahavishnu_pools.routing.task_input import task_spec
from mahavishnu_pools.routing.wishes import kept
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.batches import sort_batch
from mahavishnu_pools.store.dependencies import unknown_tasks
from mahavishnu_pools.store.tasks import Envelope, Submitted, no_such_parent, submit

if TYPE_CHECKING:
    from mahavishnu_pools.store.calls import Call
    from mahavishnu_pools.store.steps import Steps

#: Tasks of one script call: few enough that the server is never blocked for long.
CHUNK_TASKS = 500

#: Bytes of one script call, for the same reason.
CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Parcel:
    """A task that is ready to be sent: what its pool must be able to do, its affinity key, its message."""

    need: Need
    affinity: str | None
    envelope: Envelope

    @property
    def size(self) -> int:
        """Return the bytes it takes in a script call, nearly; a task it comes after is as much work as some of them."""
        after = self.envelope.after or {}
        return len(self.envelope.spec) + len(self.envelope.prefix) + 200 + 800 * len(after.get("ids", ()))


@dataclass(frozen=True, slots=True)
class Sender:
    """Who submits: the name outcomes are sent to, a task's largest size in bytes, and what signs messages, if any."""

    client: str
    max_bytes: int
    signer: Signer | None = None


def pack(chooser: Chooser, sender: Sender, tasks: Iterable[TaskSpec | Mapping[str, Any]]) -> Steps[list[Parcel]]:
    """Validate all tasks and build their messages.

    Raises:
        InvalidField, UnknownChoice, PayloadTooLarge: the first task that cannot be used.
    """
    specs = [task_spec(task) for task in tasks]
    ids = [names.new_task_id() for _ in specs]
    parcels, messages = [], Messages(sender.signer)
    for spec, task_id in zip(linked(specs, ids), ids, strict=True):
        yield from chooser.validate(spec)
        made = envelope(spec, task_id=task_id, max_bytes=sender.max_bytes, messages=messages)
        parcels.append(Parcel(Need.of(spec), spec.affinity or spec.session, made))
    yield from _refuse_strangers(parcels)
    return parcels


def send(
    chooser: Chooser, sender: Sender, parcels: Sequence[Parcel], wish: Wish, *, batch: str | None = None
) -> Steps[list[Submitted]]:
    """Choose pools and submit; the result is in input order. Each chunk is sent whole or not at all.

    Raises:
        NoPoolAvailable and what else ``Chooser.choose`` raises; later chunks are then not sent, and the error says what
        became of each task (``Tally.told``).
    """
    tally = Tally([parcel.envelope.task_id for parcel in parcels], batch=batch, keyed=keyed(parcels))
    with tally.telling():
        found = yield from _send_all(chooser, sender, parcels, wish, _Under(tally, batch))
        sent = [found[index] for index in range(len(parcels))]
        if batch is not None and list(found) != sorted(found):
            yield sort_batch(batch, ids_of(sent))
    return sent


def keyed(parcels: Iterable[Parcel]) -> bool:
    """Tell whether each has an idempotency key, so that all may be sent again."""
    return all(parcel.envelope.idempotency_key for parcel in parcels)


def ids_of(sent: Iterable[Submitted]) -> list[str]:
    """Return the ids of tasks that were sent."""
    return [one.task_id for one in sent]


@dataclass(frozen=True, slots=True)
class _Under:
    """What the tasks of one submit are counted and gathered under."""

    tally: Tally
    batch: str | None


def _send_all(
    chooser: Chooser, sender: Sender, parcels: Sequence[Parcel], wish: Wish, under: _Under
) -> Steps[dict[int, Submitted]]:
    groups = [(indexes, _wish_of(wish, parcels[indexes[0]])) for indexes in grouped(parcels)]
    if len(groups) > 1:
        for indexes, own_wish in groups:
            yield from chooser.ensure(parcels[indexes[0]].need, own_wish)
    if any(parcel.envelope.after for parcel in parcels):
        groups = [(indexes, _wish_of(wish, parcels[indexes[0]])) for indexes in runs(parcels)]
    found: dict[int, Submitted] = {}
    # A task that was known by its key has another id than its parcel.
    known: dict[str, str] = {}
    for indexes, own_wish in groups:
        for chunk in chunked(parcels, indexes):
            envelopes = [_at_gate(parcels[index].envelope, own_wish, known) for index in chunk]

            def call(
                choice: Choice, envelopes: Sequence[Envelope] = envelopes, chunk: Sequence[int] = chunk
            ) -> Call[list[Submitted]]:
                made = submit(envelopes, choice, client=sender.client, batch=under.batch, counted=choice.name)
                return under.tally.watched(made, chunk, ids=ids_of)

            sent = yield from chooser.choose(parcels[chunk[0]].need, own_wish, call, count=len(chunk))
            found.update(zip(chunk, sent, strict=True))
            before = ((index, one.task_id) for index, one in zip(chunk, sent, strict=True) if not one.new)
            known |= {parcels[index].envelope.task_id: task_id for index, task_id in before}
    return found


def grouped(parcels: Sequence[Parcel]) -> list[list[int]]:
    """Return the indexes of parcels that may share a choice: same need, same affinity key."""
    groups: dict[tuple[Need, str | None], list[int]] = {}
    for index, parcel in enumerate(parcels):
        groups.setdefault((parcel.need, parcel.affinity), []).append(index)
    return list(groups.values())


def runs(parcels: Sequence[Parcel]) -> list[list[int]]:
    """Return the indexes as ``grouped`` does, but with those first that others come after; groups may come again."""
    place = {parcel.envelope.task_id: index for index, parcel in enumerate(parcels)}
    parents = [
        [place[one] for one in (parcel.envelope.after or {}).get("ids", ()) if one in place] for parcel in parcels
    ]
    keys = [(parcel.need, parcel.affinity) for parcel in parcels]
    return [list(some) for _, some in groupby(in_order(keys, parents), key=keys.__getitem__)]


def chunked(parcels: Sequence[Parcel], indexes: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indexes in pieces that one script call may carry."""
    chunk: list[int] = []
    size = 0
    for index in indexes:
        if chunk and (len(chunk) == CHUNK_TASKS or size + parcels[index].size > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(index)
        size += parcels[index].size
    if chunk:
        yield chunk


def _at_gate(envelope: Envelope, wish: Wish, known: Mapping[str, str]) -> Envelope:
    """Return an envelope that, if it awaits approval or comes after others, says how its pool is chosen then.

    ``known`` has the ids of tasks that were there before.
    """
    if envelope.approval is not None:
        envelope = replace(envelope, approval={**envelope.approval, "wish": kept(wish)})
    if envelope.after is None:
        return envelope
    after = {**envelope.after, "ids": [known.get(one, one) for one in envelope.after["ids"]], "wish": kept(wish)}
    return replace(envelope, after={**after, "explain": True} if wish.explain else after)


def _refuse_strangers(parcels: Sequence[Parcel]) -> Steps[None]:
    """Refuse tasks that come after one which is neither among them nor known."""
    own = {parcel.envelope.task_id for parcel in parcels}
    asked = {one: None for parcel in parcels for one in (parcel.envelope.after or {}).get("ids", ()) if one not in own}
    ids = list(asked)
    for start in range(0, len(ids), CHUNK_TASKS):
        unknown = yield unknown_tasks(ids[start : start + CHUNK_TASKS])
        if unknown:
            raise no_such_parent(unknown[0])


def _wish_of(wish: Wish, parcel: Parcel) -> Wish:
    """Return the caller's wish with the task's own affinity key where the caller leaves the choice open."""
    if parcel.affinity is None or wish.affinity is not None or wish.pool is not None:
        return wish
    return replace(wish, affinity=parcel.affinity)
