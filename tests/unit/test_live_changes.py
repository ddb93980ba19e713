"""What the page is told: changes between two looks, rates, and who gets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.server.live import streaming
from mahavishnu_pools.server.live.changes import changes
from mahavishnu_pools.server.live.hub import FOLLOWERS_MOST, Hub, TooManyPages, rest_after
from mahavishnu_pools.server.live.rates import Ends, Rates
from mahavishnu_pools.server.live.topics import WAITING_MOST, Follower, View
from tests.waiting import eventually_async


class Count(Value):
    at: float
    number: int


def told(frame: bytes | None) -> Any:
    assert frame is not None
    return json.loads(frame.decode().split("data: ")[1])


def counting(seen: list[int], *, read: Callable[[], Awaitable[None]] | None = None) -> View:
    async def look() -> Count:
        if read is not None:
            await read()
        seen.append(len(seen))
        return Count(at=len(seen), number=len(seen))

    view = View(look)
    view.pause = 0.01
    return view


def test_a_change_has_only_the_rows_and_fields_that_differ() -> None:
    before = {"at": 1.0, "dead": 0, "pools": [{"pool_id": "a", "n": 1}, {"pool_id": "b", "n": 1}]}
    after = {"at": 2.0, "dead": 0, "pools": [{"pool_id": "a", "n": 2}, {"pool_id": "c", "n": 1}]}

    everything, change = changes(None, before), changes(before, after)

    assert everything is not None
    assert everything["full"]
    assert everything["rows"]["pools"] == before["pools"]
    expected = {"pools": after["pools"]}
    assert change == {"full": False, "at": 2.0, "set": {}, "rows": expected, "gone": {"pools": ["b"]}}
    assert changes(before, {**before, "at": 9.0}) is None


def test_a_rate_is_what_ended_within_the_last_minute_and_is_not_guessed() -> None:
    rates = Rates()
    rates.note(1000.0, {"a": Ends(100, 0)})
    assert rates.of("a") is None
    rates.note(1030.0, {"a": Ends(130, 6)})
    assert rates.of("a") == (60.0, 12.0)
    rates.note(1075.0, {"a": Ends(130, 6), "new": Ends(5, 0)})
    assert rates.of("a") == (0.0, 0.0)
    assert rates.of("new") is None


async def test_however_many_follow_it_is_read_once_and_not_at_all_when_nobody_does() -> None:
    hub, seen = Hub(asyncio.Event()), list[int]()
    most = 0
    running = 0

    async def read() -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    async def follow() -> int:
        async with hub.following("x", lambda: counting(seen, read=read)) as follower:
            numbers = [told(await follower.frames.get())["set"]["number"] for _ in range(5)]
        assert numbers == list(range(numbers[0], numbers[0] + 5))
        return numbers[0]

    await asyncio.gather(*(follow() for _ in range(30)))

    looks = len(seen)
    await asyncio.wait([asyncio.create_task(asyncio.sleep(0)) for _ in range(50)])
    assert most == 1
    assert len(seen) == looks


async def test_who_comes_later_gets_everything_and_then_the_changes() -> None:
    hub, seen = Hub(asyncio.Event()), list[int]()
    async with hub.following("x", lambda: counting(seen)) as first:
        await first.frames.get()
        async with hub.following("x", lambda: counting([])) as second:
            begin, change = told(await second.frames.get()), told(await second.frames.get())

    assert begin["full"]
    assert change == {**change, "full": False, "set": {"number": begin["set"]["number"] + 1}}


async def test_a_slow_page_is_left_and_the_others_are_served() -> None:
    hub, seen = Hub(asyncio.Event()), list[int]()
    async with (
        hub.following("x", lambda: counting(seen)) as slow,
        hub.following("x", lambda: counting(seen)) as quick,
    ):
        for _ in range(WAITING_MOST + 2):
            assert await quick.frames.get() is not None
        assert await slow.frames.get() is None
        assert await quick.frames.get() is not None


async def test_a_page_that_takes_nothing_is_left_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "SLOW", 0.05)
    begun = 0

    async def never(*_: object) -> Any:
        nonlocal begun
        begun += 1
        if begun > 1:
            await asyncio.Event().wait()

    async def nothing() -> Any:
        await asyncio.Event().wait()

    async with asyncio.timeout(30):
        await streaming.stream(Follower(), nothing, never)

    assert begun == 2  # the head of the answer, and what it never took


async def test_a_problem_is_told_once_to_everybody_and_its_end_too() -> None:
    hub, away = Hub(asyncio.Event()), True

    async def read() -> None:
        if away:
            raise errors.StackNotRunning

    def make() -> View:
        return counting([], read=read)

    async with hub.following("x", make) as first:
        assert told(await first.frames.get())["code"] == "stack_not_running"
        async with hub.following("x", make) as second:
            assert told(await second.frames.get())["code"] == "stack_not_running"
        away = False
        kinds = [(await first.frames.get() or b"").split(b"\n")[0] for _ in range(2)]

    assert kinds == [b"event: well", b"event: state"]


def test_a_slow_store_is_read_less_often_and_one_that_is_away_is_tried_again_soon() -> None:
    assert rest_after(0.02, pause=1.0, well=True) == 1.0
    assert rest_after(0.3, pause=1.0, well=True) == 3.0
    assert rest_after(9.0, pause=1.0, well=True) == 10.0
    assert rest_after(5.0, pause=1.0, well=False) == 1.0


async def test_when_the_server_stops_all_pages_end() -> None:
    stopping = asyncio.Event()
    hub = Hub(stopping)
    async with hub.following("x", lambda: counting([])) as follower:
        stopping.set()

        async def last() -> bytes | None:
            return await follower.frames.get()

        await eventually_async(last, until=lambda frame: frame is None)


async def test_no_more_pages_are_served_than_the_limit() -> None:
    hub = Hub(asyncio.Event())
    opened = [hub.following("x", lambda: counting([])) for _ in range(FOLLOWERS_MOST)]
    for one in opened:
        await one.__aenter__()
    with pytest.raises(TooManyPages, match="Close some"):
        async with hub.following("x", lambda: counting([])):
            pass
    for one in opened:
        await one.__aexit__(None, None, None)
    async with hub.following("x", lambda: counting([])) as follower:
        assert isinstance(follower, Follower)
