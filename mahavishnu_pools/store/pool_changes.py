"""Changes to a pool that depend on what it is: none is lost when two are made at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.store.calls import Argument, Call
from mahavishnu_pools.store.pools import PoolRecord, read_pools
from mahavishnu_pools.store.steps import Steps


def change_as_read(record: PoolRecord, fields: Mapping[str, Argument]) -> Call[bool]:
    """Change stored fields of a pool (an empty text removes one); False when its configuration is another one by now.

    After a lost connection it may be False although it was done.

    Raises:
        PoolNotFound: there is no such pool.
    """
    flat = [one for field in fields.items() for one in field]

    def parse(reply: list[str]) -> bool:
        if reply[0] == "unknown":
            raise errors.PoolNotFound.of(record.pool_id)
        return reply[0] == "ok"

    return Call("pool_set", (record.pool_id, "", record.revision, *flat), parse)


def change_by(pool_id: str, fields: Callable[[PoolRecord], Mapping[str, Argument]]) -> Steps[None]:
    """Give a pool the fields that are made of what it is; they are made again when that has changed meanwhile.

    Raises:
        PoolNotFound, PoolGone: there is no such pool.
    """
    while True:
        record: PoolRecord = (yield read_pools(pool_id)).one(pool_id)
        if (yield change_as_read(record, fields(record))):
            return


def grow_pool(pool_id: str, change: int) -> Call[int]:
    """Give a pool so many workers more, or fewer when negative, and return how many it is to have then.

    Raises:
        PoolNotFound: there is no such pool.
        ScaleOutOfRange: its limits do not allow so many.
    """

    def parse(reply: list[Any]) -> int:
        if reply[0] == "unknown":
            raise errors.PoolNotFound.of(pool_id)
        if reply[0] == "limits":
            raise errors.ScaleOutOfRange.of(*reply[1:])
        return int(reply[1])

    return Call("pool_grow", (token_hex(8), pool_id, change), parse)


def give_pool_up(pool_id: str, node: str) -> Call[bool]:
    """Have a node run a pool no more that it was assigned to; False when it was not."""
    return Call("node_give_up", (pool_id, node), bool)
