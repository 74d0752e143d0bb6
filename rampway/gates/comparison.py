"""Compares the two arms of an A/B once it is over: the facts of the report, and what to do next.

Nothing here watches: it is one look at the end of a time that was fixed before the start.
"""

from collections.abc import Sequence
from enum import StrEnum
from math import isfinite

import numpy as np
from pydantic import Field, model_validator

from rampway.gates.bounds import holm
from rampway.gates.facts import Fact
from rampway.gates.phrases import (
    counted,
    percent,
    points,
    probability,
    signed_points,
    whole_percent,
)
from rampway.gates.plans import Probability
from rampway.gates.proportions import (
    Hits,
    newcombe_hybrid_interval,
    sample_ratio_p,
    two_proportion_z,
)
from rampway.gates.ranks import (
    Sample,
    hodges_lehmann,
    mann_whitney,
    percentile,
    sample_of,
    sample_of_buckets,
)
from rampway.gates.verdicts import significant

CORRECT = "correct"
SLOW = "slow"  # over the baseline's p95
SLOW_QUANTILE = 0.95
UNFAIR_BELOW = 0.001  # a sample ratio less likely than this makes the comparison unfair


class Recommendation(StrEnum):
    """What the comparison says to do with the candidate."""

    PROMOTE = "promote"
    HOLD = "hold"
    RETRAIN = "retrain"


class Reading(StrEnum):
    """What one metric says about the candidate."""

    BETTER = "better"
    NOT_WORSE = "not worse"  # a loss beyond the margin is excluded
    UNCLEAR = "unclear"
    WORSE = "worse"


class GradersDiffer(ValueError):
    """The arms were graded by different graders, so their scores cannot be compared."""


class Portion(Fact):
    """`hits` of `units` have the property that is counted."""

    hits: int = Field(ge=0)
    units: int = Field(ge=0)

    @model_validator(mode="after")
    def _possible(self) -> "Portion":
        if self.hits > self.units:
            raise ValueError(f"{self.hits:,} of {self.units:,} units is more than all of them")
        return self

    @property
    def rate(self) -> float:
        """Hits per unit, 0 when there is none."""
        return self.hits / self.units if self.units else 0.0


class ArmResults(Fact):
    """What one arm did with its share of the traffic, each unit counted once.

    `correct` is how many of the graded answers were right; `by` the same per column and value (tense,
    person, verb). `bad` counts bad units of `units` per rate (error, refusal). Latencies in
    milliseconds are given raw, or as `latency_buckets`: units per log bucket, where bucket k holds
    `[1.02**k, 1.02**(k+1))`. `timeouts` are slower than any latency. `cost` is the arm's whole bill.
    Give one unit per user where users stick to an arm: their requests are not independent.
    """

    artifact: str
    grader: str = ""
    units: int = Field(ge=0)
    correct: Portion
    bad: dict[str, int] = {}
    by: dict[str, dict[str, Portion]] = {}
    latency_ms: tuple[float, ...] = ()
    latency_buckets: dict[int, int] = {}
    timeouts: int = Field(default=0, ge=0)
    cost: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> "ArmResults":
        for rate, bad in self.bad.items():
            if not 0 <= bad <= self.units:
                raise ValueError(f"{rate}: {bad:,} of {self.units:,} units cannot be bad")
        if self.latency_ms and self.latency_buckets:
            raise ValueError("latencies are given raw or in buckets, not both")
        if any(units < 0 for units in self.latency_buckets.values()):
            raise ValueError("a latency bucket holds a negative number of units")
        return self

    @property
    def latencies(self) -> Sample:
        """All latencies with the time-outs as infinite ones."""
        if self.latency_buckets:
            measured = sample_of_buckets(self.latency_buckets)
            ends = sample_of((float("inf"),) * self.timeouts)
            return _joined(measured, ends)
        return sample_of((*self.latency_ms, *(float("inf"),) * self.timeouts))


class ComparisonRule(Fact):
    """When a candidate is worse, and how much worse is harmless; margins are fractions, not percent.

    `margin` is the loss of accuracy to rule out, `harm_margin` the rise of a bad rate, `slow_margin`
    the rise of the part over the baseline's p95 (5 % of the baseline is). `level` is the two-sided
    one of every interval, and of all metrics together (Holm 1979).
    """

    margin: Probability = 0.01
    harm_margin: Probability = 0.005
    slow_margin: Probability = 0.025
    level: Probability = 0.05

    @property
    def words(self) -> str:
        """The rule as the report states it."""
        return (
            f"promote: a loss of {percent(self.margin)} of accuracy is excluded at "
            f"{whole_percent(1 - self.level)} and nothing is worse. retrain: something is worse, p < "
            f"{self.level:g} after Holm, and by more than its margin is not excluded. "
            "hold: neither can be told"
        )


class RateCompared(Fact):
    """One rate in both arms; `difference` is candidate less baseline, `low` to `high` its interval.

    `z` is the pooled two-proportion z, `p` its two-sided probability, `p_holm` the same adjusted for
    all rates (for all buckets in the table of buckets). The interval is Newcombe's hybrid score one.
    """

    metric: str
    more_is_better: bool
    baseline: Portion
    candidate: Portion
    difference: float
    low: float
    high: float
    z: float
    p: float
    p_holm: float
    margin: float
    reading: Reading


class BucketCompared(Fact):
    """Accuracy among the answers whose `column` is `value`."""

    column: str
    value: str
    rate: RateCompared


class Percentiles(Fact):
    """Latencies in milliseconds that a half, 95 % and 99 % of the units do not exceed.

    Each is the smallest measured latency of which that is true; None when it is a time-out.
    """

    units: int
    p50: float | None
    p95: float | None
    p99: float | None


class LatencyCompared(Fact):
    """Latency in both arms: percentiles, Mann-Whitney U, and the Hodges-Lehmann shift in ms.

    `chance_slower` is how often a candidate request takes longer than a baseline one, one half if
    nothing differs. `shift_ms` with its interval is None where it is a time-out. `bucketed`: the
    latencies were counted in buckets of 2 %, so every figure in ms is exact to 1 %.
    """

    baseline: Percentiles
    candidate: Percentiles
    u: float
    z: float | None
    p: float
    chance_slower: float
    shift_ms: float | None
    shift_low_ms: float | None
    shift_high_ms: float | None
    bucketed: bool


class CostCompared(Fact):
    """What a correct answer costs in each arm; None where there is none, or no bill."""

    baseline_per_correct: float | None
    candidate_per_correct: float | None
    ratio: float | None  # candidate over baseline


class ArmsCompared(Fact):
    """The facts of an A/B report, and the recommendation with the rule it follows."""

    baseline: str
    candidate: str
    correct: RateCompared
    harms: tuple[RateCompared, ...]
    buckets: tuple[BucketCompared, ...]
    latency: LatencyCompared | None
    cost: CostCompared | None
    sample_ratio_p: float | None
    recommendation: Recommendation
    why: str
    rule: str

    @property
    def rates(self) -> tuple[RateCompared, ...]:
        """Every rate of the comparison, accuracy first."""
        return (self.correct, *self.harms)


def compare_arms(
    baseline: ArmResults,
    candidate: ArmResults,
    rule: ComparisonRule | None = None,
    *,
    candidate_share: float | None = None,
) -> ArmsCompared:
    """Compare two arms that served at the same time.

    `candidate_share` is the part of the units that the split gave to the candidate (a fraction);
    where it is known, the sample ratio is tested too. Raises GradersDiffer when the arms name
    different graders, ValueError when they count different rates.
    """
    if baseline.grader != candidate.grader:
        raise GradersDiffer(
            f"the baseline was graded by {baseline.grader or 'an unnamed grader'}, the candidate by "
            f"{candidate.grader or 'an unnamed grader'}; grade both with one of them"
        )
    if baseline.bad.keys() != candidate.bad.keys():
        alone = ", ".join(sorted(baseline.bad.keys() ^ candidate.bad.keys()))
        raise ValueError(f"only one of the arms counts {alone}; count it in both, or in none")
    rule = rule or ComparisonRule()
    correct, *harms = _rates(baseline, candidate, rule)
    buckets = _buckets(baseline, candidate, rule)
    ratio_p = None
    if candidate_share is not None and 0 < candidate_share < 1:
        units, shares = (baseline.units, candidate.units), (1 - candidate_share, candidate_share)
        ratio_p = significant(sample_ratio_p(units, shares))
    recommendation, why = _recommend(correct, harms, buckets, ratio_p)
    return ArmsCompared(
        baseline=baseline.artifact,
        candidate=candidate.artifact,
        correct=correct,
        harms=tuple(harms),
        buckets=buckets,
        latency=_latency(baseline, candidate, rule),
        cost=_cost(baseline, candidate),
        sample_ratio_p=ratio_p,
        recommendation=recommendation,
        why=why,
        rule=rule.words,
    )


class _Pair(Fact):
    """A rate of both arms before it is weighed with the others."""

    metric: str
    more_is_better: bool
    margin: float
    baseline: Portion
    candidate: Portion


def _rates(
    baseline: ArmResults, candidate: ArmResults, rule: ComparisonRule
) -> tuple[RateCompared, ...]:
    pairs = [_correct(baseline.correct, candidate.correct, rule)]
    pairs.extend(
        _Pair(
            metric=rate,
            more_is_better=False,
            margin=rule.harm_margin,
            baseline=Portion(hits=baseline.bad[rate], units=baseline.units),
            candidate=Portion(hits=candidate.bad[rate], units=candidate.units),
        )
        for rate in sorted(baseline.bad)
    )
    slow = _slow(baseline.latencies, candidate.latencies, rule)
    return _weighed([*pairs, slow] if slow else pairs, rule)


def _correct(baseline: Portion, candidate: Portion, rule: ComparisonRule) -> _Pair:
    return _Pair(
        metric=CORRECT,
        more_is_better=True,
        margin=rule.margin,
        baseline=baseline,
        candidate=candidate,
    )


def _slow(baseline: Sample, candidate: Sample, rule: ComparisonRule) -> _Pair | None:
    """Units over the baseline's own p95.

    Under no difference the variance of the candidate's part over an estimated quantile is that of two
    proportions, so the same z holds for it.
    """
    if not baseline.size or not candidate.size:
        return None
    limit_ms = percentile(baseline, SLOW_QUANTILE)
    if not isfinite(limit_ms):
        return None  # nothing is slower than a time-out
    return _Pair(
        metric=SLOW,
        more_is_better=False,
        margin=rule.slow_margin,
        baseline=_over(baseline, limit_ms),
        candidate=_over(candidate, limit_ms),
    )


def _over(sample: Sample, limit_ms: float) -> Portion:
    return Portion(hits=int(sample.counts[sample.values > limit_ms].sum()), units=sample.size)


def _buckets(
    baseline: ArmResults, candidate: ArmResults, rule: ComparisonRule
) -> tuple[BucketCompared, ...]:
    nothing = Portion(hits=0, units=0)
    keys: list[tuple[str, str]] = []
    pairs: list[_Pair] = []
    for column in sorted(baseline.by.keys() | candidate.by.keys()):
        old, new = baseline.by.get(column, {}), candidate.by.get(column, {})
        for value in sorted(old.keys() | new.keys()):
            keys.append((column, value))
            pairs.append(_correct(old.get(value, nothing), new.get(value, nothing), rule))
    rates = _weighed(pairs, rule)
    return tuple(
        BucketCompared(column=column, value=value, rate=rate)
        for (column, value), rate in zip(keys, rates, strict=True)
    )


def _weighed(pairs: Sequence[_Pair], rule: ComparisonRule) -> tuple[RateCompared, ...]:
    tests = [two_proportion_z(_hits(pair.candidate), _hits(pair.baseline)) for pair in pairs]
    adjusted = holm([test.p for test in tests])
    rates: list[RateCompared] = []
    for pair, test, p_holm in zip(pairs, tests, adjusted, strict=True):
        low, high = newcombe_hybrid_interval(
            _hits(pair.candidate), _hits(pair.baseline), rule.level
        )
        difference = pair.candidate.rate - pair.baseline.rate
        rates.append(
            RateCompared(
                metric=pair.metric,
                more_is_better=pair.more_is_better,
                baseline=pair.baseline,
                candidate=pair.candidate,
                difference=significant(difference),
                low=significant(low),
                high=significant(high),
                z=significant(test.z),
                p=significant(test.p),
                p_holm=significant(p_holm),
                margin=pair.margin,
                reading=_reading(pair, difference, (low, high), differs=p_holm < rule.level),
            )
        )
    return tuple(rates)


def _hits(portion: Portion) -> Hits:
    return Hits(portion.hits, portion.units)


def _reading(
    pair: _Pair, difference: float, interval: tuple[float, float], *, differs: bool
) -> Reading:
    loss = -difference if pair.more_is_better else difference
    largest_loss = -interval[0] if pair.more_is_better else interval[1]
    if differs and loss < 0:
        return Reading.BETTER
    if largest_loss < pair.margin:
        return Reading.NOT_WORSE
    return Reading.WORSE if differs else Reading.UNCLEAR


def _recommend(
    correct: RateCompared,
    harms: Sequence[RateCompared],
    buckets: Sequence[BucketCompared],
    ratio_p: float | None,
) -> tuple[Recommendation, str]:
    if ratio_p is not None and ratio_p < UNFAIR_BELOW:
        return Recommendation.HOLD, (
            f"the arms did not get the units that the split promises ({probability(ratio_p)}), so "
            "the comparison is not fair; find out which units are missing"
        )
    worse = [rate for rate in (correct, *harms) if rate.reading is Reading.WORSE]
    if worse:
        return Recommendation.RETRAIN, "; ".join(_worded(rate) for rate in worse)
    lost = [bucket for bucket in buckets if bucket.rate.reading is Reading.WORSE]
    if lost:
        first = min(lost, key=lambda bucket: bucket.rate.p)
        return Recommendation.HOLD, (
            f"worse where {first.column} is {first.value} ({_worded(first.rate)})"
            + (f" and in {counted(len(lost) - 1, 'more bucket')}" if len(lost) > 1 else "")
        )
    if correct.reading is Reading.UNCLEAR:
        return Recommendation.HOLD, (
            f"{_worded(correct)}: a loss of {percent(correct.margin)} is not excluded"
        )
    return Recommendation.PROMOTE, f"{_worded(correct)}; nothing is worse"


def _worded(rate: RateCompared) -> str:
    """`correct 84.0 % against 86.1 %, -2.1 pp, -3.0 to -1.2, p < 0.001`."""
    return (
        f"{rate.metric} {percent(rate.candidate.rate)} against {percent(rate.baseline.rate)}, "
        f"{points(rate.difference)}, {signed_points(rate.low)} to {signed_points(rate.high)}, "
        f"{probability(rate.p_holm)}"
    )


def _latency(
    baseline: ArmResults, candidate: ArmResults, rule: ComparisonRule
) -> LatencyCompared | None:
    old, new = baseline.latencies, candidate.latencies
    if not old.size or not new.size:
        return None
    test = mann_whitney(new, old)
    shift = hodges_lehmann(new, old, rule.level)
    return LatencyCompared(
        baseline=_percentiles(old),
        candidate=_percentiles(new),
        u=significant(test.u),
        z=None if test.z is None else significant(test.z),
        p=significant(test.p),
        chance_slower=significant(test.chance),
        shift_ms=_finite(shift.estimate),
        shift_low_ms=_finite(shift.low),
        shift_high_ms=_finite(shift.high),
        bucketed=bool(baseline.latency_buckets or candidate.latency_buckets),
    )


def _percentiles(sample: Sample) -> Percentiles:
    return Percentiles(
        units=sample.size,
        p50=_finite(percentile(sample, 0.50)),
        p95=_finite(percentile(sample, 0.95)),
        p99=_finite(percentile(sample, 0.99)),
    )


def _finite(value: float) -> float | None:
    return significant(value) if isfinite(value) else None


def _cost(baseline: ArmResults, candidate: ArmResults) -> CostCompared | None:
    if baseline.cost is None and candidate.cost is None:
        return None
    old, new = _per_correct(baseline), _per_correct(candidate)
    return CostCompared(
        baseline_per_correct=old,
        candidate_per_correct=new,
        ratio=significant(new / old) if old and new is not None else None,
    )


def _per_correct(arm: ArmResults) -> float | None:
    if arm.cost is None or not arm.correct.hits:
        return None
    return significant(arm.cost / arm.correct.hits)


def _joined(first: Sample, second: Sample) -> Sample:
    values, places = np.unique(np.concatenate((first.values, second.values)), return_inverse=True)
    counts = np.zeros(values.size, dtype=np.int64)
    np.add.at(counts, places, np.concatenate((first.counts, second.counts)))
    return Sample(values, counts)
