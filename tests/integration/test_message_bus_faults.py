"""The message bus over Redis while the server is killed, frozen or cut off, and when others send what is no message."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio

from mahavishnu_pools import errors
from mahavishnu_pools.bus.redis import RedisBus
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.message import MAX_TEXT, Message
from mahavishnu_pools.settings import Settings
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually_async

DEADLINE = 60.0

MakeBus = Callable[..., RedisBus]

VALID = {"type": "heartbeat", "source_pool_id": "pool_x", "message_id": "m", "timestamp": "2030-01-01T00:00:00Z"}


def numbered(number: int) -> dict[str, Any]:
    return {"type": "heartbeat", "source_pool_id": "pool_a", "payload": {"number": number}}


def numbers(seen: list[Message]) -> list[Any]:
    return [message.payload.get("number") for message in seen]


async def reaches(seen: list[Any], number: int) -> None:
    await eventually_async(lambda: asyncio.sleep(0, seen), until=lambda found: len(found) >= number, within=DEADLINE)


async def published(bus: RedisBus, number: int) -> None:
    """Publish as soon as the server is there again."""

    async def attempt() -> bool:
        try:
            await bus.publish(numbered(number))
        except errors.RedisUnavailable:
            return False
        return True

    await eventually_async(attempt, within=DEADLINE)


async def test_after_a_restart_of_the_server_subscribers_hear_again_and_receivers_go_on(
    redis_bus: MakeBus, own_valkey_server: PrivateValkey
) -> None:
    here, there = (redis_bus(url=own_valkey_server.url, timeout=1.0) for _ in range(2))
    seen: list[Message] = []
    here.subscribe("heartbeat", seen.append)
    receiver = asyncio.create_task(there.receive("pool_b"))
    await here.publish(numbered(0))
    await reaches(seen, 1)
    own_valkey_server.kill()

    async with asyncio.timeout(DEADLINE):
        with pytest.raises(errors.RedisUnavailable, match="does not answer"):
            await here.publish(numbered(1))
        assert await here.receive("pool_c", timeout=0.1) is None
    own_valkey_server.start()
    await published(here, 2)
    await reaches(seen, 2)
    await there.publish({**numbered(3), "target_pool_id": "pool_b"})
    await reaches(seen, 3)

    message = await receiver
    assert message is not None
    assert message.payload == {"number": 3}
    assert numbers(seen) == [0, 2, 3]


async def test_a_frozen_server_is_an_error_in_bounded_time_and_nothing_is_sent_twice(
    redis_bus: MakeBus, own_valkey_server: PrivateValkey
) -> None:
    bus = redis_bus(url=own_valkey_server.url, timeout=1.0)
    seen: list[Message] = []
    bus.subscribe("heartbeat", seen.append)
    await bus.publish(numbered(0))
    os.kill(own_valkey_server.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(DEADLINE):
            results = await asyncio.gather(*(bus.publish(numbered(1)) for _ in range(20)), return_exceptions=True)
    finally:
        os.kill(own_valkey_server.pid, signal.SIGCONT)
    await published(bus, 2)

    async def last() -> Any:
        return numbers(seen)[-1]

    await eventually_async(last, until=lambda number: number == 2, within=DEADLINE)
    assert {type(result) for result in results} == {errors.RedisUnavailable}
    assert len({message.message_id for message in seen}) == len(seen)


async def test_closing_ends_what_waits_for_a_frozen_server(
    redis_bus: MakeBus, own_valkey_server: PrivateValkey
) -> None:
    bus = redis_bus(url=own_valkey_server.url, timeout=DEADLINE)
    bus.subscribe("heartbeat", lambda message: None)
    await bus.publish(numbered(0))
    os.kill(own_valkey_server.pid, signal.SIGSTOP)
    try:
        receiver = asyncio.create_task(bus.receive("pool_b"))
        publishers = [asyncio.create_task(bus.publish(numbered(number))) for number in range(3)]
        await asyncio.wait(publishers, timeout=0.05)
        async with asyncio.timeout(DEADLINE / 2):
            await bus.close()
            results = await asyncio.gather(*publishers, receiver, return_exceptions=True)
    finally:
        os.kill(own_valkey_server.pid, signal.SIGCONT)

    assert [type(result) for result in results[:3]] == [errors.RedisUnavailable] * 3
    assert results[3] is None


async def test_what_is_published_while_the_connection_is_lost_is_counted_as_missed(
    redis_bus: MakeBus, own_valkey_server: PrivateValkey
) -> None:
    here, there = (redis_bus(url=own_valkey_server.url) for _ in range(2))
    seen: list[Message] = []
    here.subscribe("heartbeat", seen.append)
    await here.publish(numbered(0))
    await reaches(seen, 1)
    async with redis.asyncio.Redis.from_url(own_valkey_server.url) as client:
        await client.client_kill_filter(_type="pubsub")
    await there.publish_many(numbered(number) for number in range(1, 101))

    async def missed() -> int:
        await there.publish(numbered(101))
        return here.counts().missed

    async def unaccounted() -> int:
        return there.counts().published + 1 - here.counts().missed - len(seen)

    await eventually_async(missed, within=DEADLINE)
    await eventually_async(unaccounted, until=lambda number: number == 0, within=DEADLINE)
    assert here.counts().dropped == 0


async def test_a_server_without_its_data_begins_anew(redis_bus: MakeBus, own_valkey_server: PrivateValkey) -> None:
    bus = redis_bus(url=own_valkey_server.url)
    seen: list[Message] = []
    bus.subscribe("heartbeat", seen.append)
    for number in range(5):
        await bus.publish(numbered(number))
    async with redis.asyncio.Redis.from_url(own_valkey_server.url) as client:
        await client.flushall()
    for number in range(2):
        await bus.publish(numbered(number))
    await reaches(seen, 7)

    assert bus.counts().missed == 0


FOREIGN = {
    "bytes that are no text": b"\xff\xfe\x00\x80",
    "text that is no JSON": b"hello",
    "nothing": b"",
    "JSON that is no message": b"[1, 2]",
    "an empty object": b"{}",
    "half a message": json.dumps(VALID).encode()[:-5],
    "an unknown type": json.dumps({**VALID, "type": "pool_exploded"}).encode(),
    "another channel's type": json.dumps({**VALID, "type": "pool_closed"}).encode(),
    "an unknown field": json.dumps({**VALID, "more": 1}).encode(),
    "a payload that is no object": json.dumps({**VALID, "payload": "x"}).encode(),
    "a time without a zone": json.dumps({**VALID, "timestamp": "2030-01-01T00:00:00"}).encode(),
    "half a character": json.dumps({**VALID, "payload": {"x": "\ud800"}}).encode(),
    "deep nesting": b"[" * 100_000,
    "a number and no message": b"17\n",
    "digits without end": b"9" * 100_000 + b"\n" + json.dumps(VALID).encode(),
    "digits of another script": "²\n".encode() + json.dumps(VALID).encode(),
    "too much": json.dumps({**VALID, "payload": {"x": "x" * MAX_TEXT}}).encode(),
    "a newer version": json.dumps({**VALID, "schema_version": 2}).encode(),
}


@pytest.mark.parametrize("what", FOREIGN)
async def test_what_is_no_message_is_dropped_and_counted_and_the_next_one_comes(
    redis_bus: MakeBus, redis_url: str, namespace: str, what: str
) -> None:
    bus = redis_bus()
    seen: list[Message] = []
    bus.subscribe("heartbeat", seen.append)
    await bus.ready()
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.publish(f"{namespace}:mhv:bus:heartbeat", FOREIGN[what])
        if what != "another channel's type":  # a mailbox takes any type
            await client.rpush(f"{namespace}:mhv:mailbox:pool_b", FOREIGN[what])
        await client.publish(f"{namespace}:mhv:bus:heartbeat", json.dumps(VALID))
    await bus.publish({**numbered(1), "target_pool_id": "pool_b"})
    received = await bus.receive("pool_b", timeout=DEADLINE)
    await reaches(seen, 2)

    assert numbers(seen) == [None, 1]
    assert received == seen[1]
    assert bus.counts().refused == (1 if what == "another channel's type" else 2)


async def test_more_than_the_server_passes_on_costs_the_connection_and_no_more(
    redis_bus: MakeBus, own_valkey_server: PrivateValkey
) -> None:
    bus = redis_bus(url=own_valkey_server.url)
    seen: list[Message] = []
    bus.subscribe("heartbeat", seen.append)
    await bus.ready()
    async with redis.asyncio.Redis.from_url(own_valkey_server.url) as client:
        await client.config_set("client-output-buffer-limit", "pubsub 1mb 1mb 0")
        for _ in range(3):
            await client.publish("mhv:bus:heartbeat", b"x" * 20_000_000)
    await published(bus, 1)

    async def heard() -> list[Any]:
        await published(bus, 2)
        return numbers(seen)

    await eventually_async(heard, until=lambda found: 2 in found, within=DEADLINE)


async def test_an_oversized_message_is_refused_at_publish_and_the_bus_goes_on(redis_bus: MakeBus) -> None:
    bus = redis_bus()
    with pytest.raises(errors.InvalidField, match="limit is 1048576"):
        await bus.publish_many([numbered(0), {**numbered(1), "payload": {"x": "x" * 1_100_000}}])

    assert bus.counts().published == 0
    assert (await bus.publish(numbered(2))).payload == {"number": 2}


async def test_a_mailbox_that_is_none_is_no_end_of_receiving(
    redis_bus: MakeBus, redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    bus = redis_bus()
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.set(f"{namespace}:mhv:mailbox:pool_b", "x")
        nothing = await bus.receive("pool_b", timeout=0.01)
        receiver = asyncio.create_task(bus.receive("pool_b", timeout=DEADLINE))
        await client.delete(f"{namespace}:mhv:mailbox:pool_b")
    await bus.publish({**numbered(1), "target_pool_id": "pool_b"})

    assert nothing is None
    assert (await receiver) is not None
    assert "Cannot receive messages now" in caplog.text


async def test_who_only_subscribes_is_connected_by_that(redis_bus: MakeBus, own_valkey_server: PrivateValkey) -> None:
    listening, talking = (redis_bus(url=own_valkey_server.url) for _ in range(2))
    seen: list[Message] = []
    listening.subscribe("heartbeat", seen.append)
    await listening.settled()
    await talking.publish(numbered(1))
    await reaches(seen, 1)

    assert numbers(seen) == [1]


async def test_who_only_subscribes_is_connected_when_the_server_comes(
    redis_bus: MakeBus, quick_settings: Settings, own_valkey_server: PrivateValkey
) -> None:
    own_valkey_server.stop()
    talking, seen = redis_bus(url=own_valkey_server.url), list[Message]()
    listening = PoolManager(settings=quick_settings, redis_url=own_valkey_server.url)
    listening.message_bus.subscribe("heartbeat", seen.append)
    with pytest.raises(errors.RedisUnavailable):
        await listening.list_pools()
    own_valkey_server.start()

    async def heard() -> bool:
        await published(talking, 1)
        return bool(seen)

    try:
        await eventually_async(heard, within=DEADLINE)
    finally:
        await listening.close()


async def test_a_receiver_takes_one_message_and_leaves_the_next_where_it_is(
    redis_bus: MakeBus, redis_url: str, namespace: str
) -> None:
    bus = redis_bus()
    async with redis.asyncio.Redis.from_url(redis_url) as client, client.monitor() as monitor:
        await bus.publish_many({**numbered(number), "target_pool_id": "pool_b"} for number in range(3))
        received = await bus.receive("pool_b", timeout=DEADLINE)
        await bus.close()
        await client.echo(f"end of {namespace}")
        taken = 0
        while f"end of {namespace}" not in (command := (await monitor.next_command())["command"]):
            taken += command.startswith(f"LPOP {namespace}:mhv:mailbox:pool_b")

    assert received is not None
    assert (received.payload["number"], taken) == (0, 1)


async def test_each_message_is_received_once_by_many_receivers_in_two_processes(redis_bus: MakeBus) -> None:
    buses, talking = [redis_bus(), redis_bus()], redis_bus()
    receivers = [asyncio.create_task(bus.receive("pool_b", timeout=DEADLINE)) for bus in buses * 20]
    for receiver in receivers[::4]:
        receiver.cancel()
    await asyncio.wait(receivers[::4])
    await talking.publish_many({**numbered(number), "target_pool_id": "pool_b"} for number in range(30))

    received = await asyncio.gather(*receivers, return_exceptions=True)

    assert sorted(numbers([one for one in received if isinstance(one, Message)])) == list(range(30))
