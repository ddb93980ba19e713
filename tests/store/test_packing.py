"""Commands of coroutines are written in C, and mean what redis-py's own would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import DataError
from redis.exceptions import TimeoutError as LateRedis

from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.packing import PackingConnection
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually_async

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


@pytest.fixture
async def deaf_port() -> AsyncIterator[int]:
    """The port of a server that takes connections and reads nothing of what comes."""
    done = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await done.wait()
        writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    done.set()
    server.close()
    await server.wait_closed()


def deaf_connection(port: int, *, seconds: float) -> PackingConnection:
    # What would be asked first is left out: the server has no answer.
    return PackingConnection(
        host="127.0.0.1",
        port=port,
        socket_timeout=seconds,
        redis_connect_func=lambda connection: None,
        retry=Retry(NoBackoff(), 0),
    )


async def test_a_server_that_reads_nothing_is_given_up(deaf_port: int) -> None:
    connection = deaf_connection(deaf_port, seconds=0.2)

    with pytest.raises(LateRedis):
        await connection.send_packed_command(b"x" * 50_000_000)

    assert not connection.is_connected


async def test_after_half_a_command_nothing_else_follows(deaf_port: int) -> None:
    connection = deaf_connection(deaf_port, seconds=60)
    writing = asyncio.create_task(connection.send_packed_command([b"x" * 50_000_000]))
    await eventually_async(lambda: _as_awaitable(connection.is_connected))

    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert not connection.is_connected


async def test_a_connection_that_breaks_while_it_is_written_to_is_lost(deaf_port: int) -> None:
    connection = deaf_connection(deaf_port, seconds=60)
    await connection.connect()

    async def broken() -> None:
        raise BrokenPipeError("Broken pipe")

    connection._writer.drain = broken
    with pytest.raises(LostConnection, match="Broken pipe"):
        await connection.send_packed_command("PING")

    assert not connection.is_connected


async def _as_awaitable(seen: bool) -> bool:
    return seen
