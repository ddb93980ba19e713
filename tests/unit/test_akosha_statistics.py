"""Akosha's statistics: answers known from the literature and from R, and what holds for all input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools.akosha import statistics

VALUES = st.lists(st.floats(-1e6, 1e6).map(lambda value: round(value, 3)), max_size=30)


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [(5, 10, 0.2366, 0.7634), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 20, 0.0089, 0.2361), (0, 0, 0.0, 1.0)],
)
def test_wilson_intervals_are_those_of_the_tables(successes: int, total: int, low: float, high: float) -> None:
    assert statistics.wilson_interval(successes, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 500), st.integers(1, 500))
def test_a_wilson_interval_holds_the_rate_and_is_symmetric(successes: int, total: int) -> None:
    successes = min(successes, total)

    low, high = statistics.wilson_interval(successes, total)

    assert 0 <= low <= successes / total <= high <= 1
    assert statistics.wilson_interval(total - successes, total) == pytest.approx((1 - high, 1 - low))


def test_one_wild_value_has_a_large_score_and_moves_no_other() -> None:
    assert statistics.modified_z_scores([1, 2, 3, 4, 100])[-1] == pytest.approx(0.6745 * 97)
    assert statistics.modified_z_scores([1, 2, 3, 4, 100])[:4] == statistics.modified_z_scores([1, 2, 3, 4, 9e9])[:4]


def test_where_most_values_are_equal_the_mean_deviation_counts() -> None:
    scores = statistics.modified_z_scores([5, 5, 5, 5, 5, 5, 5, 5, 5, 15])

    assert scores[:9] == [0] * 9
    assert scores[9] == pytest.approx(10 / 1.253314)


@given(VALUES, st.integers(-1000, 1000))
def test_scores_do_not_depend_on_where_zero_is(values: list[float], shift: int) -> None:
    values = [round(value) for value in values]

    assert statistics.modified_z_scores([value + shift for value in values]) == statistics.modified_z_scores(values)


def test_the_theil_sen_slope_ignores_a_wild_value() -> None:
    assert statistics.theil_sen_slope([0, 1, 2, 3, 100]) == 1
    assert statistics.theil_sen_slope([7]) == 0


def test_mann_kendall_is_what_r_says() -> None:
    assert statistics.mann_kendall(list(range(1, 11))).p_value == pytest.approx(8.303e-5, rel=1e-3)
    assert statistics.mann_kendall([1, 1, 1, 1, 1, 1]).p_value == 1
    assert statistics.mann_kendall([3, 1, 4]).p_value == 1


@given(VALUES)
def test_a_reversed_series_has_the_opposite_trend(values: list[float]) -> None:
    forward, backward = statistics.mann_kendall(values), statistics.mann_kendall(values[::-1])

    assert backward.slope == pytest.approx(-forward.slope)
    assert backward.p_value == pytest.approx(forward.p_value)
    assert 0 <= forward.p_value <= 1


def test_mann_whitney_is_what_r_says() -> None:
    assert statistics.mann_whitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(0.01219, rel=1e-3)
    assert statistics.mann_whitney([], [1]) == 1
    assert statistics.mann_whitney([2, 2], [2, 2, 2]) == 1


@given(VALUES, VALUES)
def test_mann_whitney_does_not_care_which_sample_comes_first(first: list[float], second: list[float]) -> None:
    p_value = statistics.mann_whitney(first, second)

    assert p_value == pytest.approx(statistics.mann_whitney(second, first))
    assert 0 <= p_value <= 1


def test_quantiles_are_interpolated() -> None:
    assert statistics.quantile([4, 1, 3, 2], 0.25) == 1.75
    assert statistics.quantile([], 0.5) == 0


@given(VALUES.filter(bool), st.floats(0, 1))
def test_a_quantile_lies_between_the_least_and_the_greatest(values: list[float], share: float) -> None:
    assert min(values) - 1e-6 <= statistics.quantile(values, share) <= max(values) + 1e-6
