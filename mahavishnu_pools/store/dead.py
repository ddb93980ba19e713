"""Calls about dead letters: tasks that were given up, and messages nobody could read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from mahavishnu_pools.schemas.dead import DeadLetter
from mahavishnu_pools.store.calls import Call, pairs

#: Letters of one call, so that the server is never blocked for long.
CHUNK = 200

#: What became of a letter that was to be replayed: ``gone`` means that its pool is.
Answer = Literal["ok", "unknown", "unreadable", "gone"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """The answer for one letter, and the pool its task was put into (or was to be put into)."""

    pool_id: str
    answer: Answer


def read_letters(ids: Sequence[str] = (), *, pool_id: str | None = None, most: int = CHUNK) -> Call[list[DeadLetter]]:
    """Read the letters of these ids, or the newest ``most`` (of one pool; None: of any)."""

    def parse(reply: list[Any]) -> list[DeadLetter]:
        return [_letter(*entry) for entry in reply]

    return Call("dead_read", (pool_id or "", max(most, len(ids)), *ids), parse)


def replay_letters(ids: Sequence[str], *, pool_id: str | None, request: str) -> Call[list[Replayed]]:
    """Queue the tasks of letters again, in their own pools or in one; ``request`` tells a repeated call from a new one.

    At most ``CHUNK`` ids a call.
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


def _letter(letter_id: str, flat: list[str], record: list[str], output: str) -> DeadLetter:
    letter, task = pairs(flat), pairs(record)
    return DeadLetter(
        task_id=letter_id,
        pool_id=letter["pool"],
        cause=letter["cause"],
        died_at=datetime.fromtimestamp(float(letter["at"]), UTC),
        task_type=task.get("type"),
        attempts=int(task.get("attempts", 0)),
        losses=int(task.get("losses", 0)),
        replayable=bool(task),
        spec=task.get("spec"),
        message=letter["message"],
        output=output,
    )
