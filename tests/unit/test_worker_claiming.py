"""What a claim loop makes of answers, without a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mahavishnu_pools.store.leases import Claim, Claimed, Held
from tests.unit.looping import FixedAhead
from workers.claim_request import ClaimRequests
from workers.claiming import Claiming, LoopConfig, LoopHooks
from workers.claims import ClaimTable, Running


def answered(*, alone: bool, due_in: float | None) -> int:
    """Return how often a loop without claims is called idle by an answer without claims."""
    idle: list[bool] = []

    def nothing(*_: Any) -> bool:
        return True

    hooks = LoopHooks(lambda: 1, nothing, nothing, nothing, lambda: idle.append(True), nothing, nothing)
    bell: Any = SimpleNamespace(known="")
    config = LoopConfig("lease", "pool", "pool@n", 60.0, alone=alone)
    claiming = Claiming(config, ClaimTable(), hooks, bell=bell, end=nothing)
    claiming.requests.ring()
    assert claiming.next(ending=0) is not None
    claiming.answered(Claimed("0-0", None, "running", 1, frozenset(), (), due_in=due_in))
    return len(idle)


@pytest.mark.parametrize(("alone", "due_in", "times"), [(True, None, 1), (True, 1.0, 0), (False, 1.0, 1)])
def test_the_group_of_a_suspect_that_waits_for_what_it_needs_is_not_idle(
    alone: bool, due_in: float | None, times: int
) -> None:
    assert answered(alone=alone, due_in=due_in) == times


def test_what_a_claim_brings_that_was_under_way_when_the_group_stopped_goes_back() -> None:
    started: list[Any] = []
    ended: list[str] = []

    def nothing(*_: Any) -> bool:
        return True

    hooks = LoopHooks(lambda: 2, lambda one: not started.append(one), nothing, nothing, nothing, nothing, nothing)
    bell: Any = SimpleNamespace(known="")
    table = ClaimTable()
    config = LoopConfig("lease", "pool", "pool@n", 60.0)
    claiming = Claiming(config, table, hooks, bell=bell, end=lambda held, call: ended.append(held.task_id))
    claiming.requests.ring()
    assert claiming.next(ending=0) is not None

    claiming.halt()
    claims = tuple(Claim(str(one), 1, f"t{one}", "{}") for one in (1, 2))
    claiming.answered(Claimed("0-0", None, "running", 2, frozenset(), claims))

    assert (started, ended) == ([], ["t2", "t1"])


def test_a_queue_that_holds_more_is_asked_again_when_there_is_room_and_not_before() -> None:
    requests = ClaimRequests()
    first = requests.next(free=1, ahead=0)
    assert first is not None
    requests.answered()
    requests.more()

    assert requests.next(free=0, ahead=0) is None
    assert requests.next(free=-8, ahead=8) is None
    second = requests.next(free=1, ahead=0)

    assert second is not None
    assert (second.most, second.free) == (1, 1)
    requests.answered()
    assert requests.next(free=1, ahead=0) is None


def test_a_bell_is_answered_without_room_too_because_it_may_tell_of_a_cancel() -> None:
    requests = ClaimRequests()
    requests.next(free=1, ahead=0)
    requests.answered()

    requests.ring()
    asked = requests.next(free=0, ahead=0)

    assert asked is not None
    assert asked.most == 0


def test_what_is_due_is_asked_for_once_without_room_and_does_not_keep_the_loop_awake() -> None:
    requests = ClaimRequests()
    requests.next(free=1, ahead=0)
    requests.answered()
    requests.wait(0.0)
    assert requests.pause() == 0.0

    requests.look()
    asked = requests.next(free=-8, ahead=8)

    assert asked is not None
    assert asked.most == 0
    requests.answered()
    requests.wait(None)
    assert requests.pause() > 0.0
    requests.ring()
    assert requests.next(free=-8, ahead=8) is None


@pytest.mark.parametrize(("claims", "goes_on"), [(1, True), (0, False)])
def test_who_may_read_ahead_asks_at_once_for_more_while_that_brings_something(claims: int, goes_on: bool) -> None:
    def nothing(*_: Any) -> bool:
        return True

    hooks = LoopHooks(lambda: 1, nothing, nothing, nothing, nothing, nothing, nothing)
    bell: Any = SimpleNamespace(known="")
    table = ClaimTable()
    claiming = Claiming(LoopConfig("lease", "pool", "pool@n", 60.0), table, hooks, bell=bell, end=nothing)
    claiming.requests.ring()
    assert claiming.next(ending=0) is not None
    table.add(Running(Held("lease", "1", "t1", "pool"), Claim("1", 1, "t1", "{}")))
    claiming.ahead = FixedAhead(4)

    found = tuple(Claim(str(one), 1, f"t{one}", "{}") for one in range(2, 2 + claims))
    again = claiming.answered(Claimed("0-0", None, "running", 1, frozenset(), found, more=True))

    assert again is goes_on
