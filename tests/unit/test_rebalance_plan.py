"""The plan of a rebalance: nothing is lost, nobody gets what he cannot run, the loads get even."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools.routing.rebalance import Plan, Shift, Stand, picker, window_of
from mahavishnu_pools.schemas.pool import PoolSelector

STRATEGIES = [PoolSelector.LEAST_LOADED, PoolSelector.ROUND_ROBIN, PoolSelector.RANDOM]

LOTS = ("x", "y", "z")


def stand(pool_id: str, *, workers: int = 1, fixed: int = 0, **lots: int) -> Stand:
    """Return a pool whose lots all wait in bucket 4."""
    return Stand(pool_id, workers, fixed, {("4", lot): count for lot, count in lots.items()})


def after(stands: Sequence[Stand], shifts: Sequence[Shift]) -> list[Stand]:
    """Return the pools as they are when the shifts were carried out."""
    lots = {one.pool_id: Counter(one.lots) for one in stands}
    for shift in shifts:
        lots[shift.source][shift.place, shift.lot] -= shift.count
        lots[shift.target][shift.place, shift.lot] += shift.count
    return [Stand(one.pool_id, one.workers, one.fixed, +lots[one.pool_id]) for one in stands]


worlds = st.integers(2, 5).flatmap(
    lambda count: st.tuples(
        *(
            st.builds(
                Stand,
                pool_id=st.just(f"p{index}"),
                workers=st.integers(1, 7),
                fixed=st.integers(0, 20),
                lots=st.dictionaries(
                    st.tuples(st.sampled_from(["0", "4", "delayed"]), st.sampled_from(LOTS)), st.integers(1, 300)
                ),
            )
            for index in range(count)
        )
    )
)

reaches = st.fixed_dictionaries({lot: st.sets(st.integers(0, 4)) for lot in LOTS})


def limited(stands: Sequence[Stand], reach: dict[str, set[int]]) -> dict[str, Collection[str]]:
    known = {one.pool_id for one in stands}
    return {lot: known & {f"p{index}" for index in numbers} for lot, numbers in reach.items()}


@given(worlds, reaches, st.sampled_from(STRATEGIES))
def test_a_plan_loses_nothing_respects_what_pools_can_run_and_makes_no_pool_the_worst(
    stands: tuple[Stand, ...], reach: dict[str, set[int]], strategy: PoolSelector
) -> None:
    able = limited(stands, reach)
    plan = Plan(stands, lambda _, lot: able[lot], picker(strategy))
    plan.even_out([one.pool_id for one in stands])
    shifts = plan.shifts()
    result = after(stands, shifts)

    assert all(shift.count > 0 and shift.source != shift.target for shift in shifts)
    assert all(shift.target in able[shift.lot] for shift in shifts)
    assert len({(s.source, s.target, s.place, s.lot) for s in shifts}) == len(shifts)
    # Never more than there is (``after`` drops what is not positive), and nothing vanishes.
    assert sum(one.tasks for one in result) == sum(one.tasks for one in stands)
    for place_lot in {key for one in stands for key in one.lots}:
        assert sum(one.lots.get(place_lot, 0) for one in result) == sum(one.lots.get(place_lot, 0) for one in stands)
    assert max(one.load for one in result) <= max(one.load for one in stands)
    assert [plan.load(one.pool_id) for one in stands] == [one.load for one in result]


@given(worlds, reaches)
def test_after_a_rebalance_another_one_finds_nothing_to_do(
    stands: tuple[Stand, ...], reach: dict[str, set[int]]
) -> None:
    able = limited(stands, reach)
    first = Plan(stands, lambda _, lot: able[lot], picker(PoolSelector.LEAST_LOADED))
    first.even_out([one.pool_id for one in stands])
    result = after(stands, first.shifts())

    second = Plan(result, lambda _, lot: able[lot], picker(PoolSelector.LEAST_LOADED))
    second.even_out([one.pool_id for one in stands])

    assert second.shifts() == []


@given(worlds, st.sampled_from(STRATEGIES))
def test_where_every_pool_runs_everything_no_move_would_help_any_more(
    stands: tuple[Stand, ...], strategy: PoolSelector
) -> None:
    everyone = [one.pool_id for one in stands]
    plan = Plan(stands, lambda *_: everyone, picker(strategy))
    plan.even_out(everyone)

    for source in (result := after(stands, plan.shifts())):
        for target in result:
            if source.lots:
                assert (target.tasks + 1) / target.workers >= source.load or source is target


@given(worlds, reaches, st.sampled_from(STRATEGIES))
def test_clearing_a_pool_takes_everything_that_somebody_else_can_run(
    stands: tuple[Stand, ...], reach: dict[str, set[int]], strategy: PoolSelector
) -> None:
    able = limited(stands, reach)
    plan = Plan(stands, lambda _, lot: able[lot], picker(strategy))
    stuck = plan.clear("p0")
    left = next(one for one in after(stands, plan.shifts()) if one.pool_id == "p0")

    expected: Counter[str] = Counter()
    for (_, lot), count in stands[0].lots.items():
        if not set(able[lot]) - {"p0"}:
            expected[lot] += count
    assert stuck == expected
    assert sum(left.lots.values()) == sum(expected.values())
    assert {shift.source for shift in plan.shifts()} <= {"p0"}


def test_every_priority_gives_its_share() -> None:
    lots = {("0", "x"): 10, ("9", "x"): 90}
    plan = Plan([Stand("a", 1, 0, lots), stand("b")], lambda *_: ["a", "b"], picker(PoolSelector.LEAST_LOADED))
    plan.even_out(["a", "b"])

    moved = {shift.place: shift.count for shift in plan.shifts()}
    assert moved["0"] + moved["9"] == 50
    assert 4 <= moved["0"] <= 6


def test_workers_count() -> None:
    plan = Plan(
        [stand("a", workers=1, x=80), stand("b", workers=3)], lambda *_: ["b"], picker(PoolSelector.LEAST_LOADED)
    )
    plan.even_out(["a", "b"])

    assert [shift.count for shift in plan.shifts()] == [60]


def test_only_sources_give() -> None:
    plan = Plan(
        [stand("a", x=8), stand("b", x=4), stand("c")], lambda *_: ["a", "b", "c"], picker(PoolSelector.LEAST_LOADED)
    )
    plan.even_out(["b"])

    assert [(shift.source, shift.target, shift.count) for shift in plan.shifts()] == [("b", "c", 2)]


def test_a_long_queue_is_planned_in_few_steps() -> None:
    stands = [stand("p0", x=1_000_000), *(stand(f"p{index}") for index in range(1, 20))]
    plan = Plan(stands, lambda *_: [one.pool_id for one in stands], picker(PoolSelector.LEAST_LOADED))
    plan.even_out([one.pool_id for one in stands])

    assert {plan.load(one.pool_id) for one in stands} == {50_000}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_round_robin_and_random_spread_what_they_move(strategy: PoolSelector) -> None:
    stands = [stand("a", x=100), *(stand(f"t{index}") for index in range(3))]
    plan = Plan(stands, lambda *_: ["t0", "t1", "t2"], picker(strategy))
    plan.clear("a")

    assert all(plan.load(f"t{index}") >= 10 for index in range(3))


@given(st.lists(st.sampled_from([*LOTS, None]), max_size=30), st.dictionaries(st.sampled_from(LOTS), st.integers(0, 5)))
def test_a_window_holds_what_is_wanted_and_no_smaller_one_does(
    waiting: list[str | None], wanted: dict[str, int]
) -> None:
    size = window_of(waiting, wanted)

    def holds(count: int) -> bool:
        return all(waiting[:count].count(lot) >= number for lot, number in wanted.items())

    assert holds(size) or size == len(waiting)
    assert size == 0 or not holds(size - 1)
