"""Calls about delivery: leases, claims, how claims end, how dead leases are taken back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mahavishnu_pools.store.calls import Argument, Call

#: Claims taken back in one call, so that a reap never blocks the server for long.
REAP_CHUNK = 200

#: Seconds that one worker has for telling Celery of one task, before another one tries.
TURN = 30.0

#: Claims ended in one script, and the bytes it takes: the server does nothing else meanwhile.
ENDED_MOST, ENDED_BYTES = 50, 1024 * 1024

#: Seconds an outcome is kept when the caller does not say.
RESULT_TTL = 86400.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that this lease holds. ``number`` and the lease are its fence; ``attempt`` is for people.

    ``retries`` counts those that followed a failure; a worker that was lost makes an attempt and no retry. ``got`` is
    what its node has given it of what it needs (JSON, as ``schemas.task.Got``; empty when it asks for nothing).
    """

    number: str
    attempt: int
    task_id: str
    message: str
    retries: int = 0
    got: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim call brought. ``bell`` is where to wait from, ``due`` the next delayed message's time (epoch),
    ``due_in`` the seconds until then by the server's clock, which need not be ours,
    ``workers`` how many workers the pool wants in all. ``late`` is True when the lease's time ran out although nobody
    has reaped it: what it holds is still its own, but it gets nothing before it is refreshed. ``more`` says that the
    queue may hold more, ``untold`` that Celery is to be told of tasks that ended without it.
    """

    bell: str
    due: float | None
    pool_status: str
    workers: int
    cancels: frozenset[str]
    claims: tuple[Claim, ...]
    more: bool = False
    late: bool = False
    due_in: float | None = None
    untold: bool = False


def open_lease(lease: str, *, pool_id: str, node: str, pid: int, started: float, ttl: float) -> Call[bool]:
    """Make a lease for a consumer that is this process; False when the pool does not exist. ``ttl`` is in seconds."""
    about = json.dumps({"pool": pool_id, "node": node, "pid": pid, "started": started})
    return Call("lease_open", (lease, pool_id, about, int(ttl * 1000)), bool)


def refresh_leases(leases: Sequence[str], *, ttl: float) -> Call[list[bool]]:
    """Keep leases alive; False for one that was reaped."""
    return Call("lease_refresh", (int(ttl * 1000), *leases), lambda reply: [bool(one) for one in reply])


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims: a worker group by its lease, pool and Celery node name.

    ``alone`` takes one suspect at a time. ``worker_type`` is what prompts that name none are run with.
    """

    lease: str
    pool_id: str
    worker: str
    alone: bool = False
    worker_type: str | None = None


def claim(by: Claimant, *, most: int, request: str, result_ttl: float, free: int | None = None) -> Call[Claimed | None]:
    """Move up to ``most`` messages into the lease; None when the lease was reaped.

    There are workers for ``free`` of them (None: for all). The rest waits for one, so it ends at a task that does not
    bear that: users' own Celery tasks, and those that fail when their worker is lost.
    """

    def parse(reply: list[Any]) -> Claimed | None:
        if reply[0] == "lost":
            return None
        if reply[0] == "late":
            return Claimed("0-0", None, "", 0, frozenset(), (), late=True)
        claims = tuple(Claim(one[0], int(one[1]), one[2], one[3], int(one[4]), one[5]) for one in reply[9:])
        due, due_in = (float(text) if text else None for text in (reply[2], reply[7]))
        head = (reply[1], due, reply[3], reply[4], frozenset(reply[5]), claims)
        return Claimed(*head, more=bool(reply[6]), due_in=due_in, untold=bool(reply[8]))

    head = (by.lease, by.pool_id, most, request, by.worker, int(result_ttl * 1000))
    return Call("claim", (*head, "1" if by.alone else "0", by.worker_type or "", most if free is None else free), parse)


def next_untold(app: str, *, by: str, told: str = "") -> Call[str]:
    """Return the next message of an ended task of which Celery is to be told; '' when there is none for this worker.

    ``app`` is the pools' ``celery_app`` ('' when they name none), ``told`` the message that it was told of meanwhile.
    """
    return Call("untold", (app, by, int(TURN * 1000), told), str)


Ending = Literal["ok", "again", "fenced"]


@dataclass(frozen=True, slots=True)
class Held:
    """The claim a call speaks about."""

    lease: str
    number: str
    task_id: str
    pool_id: str


def finish(  # noqa: PLR0913 - an outcome in the form in which it is kept
    held: Held,
    *,
    status: str,
    outcome: str,
    meta: str,
    result_ttl: float,
    told: str = "",
    times: tuple[float, float] | None = None,
) -> Call[Ending]:
    """Write the task's one outcome and release the claim. ``outcome`` and ``meta`` are JSON (ours, Celery's).

    ``told`` is what the run told besides, as JSON: usage, and that the provider wants to be left alone (finish.lua).
    ``times`` are the seconds from when the claim was asked for until a worker began, and those for which it ran;
    without them it ran from its claim until now.
    """
    when = "" if times is None else f"{times[0]:.6f} {times[1]:.6f}"
    return _end(held, result_ttl, "outcome", status, outcome, meta, when, told)


def retry(held: Held, *, outcome: str, delay: float, result_ttl: float = RESULT_TTL, told: str = "") -> Call[Ending]:
    """Release the claim and run the task again after ``delay`` seconds; ``outcome`` tells why (JSON).

    ``told`` is as for ``finish``. A task whose cancellation was asked for meanwhile is cancelled instead; so it is
    with ``hand_back``.
    """
    return _end(held, result_ttl, "retry", "", outcome, "", delay, told)


def hand_back(held: Held, *, result_ttl: float = RESULT_TTL) -> Call[Ending]:
    """Put the message back to the front of its queue; the attempt does not count."""
    return _end(held, result_ttl, "handback", "", "", "", 0, "")


def release(held: Held, *, status: str, outcome: str, result_ttl: float) -> Call[Ending]:
    """Give the claim of a Celery task up that has no result to write: it retries, was replaced, or ignores its end.

    A task that will not run again in a pool under its id gets ``status`` and ``outcome`` (JSON); one that was to run
    again in a pool that is gone meanwhile is dead.
    """
    return _end(held, result_ttl, "release", status, outcome, "", 0, "")


def _end(held: Held, result_ttl: float, *how: Argument) -> Call[Ending]:
    """Return the call with action, status, outcome, meta, delay or times, and what was told, in this order."""
    whose = (held.lease, held.pool_id, int(result_ttl * 1000))
    return Call("finish", (*whose, held.number, held.task_id, *how), _first)


def _first(reply: list[Ending]) -> Ending:
    return reply[0]


def together(endings: Sequence[Call[Ending]]) -> list[Call[list[Ending]]]:
    """Return calls that do what these do, in their order, with as few scripts as may be; each is atomic.

    A script ends claims of one lease, at most ``ENDED_MOST``, and takes ``ENDED_BYTES`` unless one claim has more.
    """
    chunks: list[list[Call[Ending]]] = []
    size = 0
    for call in endings:
        mine = sum(len(one) for one in call.arguments if isinstance(one, str))
        last = chunks[-1] if chunks else []
        if (
            not last
            or len(last) == ENDED_MOST
            or size + mine > ENDED_BYTES
            or last[0].arguments[:3] != call.arguments[:3]
        ):
            chunks.append([])
            size = 0
        chunks[-1].append(call)
        size += mine
    return [_joined(chunk) for chunk in chunks]


def _joined(endings: Sequence[Call[Ending]]) -> Call[list[Ending]]:
    each = (argument for call in endings for argument in call.arguments[3:])

    def parse(reply: list[Ending]) -> list[Ending]:
        return [call.parse([one]) for call, one in zip(endings, reply, strict=True)]

    return Call("finish", (*endings[0].arguments[:3], *each), parse)


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """A lease as reapers see it; ``alive`` is False when its time ran out, ``node_alive`` when its node is lost too."""

    lease: str
    pool_id: str
    node: str
    pid: int
    started: float
    alive: bool
    claims: int
    node_alive: bool = False


def list_leases() -> Call[list[LeaseInfo]]:
    """Read every lease that was not released or reaped."""

    def parse(reply: list[Any]) -> list[LeaseInfo]:
        found = []
        for lease, text, alive, claims, node in reply:
            about = json.loads(text)
            where = (about["pool"], about["node"], about["pid"], about["started"])
            found.append(LeaseInfo(lease, *where, alive=bool(alive), claims=claims, node_alive=bool(node)))
        return found

    return Call("lease_list", (), parse)


@dataclass(frozen=True, slots=True)
class Reaped:
    """What became of the claims taken back by one call; ``left`` are still to be taken."""

    requeued: int
    failed: int
    dead: int
    left: int


#: Why a lease ended: a task surely did it, a task may have, or agent, node or operator did.
Cause = Literal["loss", "kill", "node"]


def reap(lease: str, *, cause: Cause, result_ttl: float) -> Call[Reaped]:
    """Take claims of a dead lease back, ``REAP_CHUNK`` a call; repeat until ``left`` is 0.

    A task that ran alone is blamed for a ``loss`` or ``kill``, and given up as dead after three. Of several, each is a
    suspect after a ``loss`` or its second ``kill``: it waits apart and is run alone.
    """
    return Call("reap", (lease, REAP_CHUNK, int(result_ttl * 1000), cause), lambda reply: Reaped(*reply))
