"""What an agent says of its groups: the last word that arrives is the one that holds."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.pools import GroupInfo, NodeInfo
from workers.agent.heartbeat import Heartbeat


class Place:
    """A node with groups, and a server that what is said reaches at once, but for the first words: those when told."""

    def __init__(self, held: int) -> None:
        self.groups: dict[str, GroupInfo] = {}
        self.known: dict[str, str] = {}
        self.held: list[asyncio.Future[None]] = [asyncio.get_running_loop().create_future() for _ in range(held)]
        self._said = 0
        facts = SimpleNamespace(info=lambda: NodeInfo(name="n", pid=1, started=0.0))
        context: Any = SimpleNamespace(settings=Settings(), store=self, facts=facts, heard_at=0.0)
        self.heartbeat = Heartbeat(context, lambda: self.groups)

    def have(self, pool_id: str, status: str) -> None:
        self.groups[pool_id] = GroupInfo(node="n", status=status, workers=1)

    async def run(self, call: Call[str]) -> str:
        self._said += 1
        if self._said <= len(self.held):
            await self.held[self._said - 1]
        _, _, _, *pairs = map(str, call.arguments)
        for pool_id, text in zip(pairs[::2], pairs[1::2], strict=True):
            self.known.pop(pool_id, None)
            if text:
                self.known[pool_id] = GroupInfo.model_validate_json(text).status
        return ""


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_what_was_said_last_holds_in_whatever_order_words_arrive(order: tuple[int, ...]) -> None:
    place = Place(held=3)
    place.have("left", "ready")
    place.have("new", "starting")
    words = [asyncio.create_task(place.heartbeat.beat())]
    await asyncio.sleep(0)
    del place.groups["left"]
    place.have("new", "ready")
    words += [asyncio.create_task(place.heartbeat.tell(pool_id)) for pool_id in ("left", "new")]
    await asyncio.sleep(0)

    for number in order:
        place.held[number].set_result(None)
        await asyncio.sleep(0)
    await asyncio.gather(*words)

    assert place.known == {"new": "ready"}


async def test_a_word_that_was_lost_is_said_again_with_the_next_beat() -> None:
    place = Place(held=1)
    place.known["left"] = "ready"
    place.held[0].set_exception(errors.RedisUnavailable("It does not answer."))
    await place.heartbeat.tell("left")
    assert place.known == {"left": "ready"}

    await place.heartbeat.beat()

    assert place.known == {}


async def test_who_leaves_waits_for_the_words_on_their_way_and_says_nothing_more() -> None:
    place = Place(held=1)
    place.have("pool", "ready")
    word = asyncio.create_task(place.heartbeat.beat())
    await asyncio.sleep(0)
    ending = asyncio.create_task(place.heartbeat.end())
    await asyncio.sleep(0)
    assert not ending.done()

    place.held[0].set_result(None)
    await asyncio.gather(word, ending)
    assert place.known == {"pool": "ready"}

    place.have("pool", "stopping")
    await place.heartbeat.tell("pool")
    await place.heartbeat.beat()
    assert place.known == {"pool": "ready"}
