"""What a number of units can decide: how many a verdict needs, and the smallest harm they show.

The formulas are the usual normal approximations for two proportions (Fleiss, Levin and Paik 2003,
chapter 4), scaled to what the sequential engine measured: 1.15 for looking often, 14.5 instead of
(1.645 + 2.054)^2 = 13.7 for a PASS with 98 % chance. Where so few bad units are expected that a
normal curve is wrong, exact binomial and hypergeometric tails take their place. `ratio` is k,
baseline units for each candidate unit: (1 - s) / s at share s.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

from rampway.gates.plans import RateGate, Spending

SEQUENTIAL = 1.15  # units that looking often costs over one fixed test
PROVE = 14.5  # units of information for a PASS with 98 % chance, the sequential cost included
BETA = 0.05
CHANCE_TO_PROVE = 0.98
POWER = 0.80
MEDIAN = 0.50
SPENT_BY_HOLD = {Spending.OPEN: 0.8, Spending.POWER: 1.0}
BISECTIONS = 60
EXACT_UNITS = 5_000  # beyond this many units in the smaller arm the normal curve is close enough
CONFIDENCE = 0.95  # of the two-sided interval that an A/B ends with
MUTE_BELOW = 10  # pooled bad units under which the ratio test says nothing

_Z = NormalDist()


def units_to_find(
    baseline_rate: float, candidate_rate: float, alpha: float, power: float, ratio: float
) -> float:
    """Candidate units after which harm from `baseline_rate` to `candidate_rate` is a BREACH.

    1.15 [z(1-alpha) sqrt(pq(1 + 1/k)) + z(power) sqrt(p1 q1 + p0 q0 / k)]^2 / (p1 - p0)^2, where p is
    the pooled rate. Raises ValueError unless the candidate is worse.
    """
    p0, p1, k = baseline_rate, candidate_rate, ratio
    if p1 <= p0:
        raise ValueError(f"a rate of {p1} is no harm against {p0}")
    pooled = (p1 + k * p0) / (1 + k)
    at_null = _Z.inv_cdf(1 - alpha) * math.sqrt(pooled * (1 - pooled) * (1 + 1 / k))
    at_harm = _Z.inv_cdf(power) * math.sqrt(p1 * (1 - p1) + p0 * (1 - p0) / k)
    return SEQUENTIAL * (at_null + at_harm) ** 2 / (p1 - p0) ** 2


def rate_found(
    baseline_rate: float, units: float, alpha: float, power: float, ratio: float
) -> float | None:
    """The smallest candidate rate that this many candidate units show; None: not even failing all."""
    worst = 1 - 1e-9
    if baseline_rate >= worst:
        return None
    return _smallest(
        lambda rate: units_to_find(baseline_rate, rate, alpha, power, ratio) <= units,
        baseline_rate,
        worst,
    )


def rate_found_by_counts(
    baseline_rate: float,
    units: int,
    control_units: int,
    alpha: float,
    power: float,
    tolerance: float,
) -> float | None:
    """As `rate_found`, from exact tails: for arms so small that a handful of bad units decides.

    The boundary is the smallest count whose upper tail under Fisher's noncentral hypergeometric
    distribution at odds `tolerance` is at most `alpha`, given what the baseline does on average;
    the rate is the one whose binomial count reaches it with the wanted power.
    """
    if units < 1 or control_units < 1:
        return None
    expected = round(control_units * baseline_rate)
    boundary = _breach_at(units, control_units, expected, alpha, tolerance)
    if boundary is None:
        return None
    return _smallest(
        lambda rate: _binomial_tail(boundary, units, rate) >= power, baseline_rate, 1.0
    )


def seconds_to_find(
    baseline_rate: float,
    candidate_rate: float,
    gate: RateGate,
    *,
    units_per_second: float,
    ratio: float,
    hold_seconds: float,
    limit_seconds: float,
    power: float = MEDIAN,
) -> float | None:
    """When a candidate this bad has a BREACH with this chance, in evidence time since the step began.

    `units_per_second` are the candidate's. At time t the whole-step boundary may have spent
    (1 - late) alpha a(t); the boundary is that of `rate_found_by_counts` on the units seen by then.
    None when it takes longer than `limit_seconds`.
    """

    def found(seconds: float) -> bool:
        units = int(units_per_second * seconds)
        spendable = gate.alpha * (1 - gate.late) * _spent(gate.spending, seconds / hold_seconds)
        if units < 1:
            return False
        control = int(units * ratio)
        boundary = _breach_at(
            units, control, round(control * baseline_rate), spendable, gate.tolerance
        )
        return boundary is not None and _binomial_tail(boundary, units, candidate_rate) >= power

    # The chance climbs in steps of whole units, so the first doubling that finds brackets the time.
    seconds = 1 / units_per_second if units_per_second > 0 else math.inf
    while not (seconds > limit_seconds or found(seconds)):
        seconds *= 2
    return _smallest(found, 0.0, min(seconds, limit_seconds))


def _spent(spending: Spending, holds: float) -> float:
    from rampway.gates.engine import spent_share  # noqa: PLC0415 - it loads numpy, as below

    return spent_share(spending, holds)


def _breach_at(
    units: int, control_units: int, control_bad: int, alpha: float, tolerance: float
) -> int | None:
    """The smallest candidate count that is a BREACH, by bisection; None when all bad is not enough."""
    low, high = 0, units
    if _upper_tail(units, control_units, control_bad, units, tolerance) > alpha:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _upper_tail(units, control_units, control_bad, middle, tolerance) <= alpha:
            high = middle
        else:
            low = middle
    return high


def _upper_tail(units: int, control_units: int, control_bad: int, bad: int, odds: float) -> float:
    """P(X >= bad) when `bad + control_bad` bad units fall into the arms at this odds ratio."""
    import numpy as np  # noqa: PLC0415 - a workflow imports this file for its plan, not for tails
    from scipy.special import gammaln  # noqa: PLC0415 - same

    total = bad + control_bad
    x = np.arange(max(0, total - control_units), min(units, total) + 1, dtype=np.float64)
    ways = gammaln(x + 1) + gammaln(units - x + 1)
    ways += gammaln(total - x + 1) + gammaln(control_units - total + x + 1)
    logs = x * math.log(odds) - ways
    weights = np.exp(logs - logs.max())
    return float(weights[x >= bad].sum() / weights.sum())


def _binomial_tail(at_least: int, units: int, rate: float) -> float:
    """P(X >= at_least) of a binomial count."""
    from scipy.special import bdtrc  # noqa: PLC0415 - as above

    return float(bdtrc(at_least - 1, units, rate))


def _binomial_head(at_most: int, units: int, rate: float) -> float:
    """P(X <= at_most) of a binomial count."""
    from scipy.special import bdtr  # noqa: PLC0415 - as above

    return float(bdtr(at_most, units, rate))


def tolerated_rate(baseline_rate: float, tolerance: float) -> float:
    """The worst candidate rate that is still harmless, at this odds ratio to the baseline's."""
    return tolerance * baseline_rate / (1 + (tolerance - 1) * baseline_rate)


def margin_odds(baseline_rate: float, odds: float, extra: float | None) -> float:
    """The odds ratio to rule out: `odds`, or that of `baseline_rate + extra` where it is larger.

    Infinite at a baseline rate of 0, which has no odds to multiply: only the exact bound on the
    candidate's own rate can decide there. A baseline so bad that `extra` leads to 100 % would excuse
    everything, so there `odds` decide.
    """
    if extra is None or baseline_rate + extra >= 1:
        return odds
    if baseline_rate <= 0:
        return math.inf
    worse = baseline_rate + extra
    return max(odds, worse / (1 - worse) * (1 - baseline_rate) / baseline_rate)


def units_to_prove(baseline_rate: float, odds: float, ratio: float) -> float:
    """Candidate units after which a harmless candidate has a PASS with 98 % chance, for one gate.

    14.5 (1 + 1/k) / (p0 q0 ln(odds)^2); infinite where the baseline never or always fails.
    """
    p0 = baseline_rate
    if not 0 < p0 < 1:
        return math.inf
    return PROVE * (1 + 1 / ratio) / (p0 * (1 - p0) * math.log(odds) ** 2)


def units_without_events(extra: float, beta: float = BETA) -> int:
    """Candidate units without a bad one whose 95 % bound is below `extra`: ln(.05) / ln(1 - extra).

    The exact one-sided bound of Clopper and Pearson 1934.
    """
    return math.ceil(math.log(beta) / math.log1p(-extra))


def units_with_events(events: int, extra: float, beta: float = BETA) -> int:
    """As `units_without_events`, when the candidate has this many bad units."""
    if events == 0:
        return units_without_events(extra, beta)
    high = max(units_without_events(extra, beta), events + 1)
    while _binomial_head(events, high, extra) > beta:
        high *= 2
    low = events
    while high - low > 1:
        middle = (low + high) // 2
        if _binomial_head(events, middle, extra) <= beta:
            high = middle
        else:
            low = middle
    return high


def units_to_pass(
    baseline_rate: float, odds: float, extra: float | None, ratio: float
) -> float | None:
    """Candidate units after which a harmless candidate has a PASS with 98 % chance; None: never.

    Two ways lead there, and the shorter counts: the ratio test, once ten bad units are expected in
    both arms together, or before that the exact bound on the candidate's own rate.
    """
    ways = [_by_ratio(baseline_rate, odds, extra, ratio)]
    if extra is not None:
        ways.append(_by_bound(baseline_rate, extra, ratio))
    shortest = min(ways)
    return shortest if math.isfinite(shortest) else None


def _by_ratio(baseline_rate: float, odds: float, extra: float | None, ratio: float) -> float:
    if baseline_rate <= 0:
        return math.inf
    to_rule_out = margin_odds(baseline_rate, odds, extra)
    if math.isinf(to_rule_out):
        return math.inf
    speaks = MUTE_BELOW / (baseline_rate * (1 + ratio))
    return max(units_to_prove(baseline_rate, to_rule_out, ratio), speaks)


def _by_bound(baseline_rate: float, extra: float, ratio: float) -> float:
    for events in range(MUTE_BELOW):
        units = units_with_events(events, extra)
        if units * baseline_rate * (1 + ratio) >= MUTE_BELOW:
            return math.inf
        if _binomial_head(events, units, baseline_rate) >= CHANCE_TO_PROVE:
            return float(units)
    return math.inf


def chance_to_pass(
    units: float, baseline_rate: float, odds: float, extra: float | None, ratio: float
) -> float:
    """The chance that a harmless candidate has its PASS in one gate after this many units."""
    if units < 1:
        return 0.0
    if units * baseline_rate * (1 + ratio) >= MUTE_BELOW:
        to_rule_out = margin_odds(baseline_rate, odds, extra)
        return chance_of_proof(units, units_to_prove(baseline_rate, to_rule_out, ratio))
    allowed = -1
    if extra is not None:
        while allowed + 1 < MUTE_BELOW and _binomial_head(allowed + 1, int(units), extra) <= BETA:
            allowed += 1
    return _binomial_head(allowed, int(units), baseline_rate) if allowed >= 0 else 0.0


def chance_of_proof(units: float, needed: float) -> float:
    """The chance of a PASS after `units`, where `needed` units give it with 98 % chance."""
    z = _Z.inv_cdf(1 - BETA)
    return _Z.cdf((z + _Z.inv_cdf(CHANCE_TO_PROVE)) * math.sqrt(units / needed) - z)


def mean_found(pairs: float, alpha: float, power: float, difference_sd: float) -> float:
    """The smallest loss of a mean that this many pairs show, in the unit of `difference_sd`.

    1.15 (z(1-alpha) + z(power))^2 sd^2 / d^2 pairs, solved for d.
    """
    z = _Z.inv_cdf(1 - alpha) + _Z.inv_cdf(power)
    return z * difference_sd * math.sqrt(SEQUENTIAL / pairs)


def unpaired_sd(ratio: float) -> float:
    """The spread of a difference of two arms' means, per candidate unit: sqrt(1 + 1/k) of one score."""
    return math.sqrt(1 + 1 / ratio)


def difference_found(baseline_rate: float, units: float, ratio: float, power: float) -> float:
    """The smallest difference of two rates that a fixed comparison's 95 % interval excludes 0 at.

    (z(.975) + z(power)) sqrt(p0 q0 (1 + 1/k) / n), for one look at the end (Fleiss, Levin and Paik
    2003, chapter 4).
    """
    z = _Z.inv_cdf((1 + CONFIDENCE) / 2) + _Z.inv_cdf(power)
    return z * math.sqrt(baseline_rate * (1 - baseline_rate) * (1 + 1 / ratio) / units)


def pairs_to_prove(margin: float, difference_sd: float) -> float:
    """Pairs after which a harmless candidate has its PASS with 98 % chance: 14.5 sd^2 / margin^2."""
    return PROVE * (difference_sd / margin) ** 2


def _smallest(found: Callable[[float], bool], low: float, high: float) -> float | None:
    """The smallest value that is found, by bisection; None when not even the largest is."""
    if not found(high):
        return None
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if found(middle):
            high = middle
        else:
            low = middle
    return high
