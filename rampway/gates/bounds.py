"""Exact and score bounds for rates and paired differences that need no look-by-look budget."""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from rampway.gates.engine import binomial

_BISECTIONS = 60  # halves a probability to well under the nine digits that a record keeps


def clopper_pearson_upper(bad: int, units: int, level: float) -> float:
    """Largest rate that `bad` or fewer of `units` do not refute at one-sided `level`.

    Clopper & Pearson 1934. No units refute nothing: 1.
    """
    if bad >= units:
        return 1.0
    return _root(lambda rate: binomial_tail_below(bad, units, rate) - level, 0.0, 1.0)


def most_bad_below(units: int, rate: float, level: float) -> int:
    """Largest count whose Clopper-Pearson upper bound is under `rate`; -1 when even 0 is too many."""
    law = binomial(units, rate)
    return law.offset + int(np.searchsorted(np.cumsum(law.p), level, side="left")) - 1


def units_for_bound(bad: int, rate: float, level: float) -> int:
    """Fewest units of which `bad` are bad that put the Clopper-Pearson upper bound under `rate`."""
    enough = bad + 1
    while binomial_tail_below(bad, enough, rate) >= level:
        enough *= 2
    short = enough // 2
    while enough - short > 1:
        middle = (enough + short) // 2
        if binomial_tail_below(bad, middle, rate) >= level:
            short = middle
        else:
            enough = middle
    return enough


def binomial_tail_below(bad: int, units: int, rate: float) -> float:
    """Probability of `bad` or fewer of `units` at `rate`."""
    law = binomial(units, rate)
    return min(1.0, float(law.p[: max(0, bad - law.offset + 1)].sum()))


def mcnemar_p(regressed: int, improved: int) -> float:
    """One-sided exact McNemar: how likely so many of the changed pairs are losses; 1 when none.

    McNemar 1947, in its exact binomial form.
    """
    changed = regressed + improved
    return min(1.0, binomial_tail_below(improved, changed, 0.5)) if changed else 1.0


def tango_interval(
    improved: float, regressed: float, pairs: float, level: float
) -> tuple[float, float]:
    """Score interval for the difference of paired proportions, (improved - regressed) / pairs.

    `level` is the part outside, both sides together: 0.05 gives 95 %. Tango 1998, Statistics in
    Medicine 17:891-908. Counts may be fractions, which serves planning.
    """
    z = normal_quantile(1 - level / 2)
    difference = (improved - regressed) / pairs

    def score(delta: float) -> float:
        a = 2 * pairs
        b = -improved - regressed + (2 * pairs - improved + regressed) * delta
        c = -regressed * delta * (1 - delta)
        q = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        variance = pairs * (2 * q + delta * (1 - delta))
        gap = improved - regressed - pairs * delta
        if variance <= 0:
            return math.copysign(math.inf, gap) if gap else 0.0
        return gap / math.sqrt(variance)

    low = _root(lambda delta: z - score(delta), -1.0, difference)
    high = _root(lambda delta: -z - score(delta), difference, 1.0)
    return low, high


def normal_quantile(p: float) -> float:
    """Quantile of the standard normal law."""
    return NormalDist().inv_cdf(p)


def _root(rises_or_falls: Callable[[float], float], low: float, high: float) -> float:
    """Where a monotone function changes its sign between two points, by bisection."""
    left_positive = rises_or_falls(low) > 0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if (rises_or_falls(middle) > 0) is left_positive:
            low = middle
        else:
            high = middle
    return (low + high) / 2
