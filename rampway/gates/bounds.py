"""Exact and score bounds and tests for rates and paired differences, looked at once.

None of them has a look-by-look budget: a verdict on live counts comes from the engine instead.
"""

import math
from collections.abc import Callable, Sequence
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


def mcnemar_mid_p(regressed: int, improved: int) -> float:
    """One-sided mid-p McNemar: what was seen counts half; 1/2 when no pair changed.

    Nearer to its level than the exact form on average, but not always below it. Fagerland, Lydersen
    & Laake 2013, BMC Medical Research Methodology 13:91.
    """
    changed = regressed + improved
    law = binomial(changed, 0.5)
    at = improved - law.offset
    seen = float(law.p[at]) if 0 <= at < law.p.size else 0.0
    return binomial_tail_below(improved, changed, 0.5) - seen / 2


def holm(ps: Sequence[float]) -> list[float]:
    """The probabilities of a family of tests, adjusted for how many there are, in their order.

    The chance that any true null hypothesis gets an adjusted p under `level` is at most `level`,
    however the tests depend on each other. Holm 1979, Scandinavian Journal of Statistics 6:65-70.
    """
    adjusted = [1.0] * len(ps)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = highest
    return adjusted


def wilson_interval(bad: int, units: int, level: float) -> tuple[float, float]:
    """Score interval of one rate; `level` is the part outside, both sides together. Wilson 1927."""
    z = normal_quantile(1 - level / 2)
    rate = bad / units
    middle = rate + z * z / (2 * units)
    reach = z * math.sqrt(rate * (1 - rate) / units + (z / (2 * units)) ** 2)
    whole = 1 + z * z / units
    return max(0.0, (middle - reach) / whole), min(1.0, (middle + reach) / whole)


def newcombe_paired_interval(
    both: int, improved: int, regressed: int, neither: int, level: float
) -> tuple[float, float]:
    """Interval for the difference of paired proportions, (improved - regressed) / pairs.

    Wilson's intervals of both columns, squared and added with their correlation, the correlation
    corrected for continuity: method 10 of Newcombe 1998, Statistics in Medicine 17:2635-2650. In
    closed form, and close to Tango's, which the reports print.
    """
    pairs = both + improved + regressed + neither
    old, new = (both + regressed) / pairs, (both + improved) / pairs
    old_low, old_high = wilson_interval(both + regressed, pairs, level)
    new_low, new_high = wilson_interval(both + improved, pairs, level)
    likeness = _likeness(both, improved, regressed, neither)

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * likeness * a * b + b * b))

    low = new - old - reach(new - new_low, old_high - old)
    high = new - old + reach(new_high - new, old - old_low)
    return max(-1.0, low), min(1.0, high)


def _likeness(both: int, improved: int, regressed: int, neither: int) -> float:
    """Correlation of the columns, half a pair per pair nearer to 0 when it is positive."""
    pairs = both + improved + regressed + neither
    margins = (both + improved) * (regressed + neither) * (both + regressed) * (improved + neither)
    if not margins:
        return 0.0
    product = float(both * neither - improved * regressed)
    if product > 0:
        product = max(0.0, product - pairs / 2)
    return product / math.sqrt(margins)


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
