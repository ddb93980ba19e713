"""Messages in the store: sent once however often a request is repeated; mailboxes are bounded, news cost nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.message import Message, read_message
from mahavishnu_pools.store import bus, keys, pools, tasks
from mahavishnu_pools.store.bus import Letter, Request
from tests.store.world import RESULT_TTL, World
from tests.waiting import eventually


class Ear:
    """Somebody else who listens to one type of message."""

    def __init__(self, world: World, kind: str) -> None:
        self._pubsub = world.redis.pubsub()
        self._pubsub.subscribe(world.key("bus", kind))
        self.frames: list[tuple[int, list[str]]] = []
        eventually(lambda: self._pubsub.get_message(timeout=0.1))

    def heard(self, number: int) -> list[Message]:
        """Return the messages as soon as there are so many."""
        return eventually(self._messages, until=lambda found: len(found) >= number)

    def close(self) -> None:
        self._pubsub.close()

    def _messages(self) -> list[Message]:
        while (found := self._pubsub.get_message(timeout=0.1)) is not None:
            number, *texts = found["data"].split("\n")
            self.frames.append((int(number), texts))
        read = [read_message(text) for _, texts in self.frames for text in texts]
        assert None not in read
        return [message for message in read if message is not None]


def letter(number: int, *, target: str | None = None, text: str = "", kind: str = "heartbeat") -> Letter:
    message: dict[str, Any] = {"type": kind, "source_pool_id": "pool_a", "payload": {"n": number, "text": text}}
    return Letter(kind, target, None, Message(**message, target_pool_id=target).model_dump_json())


def waiting(world: World, pool: str) -> list[str]:
    found: list[str] = world.redis.lrange(world.key("mailbox", pool), 0, -1)
    return found


def test_a_repeated_request_sends_nothing_twice_and_has_the_same_answer(world: World) -> None:
    ear = Ear(world, "heartbeat")
    call = bus.publish([letter(n, target="pool_b") for n in range(3)], Request("me", 1), mailbox=2)

    answers = [world.run(call) for _ in range(2)]
    world.run(bus.publish([letter(3)], Request("me", 2), mailbox=2))

    assert answers == [1, 1]
    assert [message.payload["n"] for message in ear.heard(4)] == [0, 1, 2, 3]
    assert [number for number, _ in ear.frames] == [3, 4]
    assert len(waiting(world, "pool_b")) == 2
    ear.close()


def test_messages_of_several_types_keep_their_order_in_each(world: World) -> None:
    ears = {kind: Ear(world, kind) for kind in ("heartbeat", "status_update")}
    kinds = ["heartbeat", "heartbeat", "status_update", "heartbeat"]
    world.run(bus.publish([letter(n, kind=kind) for n, kind in enumerate(kinds)], Request("me", 1), mailbox=9))

    assert [message.payload["n"] for message in ears["heartbeat"].heard(3)] == [0, 1, 3]
    assert [message.payload["n"] for message in ears["status_update"].heard(1)] == [2]
    for ear in ears.values():
        ear.close()


def test_a_repeated_request_for_mail_takes_the_same(world: World) -> None:
    letters = [letter(n, target="pool_b", text="ä") for n in range(3)]
    world.run(bus.publish(letters, Request("me", 1), mailbox=9))
    first = bus.take_mail("pool_b", Request("you", 1), most=2)

    taken = [world.run(first), world.run(first), world.run(bus.take_mail("pool_b", Request("you", 2), most=2))]

    texts = [one.text for one in letters]
    assert taken == [texts[:2], texts[:2], texts[2:]]
    assert world.run(bus.take_mail("pool_b", Request("you", 3), most=2)) == []


def test_returned_mail_is_the_next_that_is_taken(world: World) -> None:
    letters = [letter(n, target="pool_b") for n in range(3)]
    world.run(bus.publish(letters, Request("me", 1), mailbox=9))
    taken = world.run(bus.take_mail("pool_b", Request("you", 1), most=2))
    for _ in range(2):
        world.run(bus.return_mail("pool_b", taken))

    assert waiting(world, "pool_b") == [one.text for one in letters]
    assert 0 < world.redis.pttl(world.key("mailbox", "pool_b")) <= 3_600_000


def test_a_mailbox_is_bounded_in_bytes_and_in_time(world: World) -> None:
    for number in range(24):
        large = letter(number, target="pool_b", text="x" * 1_000_000)
        world.run(bus.publish([large], Request("me", number + 1), mailbox=1000))

    assert world.redis.memory_usage(world.key("mailbox", "pool_b"), samples=0) <= 16 * 1024 * 1024
    assert [json.loads(text)["payload"]["n"] for text in waiting(world, "pool_b")][-1] == 23
    assert 0 < world.redis.pttl(world.key("mailbox", "pool_b")) <= 3_600_000


def test_a_closed_pools_mailbox_is_dropped_by_message_and_with_the_pool(world: World) -> None:
    pool = world.pool("p")
    world.run(bus.publish([letter(0, target=pool)], Request("me", 1), mailbox=9))
    closed = Message(type="pool_closed", source_pool_id=pool)  # type: ignore[arg-type]
    unread = world.run(
        bus.publish([Letter("pool_closed", None, pool, closed.model_dump_json())], Request("me", 2), mailbox=9)
    )
    between = waiting(world, pool)
    world.run(bus.publish([letter(1, target=pool)], Request("me", 3), mailbox=9))
    assert world.run(pools.remove_pool(pool)) is None

    assert (unread, between, waiting(world, pool)) == (1, [], [])


def test_tasks_tell_nobody_when_nobody_listens(world: World) -> None:
    pool = world.pool("p")
    lease = world.lease(pool)
    world.to(pool, 3)
    for claim in world.claim(lease, pool, 3):
        world.run(world.finish_call(world.held(lease, pool, claim)))

    assert world.redis.exists(world.key("bus_count")) == 0


def test_a_delegated_task_is_answered_whatever_the_bus_is_like(world: World) -> None:
    pool = world.pool("p")
    lease = world.lease(pool)
    (envelope,) = world.envelopes()
    asked = json.dumps({"message_id": "msg_1", "source": "pool_a"})
    sent = tasks.Envelope(**{name: getattr(envelope, name) for name in envelope.__slots__} | {"delegated": asked})
    world.run(tasks.submit([sent], tasks.Choice("pool", pool=pool)))
    # A mailbox that is no list, as if somebody else had written there.
    world.redis.set(world.key("mailbox", "pool_a"), "x")
    (claim,) = world.claim(lease, pool)
    ear = Ear(world, "result_share")

    assert str(world.run(world.finish_call(world.held(lease, pool, claim)))) == "ok"
    (answer,) = ear.heard(1)
    assert answer.payload["in_reply_to"] == "msg_1"
    assert world.task(sent.task_id).output == "done"
    ear.close()


def test_news_of_scripts_are_messages_with_the_time(world: World) -> None:
    ear = Ear(world, "task_completed")
    pool = world.pool("p")
    (task_id,) = world.to(pool)
    world.run(tasks.cancel(task_id, reason="no more", result_ttl=RESULT_TTL))

    (news,) = ear.heard(1)

    assert (news.source_pool_id, news.target_pool_id) == (pool, None)
    assert (news.payload["task_id"], news.payload["status"]) == (task_id, "cancelled")
    assert abs(datetime.now(UTC) - news.timestamp) < timedelta(minutes=5)
    ear.close()


@pytest.mark.parametrize(
    "moment",
    ["1970-01-01T00:00:00.000000", "2000-02-29T23:59:59.999999", "2027-12-31T12:00:00.500000", "2100-03-01T00:00:01"],
)
def test_scripts_write_times_of_any_day(world: World, moment: str) -> None:
    wanted = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    prelude = (resources.files("mahavishnu_pools.store") / "lua" / "prelude.lua").read_text()
    text = (
        f"local NS, DEAD_TTL, OUTBOX = '', 1, false\n{keys.lua_functions()}\n{prelude}\nreturn iso(tonumber(ARGV[1]))"
    )

    written = world.redis.eval(text, 0, repr(wanted.timestamp()))

    assert abs(datetime.fromisoformat(str(written)) - wanted) <= timedelta(microseconds=1)


def test_what_the_server_refuses_is_not_sent_in_part(world: World) -> None:
    ear = Ear(world, "heartbeat")
    world.redis.set(world.key("mailbox", "pool_b"), "no list")

    with pytest.raises(errors.RedisUnavailable, match="refused"):
        world.run(bus.publish([letter(0, target="pool_b")], Request("me", 1), mailbox=9))
    world.run(bus.publish([letter(1)], Request("me", 2), mailbox=9))

    assert [message.payload["n"] for message in ear.heard(1)] == [1]
    ear.close()
