"""Commands of coroutines are written in C, and mean what redis-py's own would."""

from __future__ import annotations

from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import DataError

from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.packing import PackingConnection
from tests.fixtures.valkey import PrivateValkey

COMMANDS: list[tuple[Any, ...]] = [
    ("EVALSHA", "0" * 40, 0, "text", "ünï", b"\xff\x00", 1.5, -3, ""),
    ("CLIENT SETINFO", "LIB-NAME", "a b"),
    ("SET", "key", "lone \udcff surrogate"),
    ("SET", "key", memoryview(b"view")),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_the_same_bytes(command: tuple[Any, ...]) -> None:
    options = {"encoding_errors": "surrogateescape", "decode_responses": True}

    packed = PackingConnection(**options).pack_command(*command)

    assert b"".join(packed) == b"".join(redis.asyncio.Connection(**options).pack_command(*command))


def test_what_has_no_form_in_redis_is_refused() -> None:
    with pytest.raises(DataError):
        PackingConnection().pack_command("SET", "key", None)


async def test_the_store_writes_so_and_gets_back_what_it_wrote(valkey_server: PrivateValkey) -> None:
    async with AsyncStore(valkey_server.url) as store:
        await store.redis.set("packing", "ünï \udcff")

        assert await store.redis.get("packing") == "ünï \udcff"
        assert store.redis.connection_pool.connection_class is PackingConnection
        await store.redis.delete("packing")
