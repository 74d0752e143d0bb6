"""Compares two sets of measurements by their order: percentiles, Mann-Whitney U, Hodges-Lehmann shift."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rampway.gates.bounds import normal_quantile
from rampway.gates.engine import FloatArray
from rampway.gates.proportions import two_sided

BUCKET_GROWTH = 1.02  # bucket k holds [1.02**k, 1.02**(k+1)) milliseconds
EXACT_BELOW = 50  # smaller arms without ties get the exact law of U
_BUCKET_TIMEOUT = 20_000  # from here on a bucket is no latency, but "never"
_PAIRS_DIRECT = 1_000_000  # more differences than these are counted, not listed
_BISECTIONS = 64

IntArray = npt.NDArray[np.int64]


class Sample(NamedTuple):
    """Distinct measurements in rising order and how often each was seen; a time-out is infinite."""

    values: FloatArray
    counts: IntArray

    @property
    def size(self) -> int:
        """How many measurements there are."""
        return int(self.counts.sum())


class RankTest(NamedTuple):
    """Mann-Whitney U of two samples; `u` counts the pairs in which the first one is the larger.

    `p` is two-sided. `chance` is u / (n m): how often a measurement of the first sample is larger than
    one of the second. `z` is None where the law of U was exact.
    """

    u: float
    p: float
    chance: float
    z: float | None

    @property
    def exact(self) -> bool:
        """The probability is that of the exact law, not of a normal one."""
        return self.z is None


class Shift(NamedTuple):
    """By how much the first sample is larger, in its unit, with an interval; infinite by time-outs."""

    estimate: float
    low: float
    high: float


def sample_of(values: Iterable[float]) -> Sample:
    """A sample of raw measurements. Raises ValueError for NaN; infinity is a time-out."""
    array = np.asarray(list(values), dtype=np.float64)
    if np.isnan(array).any():
        raise ValueError("a measurement is not a number; leave out what was not measured")
    distinct, counts = np.unique(array, return_counts=True)
    return Sample(distinct, counts.astype(np.int64))


def sample_of_buckets(units_by_bucket: Mapping[int, int]) -> Sample:
    """A sample of log buckets: bucket k holds `[1.02**k, 1.02**(k+1))` ms and stands for its middle.

    The middle is the geometric one, 1.02**(k + 1/2), at most 1 % from any latency in the bucket.
    Raises ValueError for a negative count.
    """
    if any(units < 0 for units in units_by_bucket.values()):
        raise ValueError("a latency bucket holds a negative number of units")
    buckets = sorted(bucket for bucket, units in units_by_bucket.items() if units)
    middles = [_middle_ms(bucket) for bucket in buckets]
    values, places = np.unique(np.asarray(middles, dtype=np.float64), return_inverse=True)
    counts = np.zeros(values.size, dtype=np.int64)
    np.add.at(counts, places, [units_by_bucket[bucket] for bucket in buckets])
    return Sample(values, counts)


def percentile(sample: Sample, quantile: float) -> float:
    """The smallest measurement that at least `quantile` of all do not exceed.

    The inverse of the empirical distribution: definition 1 of Hyndman and Fan 1996, American
    Statistician 50:361-365, the one by which latency thresholds are frozen. NaN of nothing.
    """
    size = sample.size
    if not size:
        return math.nan
    # 1e-9: 0.95 * 20 is the nineteenth measurement, whatever the float says.
    enough = max(1, math.ceil(quantile * size - 1e-9 * size))
    return float(sample.values[int(np.searchsorted(np.cumsum(sample.counts), enough))])


def mann_whitney(first: Sample, second: Sample) -> RankTest:
    """Is the first sample larger or smaller than the second? Ties count one half.

    Mann and Whitney 1947. Exact where both have fewer than 50 measurements and none is tied;
    otherwise normal with the variance corrected for ties (Lehmann 1975, page 20) and a continuity
    correction of 1/2. A sample of nothing tells nothing: p = 1.
    """
    n, m = first.size, second.size
    if not n or not m:
        return RankTest(0.0, 1.0, 0.5, 0.0)
    u = _u(first, second)
    chance = u / (n * m)
    if _exact(first, second):
        law = _law_of_u(n, m)
        smaller = int(min(u, n * m - u))
        return RankTest(u, min(1.0, 2 * float(law[: smaller + 1].sum())), chance, None)
    z = _z_of_u(u, first, second)
    return RankTest(u, two_sided(z), chance, z)


def hodges_lehmann(first: Sample, second: Sample, level: float = 0.05) -> Shift:
    """The median of all differences, first less second, with the interval that goes with U.

    Hodges and Lehmann 1963; the interval's ends are order statistics of the differences (Hollander
    and Wolfe 1999, section 4.3), with the exact law of U or its normal one as in `mann_whitney`.
    `level` is the part outside, both sides together. Raises ValueError for an empty sample.
    """
    n, m = first.size, second.size
    if not n or not m:
        raise ValueError("a shift needs measurements of both arms")
    pairs = n * m
    outside = _pairs_outside(first, second, level)
    differences = _Differences(first, second)
    middle = differences.at((pairs + 1) // 2), differences.at(pairs // 2 + 1)
    return Shift(
        estimate=sum(middle) / 2,
        low=differences.at(outside),
        high=differences.at(pairs + 1 - outside),
    )


def _middle_ms(bucket: int) -> float:
    return BUCKET_GROWTH ** (bucket + 0.5) if bucket < _BUCKET_TIMEOUT else math.inf


def _u(first: Sample, second: Sample) -> float:
    below = np.concatenate(([0], np.cumsum(second.counts)))
    smaller = below[np.searchsorted(second.values, first.values, side="left")]
    not_larger = below[np.searchsorted(second.values, first.values, side="right")]
    return float((first.counts * (smaller + not_larger)).sum()) / 2


def _exact(first: Sample, second: Sample) -> bool:
    few = max(first.size, second.size) < EXACT_BELOW
    return few and _distinct(first, second) == first.size + second.size


def _distinct(first: Sample, second: Sample) -> int:
    return int(np.unique(np.concatenate((first.values, second.values))).size)


def _law_of_u(n: int, m: int) -> FloatArray:
    """Probabilities of U = 0 ... n m without ties: Gaussian binomial coefficients over C(n + m, n)."""
    counts = [1] + [0] * (n * m)
    # Whole numbers, as the division cancels all but a few digits of large ones.
    for i in range(1, n + 1):
        for u in range(n * m, m + i - 1, -1):
            counts[u] -= counts[u - m - i]
        for u in range(i, n * m + 1):
            counts[u] += counts[u - i]
    whole = math.comb(n + m, n)
    return np.asarray([count / whole for count in counts], dtype=np.float64)


def _z_of_u(u: float, first: Sample, second: Sample) -> float:
    sd = _sd_of_u(first, second)
    excess = u - first.size * second.size / 2
    return math.copysign(max(0.0, abs(excess) - 0.5), excess) / sd if sd > 0 else 0.0


def _sd_of_u(first: Sample, second: Sample) -> float:
    n, m = first.size, second.size
    _, places = np.unique(np.concatenate((first.values, second.values)), return_inverse=True)
    counts = np.concatenate((first.counts, second.counts)).astype(np.float64)
    ties = np.bincount(places, weights=counts)
    whole = float(n + m)
    tied = float((ties**3 - ties).sum()) / (whole * (whole - 1))
    return math.sqrt(max(0.0, n * m / 12 * (whole + 1 - tied)))


def _pairs_outside(first: Sample, second: Sample, level: float) -> int:
    """Which smallest difference is the lower end of the interval, counted from 1."""
    n, m = first.size, second.size
    if _exact(first, second):
        heads = np.cumsum(_law_of_u(n, m))
        return max(1, int(np.searchsorted(heads, level / 2, side="left")))
    reach = normal_quantile(1 - level / 2) * _sd_of_u(first, second)
    return max(1, math.floor(n * m / 2 - reach))


class _Differences:
    """All differences of two samples, first less second, by rank."""

    def __init__(self, first: Sample, second: Sample) -> None:
        both = np.concatenate((first.values, second.values))
        finite = both[np.isfinite(both)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        self._spread = high - low
        # A time-out stands so far out that any difference with one is told from all others.
        never = high + 2 * self._spread + 1
        self._first = Sample(np.minimum(first.values, never), first.counts)
        self._second = Sample(np.minimum(second.values, never), second.counts)
        self._listed: Sample | None = None
        if self._first.values.size * self._second.values.size <= _PAIRS_DIRECT:
            self._listed = _listed(self._first, self._second)

    def at(self, rank: int) -> float:
        """The difference of this rank, counted from 1."""
        found = self._in_list(self._listed, rank) if self._listed else self._by_counting(rank)
        if abs(found) > self._spread:
            return math.copysign(math.inf, found)
        return found

    @staticmethod
    def _in_list(listed: Sample, rank: int) -> float:
        return float(listed.values[int(np.searchsorted(listed.counts, rank))])

    def _by_counting(self, rank: int) -> float:
        low = float(self._first.values[0] - self._second.values[-1])
        high = float(self._first.values[-1] - self._second.values[0])
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if self._not_above(middle) >= rank:
                high = middle
            else:
                low = middle
        return high

    def _not_above(self, difference: float) -> int:
        below = np.concatenate(([0], np.cumsum(self._second.counts)))
        at_least = self._first.values - difference
        larger = below[-1] - below[np.searchsorted(self._second.values, at_least, side="left")]
        return int((self._first.counts * larger).sum())


def _listed(first: Sample, second: Sample) -> Sample:
    """The differences in rising order; `counts` are cumulated."""
    differences = (first.values[:, None] - second.values[None, :]).ravel()
    weights = (first.counts[:, None] * second.counts[None, :]).ravel()
    order = np.argsort(differences, kind="stable")
    return Sample(differences[order], np.cumsum(weights[order]))
