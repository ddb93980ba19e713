"""Dead letters: seen, run again, forgotten; from Python and the shell."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.cli.main import run
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import logs
from tests.fakes.worker import FakeNode
from tests.store.world import World

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def world(redis_url: str, namespace: str) -> World:
    return World(redis_url, namespace)


def _die(world: World, pool: str, **fields: Any) -> str:
    """Have a task lose three worker groups while it runs alone."""
    (task_id,) = world.to(pool, **fields)
    world.run(logs.write_log(task_id, [("stdout", "so far\n")], ttl=60))
    for _ in range(3):
        lease = world.lease(pool)
        assert [one.task_id for one in world.claim(lease, pool)] == [task_id]
        world.reap(lease, cause="loss")
    return task_id


@pytest.fixture
def pool(world: World) -> str:
    return world.pool("p")


async def test_a_dead_letter_says_why_how_often_and_what_was_printed_last(
    world: World, pool: str, manager: PoolManager
) -> None:
    task_id = _die(world, pool)

    (letter,) = await manager.dead_letters()

    assert (letter.task_id, letter.pool_id, letter.attempts, letter.losses) == (task_id, pool, 3, 3)
    assert "three times" in letter.cause
    assert letter.output == "so far\n"
    assert letter.spec is not None
    assert await manager.dead_letter(task_id) == letter
    assert await manager.dead_letters(pool="p") == [letter]
    assert await manager.dead_letters(pool=world.pool("other")) == []


async def test_the_record_stays_as_long_as_the_letter(world: World, pool: str, manager: PoolManager) -> None:
    task_id = _die(world, pool)

    times = [world.redis.ttl(world.key(name, task_id)) for name in ("dead_letter", "task", "log")]

    assert min(times) > 29 * 86400
    assert await manager.purge_dead([task_id]) == 1
    assert world.redis.exists(world.key("dead_letter", task_id)) == 0
    assert 0 < world.redis.ttl(world.key("task", task_id)) <= 86400


async def test_a_replayed_task_runs_as_if_it_never_had(world: World, pool: str, manager: PoolManager) -> None:
    task_id = _die(world, pool, idempotency_key="k")

    assert await manager.replay_dead([task_id]) == [task_id]

    again = await manager.task(task_id)
    assert (again.status, again.attempts, again.error) == ("queued", 0, None)
    assert await manager.dead_letters() == []
    assert world.redis.ttl(world.key("task", task_id)) == world.redis.ttl(world.key("idem", "k")) == -1
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    world.run(world.finish_call(world.held(lease, pool, claim)))
    assert (await manager.task(task_id)).ok
    assert world.index_is_true()


async def test_all_are_replayed_on_another_pool_also_when_their_own_is_closed(
    world: World, pool: str, quick_settings: Settings, manager: PoolManager
) -> None:
    dead = [_die(world, pool) for _ in range(2)]
    async with FakeNode(quick_settings):
        await manager.close_pool("p", timeout=0)
        target = await manager.spawn_pool(name="q", worker_type="shell")
        with pytest.raises(errors.PoolGone, match="--pool"):
            await manager.replay_dead(dead)

        assert sorted(await manager.replay_dead(pool="q")) == sorted(dead)

        results = [await manager.result(task_id, wait_timeout=10) for task_id in dead]
    assert [(result.ok, result.pool_id) for result in results] == [(True, target)] * 2


async def test_a_batch_counts_a_replayed_member_once(world: World, pool: str, manager: PoolManager) -> None:
    _die(world, pool, batch="b")
    assert world.redis.hget(world.key("batch", "b"), "failed") == "1"

    await manager.replay_dead()
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    world.run(world.finish_call(world.held(lease, pool, claim)))

    counts = world.redis.hgetall(world.key("batch", "b"))
    assert (counts["total"], counts["successful"], counts["failed"]) == ("1", "1", "0")


async def test_a_message_nobody_could_read_is_kept_and_cannot_be_run(
    world: World, pool: str, manager: PoolManager
) -> None:
    world.push_raw(pool, "no json")
    world.claim(world.lease(pool), pool)

    (letter,) = await manager.dead_letters()
    assert (letter.replayable, letter.message, letter.attempts) == (False, "no json", 0)
    with pytest.raises(errors.InvalidField, match="could not be read"):
        await manager.replay_dead([letter.task_id])
    assert await manager.replay_dead() == []
    assert await manager.purge_dead(older_than=3600) == 0
    assert await manager.purge_dead() == 1


async def test_what_is_no_dead_letter_is_refused(world: World, pool: str, manager: PoolManager) -> None:
    (waiting,) = world.to(pool)

    for act in (manager.dead_letter(waiting), manager.replay_dead([waiting]), manager.purge_dead([waiting])):
        with pytest.raises(errors.DeadLetterNotFound, match="dead list"):
            await act


def test_too_many_letters_push_the_oldest_out(world: World, pool: str) -> None:
    for number in range(10_000):
        world.redis.zadd(world.key("dead"), {f"old-{number}": world.redis.time()[0] - 60})
    task_id = _die(world, pool)

    assert world.redis.zcard(world.key("dead")) == 10_000
    assert world.redis.zrevrange(world.key("dead"), 0, 0) == [task_id]


# ── the shell ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def shell(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Command:
    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(["pools", "dead", *arguments], session=Session(lambda: PoolManager(settings=settings)))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def test_the_shell_lists_shows_replays_and_purges(world: World, pool: str, shell: Command) -> None:
    first, second = _die(world, pool), _die(world, pool)

    code, out, _ = shell("list")
    assert (code, first in out, "three times" in out) == (0, True, True)
    newest = json.loads(shell("list", "--format", "json", "--limit", "1")[1])["dead"]
    assert [one["task_id"] for one in newest] == [second]
    code, out, _ = shell("show", first)
    assert (code, "so far" in out, "Losses while alone" in out) == (0, True, True)
    assert json.loads(shell("replay", first, "--format", "json")[1]) == {"replayed": [first]}
    assert json.loads(shell("purge", "--all", "--format", "json")[1]) == {"purged": 1}
    assert shell("list")[1].strip() == "No dead letters."


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("replay",), 2, "Name tasks"),
        (("purge",), 2, "Name tasks"),
        (("replay", "x", "--all"), 2, "exclude each other"),
        (("show", "x"), 3, "No dead letter has the id 'x'"),
        (("replay", "x", "--pool", "nowhere"), 3, "nowhere"),
        (("purge", "--older-than", "-1"), 2, "older-than"),
    ],
)
def test_the_shell_says_what_is_wrong(shell: Command, arguments: tuple[str, ...], code: int, says: str) -> None:
    found, _, err = shell(*arguments)

    assert found == code
    assert says in err
