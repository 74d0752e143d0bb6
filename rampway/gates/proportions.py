"""Compares two proportions once, after the fact: tests and intervals for the report of an A/B."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rampway.gates.bounds import normal_quantile, wilson_interval
from rampway.gates.engine import noncentral_hypergeometric

_BISECTIONS = 60  # halves a difference to well under the nine digits that a record keeps
_TIE = 1 + 1e-7  # tables as likely as the seen one count as likely, whatever the last bits say


class Hits(NamedTuple):
    """`hits` of `units` have the property that is counted."""

    hits: int
    units: int

    @property
    def rate(self) -> float:
        """Hits per unit, 0 when there is none."""
        return self.hits / self.units if self.units else 0.0


class ProportionTest(NamedTuple):
    """A standardised difference and its two-sided probability if there were none."""

    z: float
    p: float


def two_proportion_z(first: Hits, second: Hits) -> ProportionTest:
    """The z-test with pooled variance of `first` less `second`; p is two-sided.

    z = (p1 - p2) / sqrt(p q (1/n1 + 1/n2)), p of both together (Fleiss, Levin and Paik 2003, chapter
    3; without continuity correction its square is Pearson's chi-square). An empty arm, or arms
    without a difference to see, give z = 0 and p = 1.
    """
    if not first.units or not second.units:
        return ProportionTest(0.0, 1.0)
    pooled = (first.hits + second.hits) / (first.units + second.units)
    variance = pooled * (1 - pooled) * (1 / first.units + 1 / second.units)
    if variance <= 0:
        return ProportionTest(0.0, 1.0)
    z = (first.rate - second.rate) / math.sqrt(variance)
    return ProportionTest(z, two_sided(z))


def two_sided(z: float) -> float:
    """Probability of a standard normal at least as far from 0 as `z`."""
    return math.erfc(abs(z) / math.sqrt(2))


def newcombe_hybrid_interval(first: Hits, second: Hits, level: float = 0.05) -> tuple[float, float]:
    """Interval for the difference of two proportions, `first` less `second`.

    The hybrid of two Wilson intervals without continuity correction: method 10 of Newcombe 1998,
    Statistics in Medicine 17:873-890.
    """
    if not first.units or not second.units:
        return -1.0, 1.0
    low_first, high_first = wilson_interval(*first, level)
    low_second, high_second = wilson_interval(*second, level)
    difference = first.rate - second.rate
    below = math.hypot(first.rate - low_first, high_second - second.rate)
    above = math.hypot(high_first - first.rate, second.rate - low_second)
    return max(-1.0, difference - below), min(1.0, difference + above)


def miettinen_nurminen_interval(
    first: Hits, second: Hits, level: float = 0.05
) -> tuple[float, float]:
    """Score interval for the difference of two proportions, `first` less `second`.

    Miettinen and Nurminen 1985, Statistics in Medicine 4:213-226: the differences that the score test
    with variance N / (N - 1) times that of `score_z` does not refute.
    """
    if not first.units or not second.units:
        return -1.0, 1.0
    units = first.units + second.units
    reach = normal_quantile(1 - level / 2) * math.sqrt(units / (units - 1))
    seen = first.rate - second.rate
    low = _crossing(lambda delta: score_z(first, second, delta) - reach, -1.0, seen)
    return low, _crossing(lambda delta: score_z(first, second, delta) + reach, seen, 1.0)


def score_z(first: Hits, second: Hits, difference: float) -> float:
    """Score statistic of the hypothesis that `first` less `second` is `difference`.

    Farrington and Manning 1990, Statistics in Medicine 9:1447-1454: the variance is that of the
    likeliest rates with exactly this difference. Positive when more than `difference` was seen.
    """
    n1, n2 = first.units, second.units
    p1 = _likeliest_rate(first, second, difference)
    p2 = min(1.0, max(0.0, p1 - difference))
    variance = p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2
    gap = first.rate - second.rate - difference
    if variance <= 0:
        return math.copysign(math.inf, gap) if gap else 0.0
    return gap / math.sqrt(variance)


def _likeliest_rate(first: Hits, second: Hits, difference: float) -> float:
    """The first rate that maximises the likelihood when the second is less by `difference`.

    The middle root of the likelihood's cubic, in its trigonometric form.
    """
    p1, p2, delta = first.rate, second.rate, difference
    ratio = second.units / first.units
    a = 1 + ratio
    b = -(1 + ratio + p1 + ratio * p2 + delta * (ratio + 2))
    c = delta * delta + delta * (2 * p1 + ratio + 1) + p1 + ratio * p2
    d = -p1 * delta * (1 + delta)
    v = (b / (3 * a)) ** 3 - b * c / (6 * a * a) + d / (2 * a)
    u = math.copysign(math.sqrt(max(0.0, (b / (3 * a)) ** 2 - c / (3 * a))), v)
    cosine = v / u**3 if u**3 else 0.0
    angle = (math.pi + math.acos(min(1.0, max(-1.0, cosine)))) / 3
    root = 2 * u * math.cos(angle) - b / (3 * a)
    return min(1.0, 1 + delta, max(0.0, delta, root))


def fisher_exact_p(first: Hits, second: Hits) -> float:
    """Two-sided exact probability of a table as unlikely as this one, or more, if rates are equal.

    Fisher 1935: the sum over all tables with the same margins that are at most as likely.
    """
    law = noncentral_hypergeometric(first.units, second.units, first.hits + second.hits, 1.0)
    place = first.hits - law.offset
    if not 0 <= place < law.p.size:
        return 0.0  # beyond nine standard deviations
    return min(1.0, float(law.p[law.p <= law.p[place] * _TIE].sum()))


def sample_ratio_p(units: Sequence[int], shares: Sequence[float]) -> float:
    """Pearson's chi-square test that units fall on the arms as their shares say.

    `shares` are positive weights of any sum. It is one look at the end, not a watch.
    """
    whole, weight = sum(units), sum(shares)
    if not whole:
        return 1.0
    expected = [whole * share / weight for share in shares]
    square = sum((seen - e) ** 2 / e for seen, e in zip(units, expected, strict=True))
    return chi_square_tail(square, len(units) - 1)


def chi_square_tail(square: float, freedom: int) -> float:
    """Probability that a chi-square variable with `freedom` degrees exceeds `square`.

    Upper incomplete gamma function by its recurrence Q(a + 1, x) = Q(a, x) + x^a e^-x / Gamma(a + 1)
    from a = 1/2 or 1 (Abramowitz and Stegun 6.5.21).
    """
    x = square / 2
    if x <= 0:
        return 1.0
    a, tail = (1.0, math.exp(-x)) if freedom % 2 == 0 else (0.5, math.erfc(math.sqrt(x)))
    while a < freedom / 2:
        tail += math.exp(a * math.log(x) - x - math.lgamma(a + 1))
        a += 1
    return tail


def _crossing(falls: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function reaches 0, by bisection."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if falls(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
