"""Calls that look for inconsistencies, a bounded piece each. Calls that mend them are in ``mending``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mahavishnu_pools.store.calls import Argument, Call

#: Keys looked at in one call, so that no call blocks the server for long.
SCAN_CHUNK = 500

#: Messages, claims or members looked at in one call.
READ_CHUNK = 200


def scan(cursor: str) -> Call[tuple[str, list[str]]]:
    """Read the next keys, without the namespace; ``"0"`` is the first cursor and says at the end that all were seen."""
    return Call("check_scan", (cursor, SCAN_CHUNK), lambda reply: (str(reply[0]), list(reply[1])))


@dataclass(frozen=True, slots=True)
class OddTask:
    """A record that needs a second look. ``mark`` differs when it has changed since.

    ``waiting`` must have a message somewhere; ``unheld`` runs under a claim that nobody holds; ``endless`` has its
    outcome and no lifetime.
    """

    task_id: str
    kind: Literal["waiting", "unheld", "endless"]
    pool_id: str
    mark: str


def look_at_tasks(task_ids: Sequence[str]) -> Call[list[OddTask]]:
    """Read the records among these that need a second look."""
    return Call("check_tasks", tuple(task_ids), lambda reply: [OddTask(*entry) for entry in reply])


#: Where messages are: the buckets of a pool's queue, its other places, and the claims of a lease. ``ended`` are the
#: cancelled tasks whose messages are said to be in one of them.
Place = Literal["queue", "suspects", "delayed", "claims", "ended"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message: its task (empty: it cannot be read) and whether that has a record."""

    task_id: str
    recorded: bool


def read_place(place: Place, owner: str, *, bucket: int, at: str) -> Call[tuple[str, list[Waiting]]]:
    """Read the next messages of a place of a pool (``claims``: of a lease), and where to go on (empty at the end)."""

    def parse(reply: list[str]) -> tuple[str, list[Waiting]]:
        flat = reply[1:]
        return reply[0], [Waiting(one, yes == "1") for one, yes in zip(flat[::2], flat[1::2], strict=True)]

    return Call("check_place", (place, owner, bucket, at, READ_CHUNK), parse)


@dataclass(frozen=True, slots=True)
class OddClaim:
    """A claim whose task has its outcome, or (``recorded`` is False) no record."""

    lease: str
    number: str
    task_id: str
    recorded: bool


def look_at_claims(lease: str, *, cursor: str) -> Call[tuple[str, list[OddClaim]]]:
    """Read the next odd claims of a lease, and the next cursor."""

    def parse(reply: list[Any]) -> tuple[str, list[OddClaim]]:
        return reply[0], [OddClaim(lease, number, task, kind == "ended") for number, task, kind in reply[1:]]

    return Call("check_claims", (lease, cursor, READ_CHUNK), parse)


def look_at_registry(*, mend: bool = False) -> Call[list[tuple[str, str]]]:
    """Find entries of pools and leases that do not exist, as (where, what); ``mend`` corrects them."""
    return Call("check_registry", ("1" if mend else "0",), lambda reply: [(one[0], one[1]) for one in reply])


@dataclass(frozen=True, slots=True)
class OddLoad:
    """A pool's load in the index and in truth; None is no entry."""

    pool_id: str
    indexed: float | None
    truth: float | None
    workers: int


def look_at_load(first: int, last: int) -> Call[list[OddLoad]]:
    """Find pools, from one place in the order of creation to another, whose load is not what the index says."""

    def number(text: str) -> float | None:
        return float(text) if text else None

    return Call("check_load", (first, last), lambda r: [OddLoad(e[0], number(e[1]), number(e[2]), e[3]) for e in r])


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """The counts of a batch as they are stored; ``total`` is negative when there is no such batch."""

    total: int
    successful: int
    failed: int


@dataclass(frozen=True, slots=True)
class BatchPiece:
    """Stored counts, and how some of the members ended; ``unknown`` members have no record (any more).

    ``follower`` is the task whose message waits in the batch until the last outcome, None when there is none.
    """

    counts: BatchCounts
    members: int
    completed: int
    ended: int
    unknown: int
    sealed_follower: bool
    follower: str | None


def look_at_batch(batch: str, *, first: int) -> Call[BatchPiece]:
    """Read the counts of a batch and the states of ``READ_CHUNK`` members from an index on."""

    def parse(reply: list[Any]) -> BatchPiece:
        (total, successful, failed, members, sealed, _ttl), completed, ended, unknown, follower = reply
        counts = BatchCounts(total, successful, failed)
        return BatchPiece(counts, members, completed, ended, unknown, bool(sealed), follower or None)

    return Call("check_batch", (batch, first, first + READ_CHUNK - 1), parse)


#: Families of keys that must have a lifetime, besides task records.
MORTAL = ("meta", "log", "affinity", "gone", "idem", "batch", "mailbox")


def look_at_lifetimes(keys: Sequence[tuple[str, str]], *, give: float | None = None) -> Call[list[tuple[str, str]]]:
    """Find keys, given as (family, what it belongs to), that should end and do not; ``give`` (seconds) mends them."""
    flat: list[Argument] = ["" if give is None else int(give * 1000)]
    for family, of in keys:
        flat.extend((family, of))
    return Call("check_endless", tuple(flat), lambda reply: [(one[0], one[1]) for one in reply])


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of a pool that does not exist."""

    pool_id: str
    messages: int
    leases: int


def look_at_remains(pool_ids: Sequence[str]) -> Call[list[Remains]]:
    """Find out which of these pools do not exist and have left something."""
    return Call("check_remains", tuple(pool_ids), lambda reply: [Remains(*entry) for entry in reply])
