"""The statistics behind the patterns: robust ones, because durations have long tails and pools have bad minutes. Pure.

All need the standard library only; p-values are two-sided and use the normal approximation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist, median

#: Standard normal quantile of 95 % intervals.
Z_95 = 1.959963984540054

#: Makes the median absolute deviation of normal values comparable with their standard deviation.
MAD_SCALE = 0.6745


@dataclass(frozen=True, slots=True)
class Trend:
    """A trend: ``slope`` per step, and ``p_value``, how likely so clear an order is by chance."""

    slope: float
    p_value: float


def wilson_interval(successes: int, total: int, *, z: float = Z_95) -> tuple[float, float]:
    """Return the interval a rate lies in (95 % with the default ``z``); (0, 1) when there were no trials.

    Wilson's score interval: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    J. Am. Stat. Assoc. 22 (1927) 209–212. It holds for few trials and for rates near 0 and 1.
    """
    if total <= 0:
        return 0.0, 1.0
    rate, square = successes / total, z * z
    centre = (rate + square / (2 * total)) / (1 + square / total)
    half = z / (1 + square / total) * math.sqrt(rate * (1 - rate) / total + square / (4 * total * total))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return low, 1.0 if successes == total else min(1.0, centre + half)


def modified_z_scores(values: Sequence[float]) -> list[float]:
    """Return how far each value is from the median, in robust standard deviations; beyond 3.5 is an anomaly.

    B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers", ASQC (1993): 0.6745 (x − median) / MAD, with the
    median absolute deviation. Where more than half of the values are equal (MAD 0) the mean absolute deviation takes
    its place, with 1/1.253314, as there; equal values score 0.
    """
    if not values:
        return []
    middle = median(values)
    distances = [abs(value - middle) for value in values]
    spread = median(distances) / MAD_SCALE
    if spread == 0:
        spread = 1.253314 * math.fsum(distances) / len(distances)
    return [(value - middle) / spread if spread else 0.0 for value in values]


def theil_sen_slope(values: Sequence[float]) -> float:
    """Return the median slope per step over all pairs of values; 0 for fewer than two.

    H. Theil, "A rank-invariant method of linear and polynomial regression analysis" (1950); P. K. Sen, J. Am. Stat.
    Assoc. 63 (1968) 1379–1389. Up to 29 % of the values may be arbitrarily wrong.
    """
    slopes = [(later - earlier) / (j - i) for (i, earlier), (j, later) in combinations(enumerate(values), 2)]
    return median(slopes) if slopes else 0.0


def mann_kendall(values: Sequence[float]) -> Trend:
    """Test whether values rise or fall over time, whatever their distribution; the slope is Theil and Sen's.

    H. B. Mann, "Nonparametric tests against trend", Econometrica 13 (1945) 245–259; M. G. Kendall, "Rank Correlation
    Methods" (1975), with the correction for ties and for continuity. Fewer than four values are no trend (p = 1).
    """
    count = len(values)
    if count < 4:
        return Trend(theil_sen_slope(values), 1.0)
    score = sum((later > earlier) - (later < earlier) for earlier, later in combinations(values, 2))
    ties = sum(n * (n - 1) * (2 * n + 5) for n in Counter(values).values())
    variance = (count * (count - 1) * (2 * count + 5) - ties) / 18
    return Trend(theil_sen_slope(values), _p_value(score, variance, continuity=1.0))


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how likely two samples differ so much in place by chance; 1 when one of them is empty.

    H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is stochastically larger than the
    other", Ann. Math. Stat. 18 (1947) 50–60, with the correction for ties and for continuity.
    """
    n, m = len(first), len(second)
    if not n or not m:
        return 1.0
    ranks = _ranks([*first, *second])
    score = math.fsum(ranks[:n]) - n * (n + 1) / 2 - n * m / 2
    total = n + m
    ties = sum(count**3 - count for count in Counter((*first, *second)).values())
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    return _p_value(score, variance, continuity=0.5)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values is not above, linear between two; 0 when there are none.

    R. J. Hyndman and Y. Fan, "Sample quantiles in statistical packages", Am. Stat. 50 (1996) 361–365, definition 7.
    """
    if not values:
        return 0.0
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _p_value(score: float, variance: float, *, continuity: float) -> float:
    if variance <= 0 or abs(score) <= continuity:
        return 1.0
    return 2 * NormalDist().cdf(-(abs(score) - continuity) / math.sqrt(variance))


def _ranks(values: Sequence[float]) -> list[float]:
    """Return each value's rank from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in order[start : end + 1]:
            ranks[place] = (start + end) / 2 + 1
        start = end + 1
    return ranks
