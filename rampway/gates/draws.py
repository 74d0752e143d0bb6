"""The law of a sum of scores drawn without replacement: what a harmless candidate's losses look like."""

import math
from collections.abc import Mapping

import numpy as np

from rampway.gates.engine import FloatArray, Law, noncentral_hypergeometric

EXACT_PRODUCTS = 10_000_000  # sums that take more are near enough to their first three moments
_REACH_SD = 9
_REACH_LEAST = 25
_LOG_NEVER = 18 * math.log(10)
_NORMAL_SKEW = 1e-4  # less skew is not told from none


def sum_of_draws(units_by_value: Mapping[int, int], draws: int) -> Law:
    """Law of the sum of `draws` values, drawn without replacement from those counted.

    Given all scores of a slice, whichever arm got them, and how many each arm served, this is the
    law of the candidate's sum if the arms do not differ (Fisher 1935; Pitman 1937), on the lattice
    of the scores. It is exact, by adding up value by value, where this takes no more than
    `EXACT_PRODUCTS`: some 200 units, and any number where few are drawn or few are not of the
    commonest value. Two values are hypergeometric at any size. Beyond, it is the Pearson type III law with the exact mean,
    variance and third moment of such a sum on the same lattice: a normal law forgets the skew, and
    breaches too often where most answers are perfect. Raises ValueError when more are drawn than
    there are.
    """
    values = {value: units for value, units in sorted(units_by_value.items()) if units > 0}
    whole = sum(values.values())
    if not 0 <= draws <= whole:
        raise ValueError(f"{draws:,} values cannot be drawn from {whole:,}")
    total = sum(value * units for value, units in values.items())
    if draws in {0, whole} or len(values) == 1:
        return Law(0 if not whole else total * draws // whole, np.ones(1))
    # The fewer draws the fewer ways: what the candidate did not get, the baseline did.
    fewer = min(draws, whole - draws)
    base = min(values)
    step = math.gcd(*(value - base for value in values))
    steps = {(value - base) // step: units for value, units in values.items()}
    law = _in_steps(steps, whole, fewer)
    offset, p = base * fewer + law.offset * step, _spread(law.p, step)
    if fewer < draws:
        offset, p = total - offset - (p.size - 1), p[::-1]
    return Law(offset, p)


def _in_steps(steps: Mapping[int, int], whole: int, draws: int) -> Law:
    if len(steps) == 2:  # noqa: PLR2004 - two values are bad and good
        high = max(steps)
        law = noncentral_hypergeometric(draws, whole - draws, steps[high], 1.0)
        return Law(law.offset * high, _spread(law.p, high))
    common = max(steps, key=lambda value: steps[value])
    rate = draws / whole
    most = {value: _most(units, rate, draws) for value, units in steps.items() if value != common}
    at_most = _most(whole - steps[common], rate, draws)
    width = at_most * (max(steps) - min(steps)) + 1
    if at_most * width * sum(most.values()) <= EXACT_PRODUCTS:
        return _exact(steps, most, common, draws)
    return _by_moments(steps, whole, draws)


def _most(units: int, rate: float, draws: int) -> int:
    """How many of these units are drawn at most, but for a chance under 1e-18."""
    mean = units * rate
    sd = math.sqrt(mean * (1 - rate))
    far = min(units, draws, int(mean + _REACH_SD * sd) + _REACH_LEAST)
    most = min(far, int(mean) + 1)
    # Chernoff's bound of a Poisson tail, which is the thicker one (Hoeffding 1956): of rare units
    # nine standard deviations and 25 would be far too many.
    while most < far and most * math.log(most / mean) - most + mean < _LOG_NEVER:
        most += 1
    return most


def _exact(steps: Mapping[int, int], most: Mapping[int, int], common: int, draws: int) -> Law:
    """The chance to draw so many units off the commonest value with each sum, and the rest from it.

    A draw without replacement is one in which each unit comes with the same probability, given that
    `draws` came in all: weighing the ways with these odds keeps their numbers in range. Sums are
    counted from the commonest value, so that its units add nothing to them.
    """
    whole = sum(steps.values())
    odds = draws / (whole - draws)
    at_most = _most(whole - steps[common], draws / whole, draws)
    chances = np.ones((1, 1))  # units drawn, sum
    lowest = 0
    for value, drawn_most in most.items():
        weights = _weights(steps[value], 0, drawn_most, odds)
        chances = _with_value(chances, value - common, weights, at_most)
        lowest += min(0, value - common) * drawn_most
    p = _rest_weights(steps[common], draws, chances.shape[0] - 1, odds) @ chances
    first, last = np.flatnonzero(p)[[0, -1]]
    return Law(common * draws + lowest + int(first), p[first : last + 1] / p.sum())


def _with_value(chances: FloatArray, away: int, weights: FloatArray, at_most: int) -> FloatArray:
    """The chances with one more value, `away` from the commonest, no more than `at_most` in all."""
    rows, width = chances.shape
    most = weights.size - 1
    grown = np.zeros((min(at_most, rows - 1 + most) + 1, width + most * abs(away)))
    for drawn, weight in enumerate(weights.tolist()):
        kept = min(rows, grown.shape[0] - drawn)
        # A value below the commonest moves the sum down: the row is then counted from its top.
        place = drawn * away if away > 0 else (drawn - most) * away
        grown[drawn : drawn + kept, place : place + width] += weight * chances[:kept]
    return grown


def _rest_weights(units: int, draws: int, at_most: int, odds: float) -> FloatArray:
    """Weights of what is left for the commonest value, where 0 to `at_most` came from others."""
    least = max(0, draws - at_most)
    weights = np.zeros(at_most + 1)
    found = _weights(units, least, min(units, draws), odds)[::-1]
    first = max(0, draws - units)
    weights[first : first + found.size] = found
    return weights


def _weights(units: int, least: int, most: int, odds: float) -> FloatArray:
    """Ways to draw `least` to `most` of these units, each drawn at these odds, on a scale of their own."""
    drawn = np.arange(least, most, dtype=np.float64)
    logs = np.zeros(most - least + 1)
    np.cumsum(np.log(odds * (units - drawn) / (drawn + 1)), out=logs[1:])
    weights: FloatArray = np.exp(logs - logs.max())
    return weights


def _by_moments(steps: Mapping[int, int], whole: int, draws: int) -> Law:
    """Pearson type III with the sum's mean, variance and third central moment.

    The moments of a sum without replacement are those of the values, shortened by (N - n) / (N - 1)
    and (N - n)(N - 2n) / ((N - 1)(N - 2)) (Cochran 1977, sections 2.5 and 2.15).
    """
    values = np.asarray(list(steps), dtype=np.float64)
    share = np.asarray(list(steps.values()), dtype=np.float64) / whole
    mean = float(values @ share)
    left = whole - draws
    variance = draws * left / (whole - 1) * float((values - mean) ** 2 @ share)
    third = draws * left * (left - draws) / ((whole - 1) * (whole - 2))
    third *= float((values - mean) ** 3 @ share)
    sd = math.sqrt(variance)
    reach = int(_REACH_SD * sd) + _REACH_LEAST
    centre = round(draws * mean)
    low = max(draws * min(steps), centre - reach)
    sums = np.arange(low, min(draws * max(steps), centre + reach) + 1, dtype=np.float64)
    logs = _pearson_logs((sums - draws * mean) / sd, third / sd**3)
    p = np.exp(logs - logs.max())
    return Law(low, p / p.sum())


def _pearson_logs(z: FloatArray, skew: float) -> FloatArray:
    """Log density, up to a constant, of the standardised Pearson type III law (a shifted gamma)."""
    if abs(skew) < _NORMAL_SKEW:
        normal: FloatArray = -z * z / 2
        return normal
    from_end = 1 + skew * z / 2
    logs = np.full(z.size, -np.inf)
    inside = from_end > 0
    logs[inside] = (4 / skew**2 - 1) * np.log(from_end[inside]) - 2 * z[inside] / skew
    return logs


def _spread(p: FloatArray, step: int) -> FloatArray:
    """The same probabilities with `step - 1` empty places between each two."""
    if step == 1:
        return p
    spread = np.zeros((p.size - 1) * step + 1)
    spread[::step] = p
    return spread
