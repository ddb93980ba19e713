"""The outbox: every outcome leaves one entry in the step that writes it; a sink's cursor moves only for its holder."""

from __future__ import annotations

import json

import pytest

from mahavishnu_pools import errors, names
from mahavishnu_pools.memory.records import record_of
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.store import dead, outbox, pools, tasks
from mahavishnu_pools.store.calls import OutboxLimits
from mahavishnu_pools.store.outbox import Entry, Progress, Refused
from mahavishnu_pools.store.set_aside import read_aside
from tests.fixtures.valkey import PrivateValkey
from tests.store.world import RESULT_TTL, World


def entries(world: World, after: str = outbox.START) -> list[Entry]:
    return world.run(outbox.read_outbox(after, most=1000))


def finish_all(world: World, pool: str, *, output: str = "done") -> None:
    lease = world.lease(pool)
    for claim in world.claim(lease, pool, 100):
        world.run(world.finish_call(world.held(lease, pool, claim), output=output))


def test_a_finished_task_leaves_one_record_with_its_prompt_and_output(world: World) -> None:
    pool = world.pool("p")
    (task_id,) = world.to(pool, 1, prompt="Fix the parser")
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    call = world.finish_call(world.held(lease, pool, claim), output="It is fixed")
    world.run(call)
    world.run(call)

    (entry,) = entries(world)
    record = record_of(entry.fields)

    assert entry.number == 1
    assert record.memory_id == task_id
    assert record.content == "Fix the parser\n\nIt is fixed"
    assert (record.metadata["pool_id"], record.metadata["status"]) == (pool, "completed")


def test_cancelled_dead_and_expired_tasks_leave_a_record_too(world: World) -> None:
    pool = world.pool("p")
    (cancelled,) = world.to(pool, 1)
    world.run(tasks.cancel(cancelled, reason="no more", result_ttl=RESULT_TTL))
    (expired,) = world.to(pool, 1, expires=1e-6)
    world.claim(world.lease(pool), pool)
    (lost,) = world.to(pool, 1)
    for _ in range(3):
        lease = world.lease(pool)
        world.claim(lease, pool)
        world.claim(lease, pool, alone=True)
        world.reap(lease)

    found = {entry.fields["task"]: entry.fields["status"] for entry in entries(world)}

    assert found == {cancelled: "cancelled", expired: world.task(expired).status, lost: "dead"}


def test_a_replayed_task_has_a_record_of_its_own_for_its_second_outcome(world: World) -> None:
    pool = world.pool("p")
    (task_id,) = world.to(pool, 1)
    for _ in range(3):
        lease = world.lease(pool)
        world.claim(lease, pool)
        world.claim(lease, pool, alone=True)
        world.reap(lease)
    world.run(dead.replay_letters([task_id], pool_id=None, request="again"))
    finish_all(world, pool)

    assert [record_of(entry.fields).memory_id for entry in entries(world)] == [task_id, f"{task_id}.again"]


def test_tasks_and_pools_that_want_no_memory_leave_none(world: World) -> None:
    pool, silent = world.pool("p"), names.new_pool_id()
    config = PoolConfig(name="silent", memory_enabled=False)
    assert world.run(pools.create_pool(silent, config)) is None
    world.run(pools.change_pool(silent, status=PoolStatus.RUNNING))
    world.to(pool, 1, memory=False)
    (kept,) = world.to(pool, 1, metadata={"memory": False})
    world.to(silent, 1)
    finish_all(world, pool)
    finish_all(world, silent)

    assert [entry.fields["task"] for entry in entries(world)] == [kept]


def test_without_memory_aggregation_nothing_is_noted(world: World) -> None:
    world.store.outbox = None
    pool = world.pool("p")
    world.to(pool, 1)
    finish_all(world, pool)

    assert entries(world) == []


def test_large_tasks_are_noted_in_short_and_still_have_prompt_and_output(world: World) -> None:
    pool = world.pool("p")
    world.to(pool, 1, prompt="begin " + "x" * 60_000)
    finish_all(world, pool, output="answer " + "ä" * 60_000)

    (entry,) = entries(world)
    record = record_of(entry.fields)

    assert sum(len(text.encode("utf-8", "replace")) for text in entry.fields.values()) < 60_000
    assert record.content.startswith("begin x")
    assert "answer ä" in record.content
    assert len(record.content.encode()) <= 16 * 1024


def test_an_outbox_that_cannot_be_written_costs_no_outcome_and_shows_as_a_gap(world: World) -> None:
    pool = world.pool("p")
    world.redis.set(world.key("outbox"), "broken")
    (task_id,) = world.to(pool, 1)
    finish_all(world, pool)
    world.redis.delete(world.key("outbox"))
    world.to(pool, 1)
    finish_all(world, pool)

    assert world.task(task_id).ok
    assert [entry.number for entry in entries(world)] == [2]


def test_only_who_holds_a_sink_moves_its_cursor(world: World) -> None:
    pool = world.pool("p")
    world.to(pool, 3)
    finish_all(world, pool)
    first, second, _ = entries(world)
    assert world.run(outbox.take_sink("s", owner="a"))
    assert not world.run(outbox.take_sink("s", owner="b"))

    assert not world.run(outbox.confirm("s", Progress(outbox.START, first.entry, 1, 1), owner="b"))
    assert world.run(outbox.confirm("s", Progress(outbox.START, second.entry, 2, 2), owner="a"))
    world.run(outbox.release_sink("s", owner="a"))

    (state,) = world.run(outbox.read_sinks("s"))
    assert (state.cursor, state.pending, state.delivered) == (second.entry, 1, 2)
    assert world.run(outbox.take_sink("s", owner="b"))


def test_a_sink_that_fails_is_left_alone_for_a_while(world: World) -> None:
    world.run(outbox.take_sink("s", owner="a"))
    world.run(outbox.fail("s", "it is down", owner="a"))

    (state,) = world.run(outbox.read_sinks("s"))

    assert (state.ready, state.failures, state.error) == (False, 1, "it is down")


def test_secrets_of_known_form_are_not_in_a_record(world: World) -> None:
    spec = json.dumps({"prompt": "use sk-abcdefghijklmnopqrstuvwx and redis://u:hunter2hunter@host/0"})
    record = record_of({"task": "t", "finished": "1.0", "spec": spec, "outcome": '{"output": "API_KEY=abcdefgh1234"}'})

    assert not any(secret in record.content for secret in ("abcdefghij", "hunter2", "abcdefgh1234"))


def sink(world: World) -> outbox.SinkState:
    return world.run(outbox.read_sinks("s"))[0]


def take_all(world: World) -> int:
    """Have the sink take everything there is, and return how much that was."""
    assert world.run(outbox.take_sink("s", owner="a"))
    total = 0
    while found := entries(world, sink(world).cursor):
        state, last = sink(world), found[-1]
        dropped = last.number - state.number - len(found)
        moved = Progress(state.cursor, last.entry, last.number, len(found), dropped, last.entry)
        assert world.run(outbox.confirm("s", moved, owner="a"))
        total += len(found)
    return total


def test_of_more_outcomes_than_the_outbox_holds_the_oldest_are_dropped_and_counted(world: World) -> None:
    world.store.outbox = OutboxLimits(entries=200)
    world.finished(world.pool("p"), 1000)

    before = sink(world)
    taken = take_all(world)
    after = sink(world)

    assert 200 <= taken <= 400  # Redis cuts a stream in whole pieces
    assert (before.pending, before.dropped) == (taken, 1000 - taken)
    assert (after.pending, after.delivered, after.dropped) == (0, taken, 1000 - taken)


def test_an_outbox_that_takes_too_much_memory_loses_its_oldest_entries(world: World) -> None:
    world.store.outbox = OutboxLimits(size=1024 * 1024)
    key, pool = world.key("outbox"), world.pool("p")
    world.to(pool, 512)
    lease = world.lease(pool)
    for _ in range(6):
        for claim in world.claim(lease, pool, 100):
            world.run(world.finish_call(world.held(lease, pool, claim), output="x" * 8000))

    assert world.redis.memory_usage(key, samples=0) <= 1024 * 1024
    ((_, newest),) = world.redis.xrevrange(key, count=1)
    kept = world.redis.xlen(key)
    assert (newest["n"], sink(world).pending, sink(world).dropped) == ("512", kept, 512 - kept)
    assert 6 * 86400 < world.redis.ttl(key) <= 7 * 86400


def test_what_is_older_than_a_week_is_dropped_and_counted(world: World) -> None:
    pool, key = world.pool("p"), world.key("outbox")
    week = 7 * 86400 * 1000
    old = int(world.redis.time()[0]) * 1000 - week - 3_600_000
    for number in range(1, 251):
        world.redis.xadd(key, {"n": number, "task": f"t{number}"}, id=f"{old}-{number}")
    world.redis.set(world.key("outbox_count"), 250)
    world.finished(pool, 2)

    kept = len(entries(world))
    assert 2 <= kept <= 102  # Redis cuts a stream in whole pieces
    assert (sink(world).pending, sink(world).dropped) == (kept, 252 - kept)


def test_an_outbox_that_was_left_alone_until_it_expired_counts_as_dropped(world: World) -> None:
    world.finished(world.pool("p"), 5)
    world.redis.delete(world.key("outbox"))

    assert (sink(world).pending, sink(world).dropped) == (0, 5)
    world.finished(world.pool("q"), 1)
    assert (sink(world).pending, sink(world).dropped) == (1, 5)
    assert take_all(world) == 1
    assert (sink(world).pending, sink(world).dropped) == (0, 5)


def test_a_full_server_takes_outcomes_into_the_outbox_and_lets_them_be_delivered(
    own_valkey_server: PrivateValkey,
) -> None:
    world = World(own_valkey_server.url, "")
    pool = world.pool("p")
    world.to(pool, 20)
    lease = world.lease(pool)
    claims = world.claim(lease, pool, 20)
    world.redis.config_set("maxmemory", world.redis.info("memory")["used_memory"] // 2)
    with pytest.raises(errors.RedisFull):
        world.to(pool, 1)

    for claim in claims:
        world.run(world.finish_call(world.held(lease, pool, claim)))
    assert world.run(outbox.read_outbox_id()) == world.run(outbox.read_outbox_id())
    first, *others = entries(world)
    assert world.run(outbox.take_sink("s", owner="a"))
    refused = [Refused("m", "odd", "{}")]
    moved = Progress(outbox.START, first.entry, first.number, 0, 0, "", refused)
    assert world.run(outbox.confirm("s", moved, owner="a"))
    assert world.run(outbox.fail("s", "down", owner="a"))

    assert len(others) == 19
    assert [one.memory_id for one in world.run(read_aside("s", outbox.START, most=10))] == ["m"]
    assert (sink(world).pending, sink(world).aside) == (19, 1)
    world.store.close()
