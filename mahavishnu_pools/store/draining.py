"""Calls that bring a pool to its end: draining it, and stopping it when nothing is left."""

from __future__ import annotations

from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.store.calls import Call


def drain_pool(pool_id: str, *, reason: str, seconds: float | None = None, work_off: bool = False) -> Call[None]:
    """Have a pool take no new tasks and, without ``work_off``, start none of those that wait.

    After ``seconds`` (None: never) nothing more is started in any case, and what still runs is handed back.

    Raises:
        PoolNotFound: there is no such pool.
        InvalidField: its status does not allow it.
    """

    def parse(reply: list[str]) -> None:
        if reply[0] == "unknown":
            raise errors.PoolNotFound.of(pool_id)
        if reply[0] == "status":
            raise errors.InvalidField.of("pool", f"{pool_id} is {reply[1]}", "Only a pool that is up can be drained.")

    return Call("pool_drain", (pool_id, "" if seconds is None else seconds, "1" if work_off else "", reason), parse)


def end_pool(pool_id: str, *, reason: str) -> Call[tuple[int, int] | None]:
    """Stop a pool if nothing of it waits or runs; None when done, else (queued, running).

    Raises:
        PoolNotFound: there is no such pool.
    """

    def parse(reply: list[Any]) -> tuple[int, int] | None:
        if reply[0] == "unknown":
            raise errors.PoolNotFound.of(pool_id)
        return (reply[1], reply[2]) if reply[0] == "busy" else None

    return Call("pool_end", (pool_id, reason), parse)
