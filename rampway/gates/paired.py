"""The loss between two columns of scores on the same cases, with its interval and probability."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rampway.gates.bounds import mcnemar_p, tango_interval
from rampway.gates.engine import FloatArray

INTERVAL_LEVEL = 0.05  # 95 %, both sides together
_RULE_OF_THREE = 3.0
_NO_SPREAD = 1e-12
_CASES_MAX = 10**9


@dataclass(frozen=True, slots=True)
class PairedLoss:
    """The mean difference, candidate less baseline, and how sure it is.

    `units` are the independent ones: clusters, else cases. `p_loss` is the probability of a loss at
    least this large if there were none, `p_gain` of a gain. `cases_needed` are missing for the lower
    end to clear the margin if nothing changes, None when it never will. `undecidable` says why
    nothing can be told.
    """

    old_mean: float
    new_mean: float
    difference: float
    low: float
    high: float
    p_loss: float
    p_gain: float
    improved: int
    regressed: int
    units: int
    cases_needed: int | None
    undecidable: str | None = None


def paired_loss(
    old: Sequence[float], new: Sequence[float], clusters: Sequence[int] | None, *, margin: float
) -> PairedLoss:
    """Compare two non-empty columns of scores from 0 to 1, in the same order of cases.

    Right or wrong without clusters: exact McNemar, Tango's score interval. Otherwise a t-test on the
    mean difference with the variance between clusters (Liang & Zeger 1986; a case is its own cluster
    when there are none, which is the paired t-test), on one degree of freedom less than clusters.
    """
    before, after = np.asarray(old, dtype=np.float64), np.asarray(new, dtype=np.float64)
    differences = after - before
    improved = int(np.count_nonzero(differences > 0))
    regressed = int(np.count_nonzero(differences < 0))
    if clusters is None and _right_or_wrong(before) and _right_or_wrong(after):
        test = _by_sign(improved, regressed, differences.size, margin)
    else:
        test = _by_cluster(differences, clusters, margin)
    return PairedLoss(
        old_mean=float(before.mean()),
        new_mean=float(after.mean()),
        difference=float(differences.mean()),
        low=max(-1.0, test.low),
        high=min(1.0, test.high),
        p_loss=test.p_loss,
        p_gain=test.p_gain,
        improved=improved,
        regressed=regressed,
        units=test.units,
        cases_needed=test.cases_needed,
        undecidable=test.undecidable,
    )


@dataclass(frozen=True, slots=True)
class _Test:
    units: int
    low: float = -1.0
    high: float = 1.0
    p_loss: float = 1.0
    p_gain: float = 1.0
    cases_needed: int | None = None
    undecidable: str | None = None


def _by_sign(improved: int, regressed: int, cases: int, margin: float) -> _Test:
    low, high = tango_interval(improved, regressed, cases, INTERVAL_LEVEL)
    return _Test(
        units=cases,
        low=low,
        high=high,
        p_loss=mcnemar_p(regressed, improved),
        p_gain=mcnemar_p(improved, regressed),
        cases_needed=_cases_for_tango(improved / cases, regressed / cases, cases, margin),
    )


def _cases_for_tango(improved: float, regressed: float, cases: int, margin: float) -> int | None:
    """Cases missing at these rates of change; None when the loss itself is beyond the margin."""
    if improved - regressed <= -margin:
        return None

    def clears(count: int) -> bool:
        low, _ = tango_interval(improved * count, regressed * count, count, INTERVAL_LEVEL)
        return low > -margin

    if clears(cases):
        return 0
    short, enough = cases, 2 * cases
    while not clears(enough):
        if enough > _CASES_MAX:
            return None
        short, enough = enough, 2 * enough
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if clears(middle) else (middle, enough)
    return enough - cases


def _by_cluster(differences: FloatArray, clusters: Sequence[int] | None, margin: float) -> _Test:
    cases = differences.size
    residues = differences - differences.mean()
    sums = residues
    if clusters is not None:
        _, codes = np.unique(np.asarray(clusters), return_inverse=True)
        sums = np.bincount(codes, weights=residues)
    units = sums.size
    if units < 2:  # noqa: PLR2004 - one unit has no spread
        what = "case" if clusters is None else "cluster of cases"
        return _Test(units, undecidable=f"one {what} alone cannot show how much they vary")
    error = math.sqrt(units / (units - 1) * float(sums @ sums)) / cases
    mean = float(differences.mean())
    if error < _NO_SPREAD:
        return _without_spread(mean, units, cases, margin)
    # scipy loads here because only offline gates of graded or clustered cases need it.
    from scipy.special import stdtr, stdtrit  # noqa: PLC0415

    freedom = units - 1
    reach = float(stdtrit(freedom, 1 - INTERVAL_LEVEL / 2)) * error
    room = mean + margin
    return _Test(
        units=units,
        low=mean - reach,
        high=mean + reach,
        p_loss=float(stdtr(freedom, mean / error)),
        p_gain=float(stdtr(freedom, -mean / error)),
        cases_needed=_missing(cases, (reach / room) ** 2) if room > 0 else None,
    )


def _without_spread(mean: float, units: int, cases: int, margin: float) -> _Test:
    """Every unit changed alike: the sign test over units, and the rule of three as the interval."""
    reach = min(1.0, _RULE_OF_THREE / units)
    all_alike = 0.5**units
    room = mean + margin
    return _Test(
        units=units,
        low=mean - reach,
        high=mean + reach,
        p_loss=all_alike if mean < -_NO_SPREAD else 1.0,
        p_gain=all_alike if mean > _NO_SPREAD else 1.0,
        cases_needed=_missing(cases, reach / room) if room > 0 else None,
    )


def _missing(cases: int, growth: float) -> int:
    return max(0, math.ceil(cases * (growth - 1)))


def _right_or_wrong(scores: FloatArray) -> bool:
    return bool(np.all((scores == 0) | (scores == 1)))
