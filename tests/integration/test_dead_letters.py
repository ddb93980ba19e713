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
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.dead import Replayed, replay_letters
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
    assert letter.summary == "x"
    details = await manager.dead_letter(task_id)
    assert details.output == "so far\n"
    assert json.loads(details.spec or "")["prompt"] == "x"
    assert details.model_dump(exclude={"spec", "message", "output"}) == letter.model_dump()
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
        with pytest.raises(errors.PoolGone, match="pool=NAME"):
            await manager.replay_dead(dead)

        assert sorted(await manager.replay_dead(pool="q")) == sorted(dead)

        results = [await manager.result(task_id, wait_timeout=30) for task_id in dead]
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
    assert (letter.replayable, letter.attempts, letter.summary) == (False, 0, None)
    assert (await manager.dead_letter(letter.task_id)).message == "no json"
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


async def test_letters_record_and_output_are_kept_as_long_as_the_settings_say(
    redis_url: str, settings: Settings, namespace: str
) -> None:
    brief = settings.model_copy(update={"dead_letter_expires": 100.0, "result_expires": 50.0})
    world = World(redis_url, namespace)
    pool = world.pool("p")
    with SyncStore.from_settings(brief, redis_url) as store:
        world.store = store
        task_id = _die(world, pool)

        times = [store.redis.ttl(world.key(name, task_id)) for name in ("dead_letter", "task")]
        times.append(store.redis.ttl(world.key("dead")))

    assert all(90 < left <= 100 for left in times)


async def test_of_a_message_nobody_can_read_only_the_beginning_is_kept(
    world: World, pool: str, manager: PoolManager
) -> None:
    world.push_raw(pool, "x" * 1_000_000)
    world.claim(world.lease(pool), pool)

    (letter,) = await manager.dead_letters()

    assert len((await manager.dead_letter(letter.task_id)).message) == 65_536


async def test_many_letters_are_listed_replayed_and_purged_in_pieces(
    world: World, pool: str, manager: PoolManager
) -> None:
    dead = [_die(world, pool) for _ in range(45)]
    for number in range(2000):
        world.redis.zadd(world.key("dead"), {f"expired-{number}": world.redis.time()[0] + 60})

    assert [letter.task_id for letter in await manager.dead_letters(pool="p", limit=44)] == dead[:0:-1]
    assert sorted(await manager.replay_dead()) == sorted(dead)

    assert world.read_pool(pool).queued == 45
    assert world.index_is_true()


async def test_a_task_is_replayed_once_for_one_request(world: World, pool: str) -> None:
    task_id = _die(world, pool)

    first = world.run(replay_letters([task_id], pool_id=None, request="r"))
    again = world.run(replay_letters([task_id], pool_id=None, request="r"))
    other = world.run(replay_letters([task_id], pool_id=None, request="s"))

    assert (first, again) == ([Replayed(pool, "ok")], [Replayed(pool, "ok")])
    assert other == [Replayed("", "unknown")]
    assert world.places([pool]) == {task_id: 1}


async def test_a_pool_that_takes_no_tasks_gets_none_replayed(world: World, pool: str, manager: PoolManager) -> None:
    task_id = _die(world, pool)
    await manager.drain_pool("p")

    with pytest.raises(errors.InvalidField, match="'p' takes no tasks now"):
        await manager.replay_dead([task_id])

    assert [letter.task_id for letter in await manager.dead_letters()] == [task_id]


async def test_a_task_replayed_elsewhere_names_its_new_queue(world: World, pool: str, manager: PoolManager) -> None:
    task_id = _die(world, pool, expires=1000.0)
    other = world.pool("other")
    world.redis.hset(world.key("task", task_id), "expires_at", "1.0")

    await manager.replay_dead([task_id], pool="other")

    (claim,) = world.claim(world.lease(other), other)
    assert claim.task_id == task_id
    assert json.loads(claim.message)["properties"]["delivery_info"]["routing_key"] == f"pool.{other}"


async def test_a_replayed_task_has_its_idempotency_key_again_unless_another_took_it(
    world: World, pool: str, manager: PoolManager
) -> None:
    first, second = _die(world, pool, idempotency_key="a"), _die(world, pool, idempotency_key="b")
    world.redis.delete(world.key("idem", "a"))
    world.redis.set(world.key("idem", "b"), "task_other")

    await manager.replay_dead([first, second])
    lease = world.lease(pool)
    for claim in world.claim(lease, pool, 2):
        world.run(world.finish_call(world.held(lease, pool, claim)))

    assert world.redis.get(world.key("idem", "a")) == first
    assert (world.redis.get(world.key("idem", "b")), world.redis.ttl(world.key("idem", "b"))) == ("task_other", -1)


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
