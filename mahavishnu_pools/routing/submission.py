"""Submitting tasks: validate all, choose, send in chunks. Nothing is sent before everything is known to be usable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.broker.signing import Signer
from mahavishnu_pools.routing.chooser import Chooser, Wish
from mahavishnu_pools.routing.eligibility import Need
from mahavishnu_pools.routing.task_input import task_spec
from mahavishnu_pools.routing.wishes import kept
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.tasks import Envelope, Submitted, submit

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
        """Return the bytes it takes in a script call, nearly."""
        return len(self.envelope.spec) + len(self.envelope.prefix) + 200


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
    parcels = []
    for task in tasks:
        spec = task_spec(task)
        yield from chooser.validate(spec)
        made = envelope(spec, task_id=names.new_task_id(), max_bytes=sender.max_bytes, signer=sender.signer)
        parcels.append(Parcel(Need.of(spec), spec.affinity, made))
    return parcels


def send(
    chooser: Chooser, sender: Sender, parcels: Sequence[Parcel], wish: Wish, *, batch: str | None = None
) -> Steps[list[Submitted]]:
    """Choose pools and submit; the result is in input order. Each chunk is sent whole or not at all.

    Raises:
        NoPoolAvailable and what else ``Chooser.choose`` raises; later chunks are then not sent.
    """
    groups = [(indexes, _wish_of(wish, parcels[indexes[0]])) for indexes in grouped(parcels)]
    if len(groups) > 1:
        for indexes, own_wish in groups:
            yield from chooser.ensure(parcels[indexes[0]].need, own_wish)
    found: dict[int, Submitted] = {}
    for indexes, own_wish in groups:
        for chunk in chunked(parcels, indexes):
            envelopes = [_at_gate(parcels[index].envelope, own_wish) for index in chunk]

            def call(choice: Choice, envelopes: Sequence[Envelope] = envelopes) -> Call[list[Submitted]]:
                return submit(envelopes, choice, client=sender.client, batch=batch, counted=choice.name)

            sent = yield from chooser.choose(parcels[chunk[0]].need, own_wish, call, count=len(chunk))
            found.update(zip(chunk, sent, strict=True))
    return [found[index] for index in range(len(parcels))]


def grouped(parcels: Sequence[Parcel]) -> list[list[int]]:
    """Return the indexes of parcels that may share a choice: same need, same affinity key."""
    groups: dict[tuple[Need, str | None], list[int]] = {}
    for index, parcel in enumerate(parcels):
        groups.setdefault((parcel.need, parcel.affinity), []).append(index)
    return list(groups.values())


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


def _at_gate(envelope: Envelope, wish: Wish) -> Envelope:
    """Return an envelope that, if it awaits approval, says how its pool is chosen then."""
    if envelope.approval is None:
        return envelope
    return replace(envelope, approval={**envelope.approval, "wish": kept(wish)})


def _wish_of(wish: Wish, parcel: Parcel) -> Wish:
    """Return the caller's wish with the task's own affinity key where the caller leaves the choice open."""
    if parcel.affinity is None or wish.affinity is not None or wish.pool is not None:
        return wish
    return replace(wish, affinity=parcel.affinity)
