"""Calls about dead letters: tasks that were given up, and messages nobody could read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from mahavishnu_pools.schemas.dead import DeadLetter, DeadLetterDetails
from mahavishnu_pools.store.calls import Call, pairs
from mahavishnu_pools.store.task_briefs import summary_of

#: Letters looked at or forgotten in one call, so that the server is never blocked for long.
CHUNK = 200

#: Letters replayed in one call: their messages may be large.
REPLAY_CHUNK = 20

#: What became of a letter that was to be replayed: ``gone`` or ``closing`` is its pool.
Answer = Literal["ok", "unknown", "unreadable", "gone", "closing"]


@dataclass(frozen=True, slots=True)
class Page:
    """Some letters, and the rank to go on at; None: that was all."""

    letters: tuple[DeadLetter, ...]
    onward: int | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """The answer for one letter, and the pool its task was put into (or was to be put into)."""

    pool_id: str
    answer: Answer


def list_letters(*, pool_id: str | None = None, first: int = 0, most: int = CHUNK) -> Call[Page]:
    """Look at letters, the newest first, of one pool or (None) of any; ``most`` is ``CHUNK`` or less."""
    return Call("dead_list", (pool_id or "", first, most), _page)


def find_letters(ids: Sequence[str]) -> Call[Page]:
    """Look at the letters of these ids, at most ``CHUNK``; those without one are left out."""
    return Call("dead_list", ("", 0, 0, *ids), _page)


def read_letter(letter_id: str) -> Call[DeadLetterDetails | None]:
    """Read all that is known of one letter; None: there is none."""

    def parse(reply: list[Any]) -> DeadLetterDetails | None:
        letter, task = pairs(reply[0]), pairs(reply[1])
        if not letter:
            return None
        spec, outcome = task.get("spec"), json.loads(task.get("outcome") or "{}")
        return DeadLetterDetails(
            task_id=letter_id,
            pool_id=letter["pool"],
            cause=letter["cause"],
            died_at=_moment(letter["at"]),
            task_type=task.get("type"),
            attempts=int(task.get("attempts", 0)),
            losses=int(task.get("losses", 0)),
            replayable=bool(task),
            summary=summary_of(spec or "", complete=True),
            spec=spec,
            message=letter["message"],
            output=reply[2] or outcome.get("output") or "",
        )

    return Call("dead_show", (letter_id,), parse)


def replay_letters(ids: Sequence[str], *, pool_id: str | None, request: str) -> Call[list[Replayed]]:
    """Queue the tasks of letters again, in their own pools or in one; ``request`` tells a repeated call from a new one.

    At most ``REPLAY_CHUNK`` ids a call.
    """

    def parse(reply: list[Any]) -> list[Replayed]:
        return [Replayed(pool, answer) for pool, answer in reply]

    return Call("dead_replay", (pool_id or "", request, *ids), parse)


def purge_letters(ids: Sequence[str] = (), *, before: float | None = None, result_ttl: float) -> Call[int]:
    """Forget the letters of these ids, or the oldest, at most 500 a call; ``before`` (epoch seconds) spares newer ones.

    Returns how many were forgotten; without ids repeat until 0.
    """
    limit = "" if before is None else f"{before:.6f}"
    return Call("dead_purge", (int(result_ttl * 1000), limit, *ids), int)


def _page(reply: list[Any]) -> Page:
    letters = []
    for letter_id, pool, cause, at, kind, attempts, losses, replayable, head, complete in reply[1:]:
        letters.append(
            DeadLetter(
                task_id=letter_id,
                pool_id=pool,
                cause=cause,
                died_at=_moment(at),
                task_type=kind or None,
                attempts=int(attempts),
                losses=int(losses),
                replayable=replayable == "1",
                summary=summary_of(head, complete=complete == "1"),
            )
        )
    return Page(tuple(letters), None if reply[0] < 0 else int(reply[0]))


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(float(text), UTC)
