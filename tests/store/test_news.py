"""What a client is told of its tasks that ended, on its own channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mahavishnu_pools.store import leases, tasks
from tests.store.world import RESULT_TTL, World

News = Callable[[], str]


@pytest.fixture
def pool(world: World) -> str:
    return world.pool("p", workers=10)


@pytest.fixture
def lease(world: World, pool: str) -> str:
    return world.lease(pool)


@pytest.fixture
def news(world: World) -> Iterator[News]:
    with world.redis.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(world.key("client", "c"))
        assert heard.get_message(timeout=30) is None  # the answer to the subscription

        def following() -> str:
            message = heard.get_message(timeout=30)
            assert message is not None, "nothing was told"
            return str(message["data"])

        yield following


def ended(world: World, pool: str, lease: str, count: int, *, output: str = "done") -> None:
    claims = world.claim(lease, pool, count)
    calls = [world.finish_call(world.held(lease, pool, claim), output=output) for claim in claims]
    (script,) = leases.together(calls)
    assert world.run(script) == ["ok"] * count


@pytest.mark.parametrize("count", [1, 4])
def test_of_few_tasks_all_is_told_that_could_be_read(
    world: World, pool: str, lease: str, news: News, count: int
) -> None:
    ids = world.to(pool, count, prompt="Überprüfung")

    ended(world, pool, lease, count, output="line\n\x00\x7f \u2028 ä \udcff")

    text = news()
    told = tasks.told_of(text, ids)
    assert told == {task_id: world.task(task_id) for task_id in ids}
    assert text.split("\n")[:count] == ids, "as clients of an older version read it"
    assert {one and one.status for one in told.values()} == {"completed"}


def test_what_nobody_waits_for_is_not_read(world: World, pool: str, lease: str, news: News) -> None:
    first, second = world.to(pool, 2)

    ended(world, pool, lease, 2)

    assert tasks.told_of(news(), {second}) == {first: None, second: world.task(second)}


def test_of_many_tasks_the_ids_are_told(world: World, pool: str, lease: str, news: News) -> None:
    ids = world.to(pool, 5)

    ended(world, pool, lease, 5)

    assert tasks.told_of(news(), ids) == dict.fromkeys(ids)


def test_of_a_large_outcome_the_id_is_told(world: World, pool: str, lease: str, news: News) -> None:
    ids = world.to(pool, 2)

    ended(world, pool, lease, 2, output="x" * 20_000)

    assert tasks.told_of(news(), ids) == dict.fromkeys(ids)


def test_of_a_large_task_the_id_is_told(world: World, pool: str, lease: str, news: News) -> None:
    ids = world.to(pool, 1, prompt="x" * 20_000)

    ended(world, pool, lease, 1)

    assert tasks.told_of(news(), ids) == dict.fromkeys(ids)


def test_of_a_task_that_is_given_up_the_end_is_told(world: World, pool: str, lease: str, news: News) -> None:
    (task_id,) = world.to(pool)
    (claim,) = world.claim(lease, pool)

    world.run(world.finish_call(world.held(lease, pool, claim), status="dead"))

    assert tasks.told_of(news(), {task_id}) == {task_id: world.task(task_id)}


def test_of_a_task_that_is_cancelled_in_the_queue_the_id_is_told(world: World, pool: str, news: News) -> None:
    (task_id,) = world.to(pool)

    world.run(tasks.cancel(task_id, reason="", result_ttl=RESULT_TTL))

    assert tasks.told_of(news(), {task_id}) == {task_id: None}


@pytest.mark.parametrize(
    "text", ["a\n\n{", "a\n\n7", "a\n\n[7]", "a\n\n[[]]", 'a\n\n[["a", ["status", "nonsense"], ""]]']
)
def test_news_that_no_script_wrote_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        tasks.told_of(text, {"a"})
