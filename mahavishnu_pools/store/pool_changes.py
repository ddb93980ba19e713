"""Changes to a pool that depend on its configuration: none is lost when two are made at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
