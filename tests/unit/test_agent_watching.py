"""How an agent tells the dead, the frozen and the silent from the living."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mahavishnu_pools.settings import Settings
from workers.agent.backoff import FIRST, HEALTHY_AFTER, LONGEST, Backoff
from workers.agent.ending import Verdict
from workers.agent.frozen import TickWatch
from workers.agent.group import Group, GroupTable
from workers.agent.silence import SilenceWatch
from workers.agent.ticks import Ticks
from workers.agent.watch import GroupWatch

#: Lifetime of a lease in these tests, in seconds.
TTL = 30.0


def poll(watch: SilenceWatch, missing: set[str], *, at: float, took: float = 0.01) -> list[str]:
    return watch.poll(missing, asked=at, answered=at + took)


def poll_row(watch: SilenceWatch, missing: set[str], *, begin: float, end: float, step: float = 0.5) -> list[str]:
    """Poll from one time to another and return what may be reaped at the end."""
    found: list[str] = []
    at = begin
    while at <= end:
        found = poll(watch, missing, at=at)
        at += step
    return found


def test_a_lease_missing_in_a_whole_row_of_polls_may_be_reaped() -> None:
    watch = SilenceWatch(TTL)

    assert poll_row(watch, {"a"}, begin=0.0, end=TTL) == []
    assert poll(watch, {"a"}, at=TTL + 0.5) == ["a"]


def test_a_lease_that_was_there_once_more_starts_anew() -> None:
    watch = SilenceWatch(TTL)
    poll_row(watch, {"a", "b"}, begin=0.0, end=20.0)
    poll(watch, {"b"}, at=20.5)

    assert poll_row(watch, {"a", "b"}, begin=21.0, end=31.0) == ["b"]
    assert set(poll_row(watch, {"a", "b"}, begin=31.5, end=52.0)) == {"a", "b"}


def test_a_failed_poll_restarts_every_count() -> None:
    watch = SilenceWatch(TTL)
    poll_row(watch, {"a"}, begin=0.0, end=29.0)

    watch.failed()

    assert poll_row(watch, {"a"}, begin=29.5, end=59.0) == []
    assert poll_row(watch, {"a"}, begin=59.5, end=60.5) == ["a"]


def test_a_late_poll_restarts_every_count() -> None:
    watch = SilenceWatch(TTL)
    poll_row(watch, {"a"}, begin=0.0, end=29.0)

    assert poll_row(watch, {"a"}, begin=30.5, end=60.0) == []
    assert poll_row(watch, {"a"}, begin=60.5, end=61.5) == ["a"]


def test_a_poll_that_was_answered_slowly_does_not_count() -> None:
    watch = SilenceWatch(TTL)
    poll_row(watch, {"a"}, begin=0.0, end=29.5)

    assert poll(watch, {"a"}, at=30.5, took=0.8) == []
    assert poll_row(watch, {"a"}, begin=31.5, end=61.0) == []


def test_a_group_whose_tick_stands_still_is_frozen() -> None:
    watch = TickWatch(frozen_after=3.0)

    frozen = [watch.look({1: at, 2: 7}, now=float(at)) for at in range(5)]

    assert frozen == [set(), set(), set(), {2}, {2}]


def test_a_pause_of_the_watcher_itself_freezes_nobody() -> None:
    watch = TickWatch(frozen_after=3.0)
    watch.look({1: 7}, now=0.0)

    assert watch.look({1: 7}, now=1000.0) == set()
    assert watch.look({1: 7}, now=1001.5) == set()
    assert watch.look({1: 7}, now=1003.0) == {1}


def test_who_waits_for_a_silent_server_is_not_frozen() -> None:
    watch = TickWatch(frozen_after=3.0)
    watch.look({1: 7}, now=0.0)

    assert [watch.look({1: 7}, now=now, excused=True) for now in (1.0, 2.0, 3.0, 4.0)] == [set()] * 4
    assert [watch.look({1: 7}, now=now) for now in (5.0, 6.0, 7.0)] == [set(), set(), {1}]


def test_a_new_group_with_an_old_pid_starts_anew() -> None:
    watch = TickWatch(frozen_after=2.0)
    watch.look({1: 7}, now=0.0)
    watch.look({}, now=1.0)

    assert watch.look({1: 7}, now=2.0) == set()


def test_pauses_double_up_to_a_limit_and_start_anew_after_a_healthy_life() -> None:
    backoff = Backoff()

    pauses = [backoff.failed(lived=0.1) for _ in range(10)]

    assert pauses[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert max(pauses) == pauses[-1] == LONGEST
    assert backoff.failed(lived=HEALTHY_AFTER) == FIRST
    assert backoff.failures == 1


@pytest.mark.parametrize("failures", [100, 10_000])
def test_very_many_failures_stay_at_the_longest_pause(failures: int) -> None:
    assert Backoff(failures=failures).failed(lived=0.0) == LONGEST


class Watched:
    """Groups with a watch over them; ``answers`` are what the server says of their leases after ``meanwhile``."""

    def __init__(self, *answers: bool, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.ticks = Ticks.create(by_descriptor=False)
        self.table = GroupTable(self.ticks, lambda group, event: None)
        self.groups = [self._group(pid) for pid, _ in enumerate(answers, start=1)]
        self.condemned: list[tuple[int, Verdict]] = []
        self._answers, self.meanwhile = list(answers), meanwhile
        context: Any = SimpleNamespace(settings=Settings(), table=self.table, store=self, heard_at=0.0)
        self.watch = GroupWatch(context, [self._keeper(group) for group in self.groups])

    async def run(self, call: object) -> list[bool]:
        self.meanwhile()
        return self._answers

    def _group(self, pid: int) -> Group:
        start: Any = SimpleNamespace(lease=f"lease {pid}", pool_id="p")
        return self.table.add(pid, slot=pid, start=start)

    def _keeper(self, group: Group) -> Any:
        return SimpleNamespace(group=group, condemn=lambda group, verdict: self.condemned.append((group.pid, verdict)))


async def test_a_group_that_closes_its_lease_itself_may_go_and_one_that_lost_it_is_killed() -> None:
    place = Watched(False, False)
    for group in place.groups:
        group.take("ready", {})
    place.ticks.set_leaving(1)

    await place.watch.refresh()

    assert place.condemned == [(2, Verdict.REFUSED)]


async def test_a_group_that_opens_its_lease_while_the_answer_is_on_its_way_lives() -> None:
    place = Watched(False)
    place.meanwhile = lambda: place.groups[0].take("ready", {})

    await place.watch.refresh()

    assert place.groups[0].ready.is_set()
    assert place.condemned == []
