"""What an agent does about worker types that are not logged in on its node."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.limits import CoolDown
from mahavishnu_pools.store.calls import Call
from workers.agent.cool_downs import CoolDownWatch


class _Store:
    """A store in which one cool-down holds until it is ended; ``gone``: it does not answer to that."""

    def __init__(self, resting: CoolDown) -> None:
        self.resting: tuple[CoolDown, ...] = (resting,)
        self.gone = True

    async def run(self, call: Call[Any]) -> Any:
        if call.script == "cooldown_end" and self.gone:
            raise errors.RedisUnavailable("Redis does not answer. Start it.")
        if call.script == "cooldown_end":
            self.resting = ()
            return 0
        return SimpleNamespace(cool_downs=self.resting)


async def test_a_cool_down_that_cannot_be_ended_now_is_ended_by_the_next_look() -> None:
    resting = CoolDown(worker_type="claude", node="n", ends=time.time() + 60, because="Not logged in.", pool="p")
    store = _Store(resting)
    facts = SimpleNamespace(name="n", worker_types=list, logged_out={})
    context: Any = SimpleNamespace(store=store, facts=facts)
    watch = CoolDownWatch(context, lambda: ())

    with pytest.raises(errors.RedisUnavailable):
        await watch.look()
    store.gone = False
    await watch.look()

    assert store.resting == ()
    assert facts.logged_out == {}
