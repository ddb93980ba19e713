"""A submit that breaks half-way says what is queued, what is not, and what nobody knows; with keys it is repeated."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from mahavishnu_pools import errors
from mahavishnu_pools.cli.main import run
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.routing import submission
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.client import AsyncStore
from tests.fixtures.groups import Site
from tests.fixtures.proxies import Proxy

#: Does something before a submit of this number (from 1) is sent.
BeforeSubmit = Callable[[int, Callable[[], Any]], None]


@pytest.fixture
def before_submit(monkeypatch: pytest.MonkeyPatch) -> BeforeSubmit:
    """Return a function that has something done before the n-th chunk; chunks have two tasks."""
    monkeypatch.setattr(submission, "CHUNK_TASKS", 2)

    def arrange(number: int, act: Callable[[], Any]) -> None:
        seen, once = 0, AsyncStore._once

        async def counted(store: AsyncStore, call: Call[Any]) -> Any:
            nonlocal seen
            seen += call.script == "submit"
            if call.script == "submit" and seen == number:
                act()
            return await once(store, call)

        monkeypatch.setattr(AsyncStore, "_once", counted)

    return arrange


@pytest_asyncio.fixture
async def manager(own_site: Site) -> AsyncIterator[PoolManager]:
    own_site.pool("p")
    found = PoolManager(settings=own_site.settings)
    yield found
    await found.close()


def tasks(count: int, *, keyed: bool = False) -> list[dict[str, Any]]:
    return [{"prompt": f"n {n}", **({"idempotency_key": f"k{n}"} if keyed else {})} for n in range(count)]


def fill(site: Site, *, bytes_left: int) -> None:
    site.redis.config_set("maxmemory", bytes_left)


async def test_a_refusal_half_way_names_what_is_queued_and_what_is_not(
    own_site: Site, manager: PoolManager, before_submit: BeforeSubmit
) -> None:
    before_submit(2, lambda: fill(own_site, bytes_left=1))

    with pytest.raises(errors.RedisFull) as broken:
        await manager.submit_many(tasks(5), batch_id="b")

    fill(own_site, bytes_left=0)
    error = broken.value
    assert (list(error.queued), list(error.not_queued), error.unknown) == ([0, 1], [2, 3, 4], {})
    assert error.batch_id == "b"
    assert error.message.endswith(
        "Of 5 tasks: 2 queued (1 to 2), 3 not queued (3 to 5), batch b. What is queued runs, so do not repeat the "
        "call: send the others alone, or first cancel what is there (mahavishnu pools cancel --batch b). "
        "With idempotency keys it could be repeated as it is."
    )
    assert (await manager.batch("b")).task_ids == tuple(error.queued.values())
    for task_id in error.not_queued.values():
        with pytest.raises(errors.TaskNotFound):
            await manager.task(task_id)


async def test_with_keys_the_same_call_ends_it_also_in_the_same_batch(
    own_site: Site, manager: PoolManager, before_submit: BeforeSubmit
) -> None:
    before_submit(3, lambda: fill(own_site, bytes_left=1))
    with pytest.raises(errors.RedisFull, match="Repeat the call: each task has an idempotency key") as broken:
        await manager.submit_many(tasks(6, keyed=True), batch_id="b")
    fill(own_site, bytes_left=0)

    sent = await manager.submit_many(tasks(6, keyed=True), batch_id="b")

    assert [one.new for one in sent] == [False] * 4 + [True] * 2
    assert [one.task_id for one in sent[:4]] == list(broken.value.queued.values())
    batch = await manager.batch("b")
    assert (batch.total, batch.task_ids) == (6, tuple(one.task_id for one in sent))


async def test_of_tasks_whose_answer_was_lost_nothing_is_claimed(
    own_site: Site, make_proxy: type[Proxy], before_submit: BeforeSubmit
) -> None:
    own_site.pool("p")
    proxy = make_proxy(own_site.server.port)
    url = own_site.url.replace(str(own_site.server.port), str(proxy.port))
    before_submit(2, lambda: proxy.lose(b"n 2", times=1000))
    manager = PoolManager(settings=own_site.settings, redis_url=url)
    try:
        with pytest.raises(errors.RedisUnavailable) as broken:
            await manager.submit_many(tasks(5))
        with pytest.raises(errors.RedisUnavailable, match="Whether the task is queued is not known") as alone:
            await manager.submit({"prompt": "n 2"})
        proxy.losses = 0

        error = broken.value
        assert (list(error.queued), list(error.unknown), list(error.not_queued)) == ([0, 1], [2, 3], [4])
        assert "2 not known (3 to 4)" in error.message
        # It was the answer that was lost, so their ids lead to them.
        for task_id in [*error.unknown.values(), *alone.value.unknown.values()]:
            assert (await manager.task(task_id)).task_id == task_id
    finally:
        await manager.close()


async def test_a_server_that_refuses_the_first_chunk_has_nothing_of_it(
    own_site: Site, manager: PoolManager, before_submit: BeforeSubmit
) -> None:
    before_submit(1, lambda: fill(own_site, bytes_left=1))

    with pytest.raises(errors.RedisFull, match="None of the 3 tasks is queued") as broken:
        await manager.submit_many(tasks(3))

    assert (broken.value.queued, len(broken.value.not_queued)) == ({}, 3)


@pytest.mark.parametrize("strategy", ["round_robin", "map_reduce"])
async def test_a_distribution_half_way_tells_of_its_parts_and_can_be_repeated_with_a_key(
    own_site: Site, manager: PoolManager, before_submit: BeforeSubmit, strategy: str
) -> None:
    task = {"task_type": "prompt", "payload": {"prompt": "{item}", "items": ["1", "2", "3"]}, "idempotency_key": "k"}
    how: dict[str, Any] = {"strategy": strategy, "reducer": "concat" if strategy == "map_reduce" else None}
    before_submit(2, lambda: fill(own_site, bytes_left=1))

    with pytest.raises(
        errors.RedisFull, match=r"Of 3 parts: 2 queued \(1 to 2\), 1 not queued \(3\), batch batch_"
    ) as broken:
        await manager.start_distribution(task, **how)
    fill(own_site, bytes_left=0)
    again = await manager.start_distribution(task, **how)

    assert again.known == again.task_ids[:2] == tuple(broken.value.queued.values())
    assert (again.reducer_id is not None) == (strategy == "map_reduce")


async def test_a_retry_half_way_names_what_was_sent_again(
    own_site: Site, manager: PoolManager, before_submit: BeforeSubmit
) -> None:
    own_site.pool("q")
    first = [(await manager.submit(task, pool="p")).task_id for task in tasks(2)]
    other = [(await manager.submit(task, pool="q")).task_id for task in tasks(3)]
    for task_id in (*first, *other):
        await manager.cancel(task_id)
    before_submit(3, lambda: fill(own_site, bytes_left=1))

    with pytest.raises(errors.RedisFull, match="Already sent again: 4, as batch batch_") as broken:
        await manager.retry([*first, *other])
    fill(own_site, bytes_left=0)

    assert set(broken.value.retried) == {*first, *other[:2]}
    batch = await manager.batch(broken.value.batch_id)
    assert set(batch.task_ids) == set(broken.value.retried.values())


def test_the_command_line_tells_it_too(
    own_site: Site,
    before_submit: BeforeSubmit,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> None:
    own_site.pool("p")
    file = tmp_path / "tasks.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in tasks(3)))
    before_submit(2, lambda: fill(own_site, bytes_left=1))
    session = Session(lambda: PoolManager(settings=own_site.settings))

    code = run(["pools", "submit", "--file", str(file), "--format", "json"], session=session)

    error = json.loads(capsys.readouterr().err)["error"]
    assert (code, error["code"]) == (4, "redis_full")
    assert list(error["details"]["queued"]) == ["0", "1"]
    assert list(error["details"]["not_queued"]) == ["2"]
    assert f"batch {error['details']['batch_id']}" in error["message"]
