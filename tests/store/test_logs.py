"""The live log of a task: pieces in order, readable from any place, with the cut marked once."""

from __future__ import annotations

from mahavishnu_pools.store import keys, tasks
from mahavishnu_pools.store.logs import drop_log, read_log, write_log
from tests.store.world import World


def test_pieces_are_read_in_order_and_from_any_place(world: World) -> None:
    first = world.run(write_log("t", [("stdout", "a"), ("stderr", "b")], ttl=60))
    world.run(write_log("t", [("stdout", "c")], ttl=60))

    everything = world.run(read_log("t"))
    rest = world.run(read_log("t", after=first[1]))

    assert [(piece.stream, piece.text) for piece in everything] == [("stdout", "a"), ("stderr", "b"), ("stdout", "c")]
    assert [piece.text for piece in rest] == ["c"]
    assert not any(piece.after_cut for piece in everything)


def test_the_first_piece_behind_a_cut_says_so(world: World) -> None:
    (task_id,) = world.to(world.pool("p"), 1)
    entries = world.run(write_log(task_id, [("stdout", text) for text in "abcde"], ttl=60))
    world.run(drop_log(task_id, entries[1:3], mark_after=entries[1]))
    world.run(drop_log(task_id, entries[3:4], mark_after=None))

    pieces = world.run(read_log(task_id))

    assert [(piece.text, piece.after_cut) for piece in pieces] == [("a", False), ("e", True)]


def test_a_log_ends_with_its_lifetime(world: World) -> None:
    world.run(write_log("t", [("stdout", "a")], ttl=60))

    left = world.store.redis.pttl(keys.key("log", prefix=world.store.prefix, of="t"))

    assert 50_000 < left <= 60_000


def test_a_task_without_output_has_an_empty_log(world: World) -> None:
    assert world.run(read_log("nothing")) == []
    assert world.run(tasks.read_tasks(["nothing"])) == [None]
