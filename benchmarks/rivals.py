"""What a team would use instead of the engine: each rule in a few lines, on the same count tables.

A rule gives the look of its first alarm in each hold, counted from 1, infinite for none. All but the
last three are meant to raise a false alarm in at most `alpha` of harmless holds.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import stats
from scipy.special import logsumexp, ndtri

from benchmarks.traffic import Floats, Tables

Rule = Callable[[Tables, float], Floats]

ODDS = np.array([1.25, 1.5, 2.0, 3.0, 5.0, 10.0])  # that the e-process bets on
SUCCESS_LEAST = 0.95
FAILURES_ALLOWED = 3
CHECK_LEAST = 0.99
CHECKS_FAILED = 5
KAYENTA_LEVEL = 0.02


def z_each_look(tables: Tables, alpha: float) -> Floats:
    """Two-proportion z at every look (any textbook; every look at the full level)"""
    return _first(_z(tables) > ndtri(1 - alpha))


def one_fixed_test(tables: Tables, alpha: float) -> Floats:
    """One exact test at the hold's end (Fisher 1935)"""
    n_c, x_c, n_b, x_b = np.moveaxis(tables.sum(axis=1), -1, 0)
    p = stats.hypergeom.sf(x_c - 1, n_c + n_b, x_c + x_b, n_c)
    return np.where(p <= alpha, float(tables.shape[1]), math.inf)


def lan_demets_z(tables: Tables, alpha: float) -> Floats:
    """Normal z with a linear spending function (Lan and DeMets 1983)"""
    return _first(_z(tables) > np.array(_linear_bounds(tables.shape[1], alpha)))


def e_process(tables: Tables, alpha: float) -> Floats:
    """E-process: mixture of likelihood ratios, alarm at 1/alpha (Grünwald, de Heide, Koolen 2024)"""
    n_c, x_c, n_b, x_b = np.moveaxis(tables, -1, 0)
    bad, share = x_c + x_b, n_c / np.maximum(1, n_c + n_b)
    paths = [
        (x_c * math.log(odds) - bad * np.log1p((odds - 1) * share)).cumsum(axis=1) for odds in ODDS
    ]
    return _first(logsumexp(paths, axis=0) - math.log(len(ODDS)) >= -math.log(alpha))


def asymptotic_sequence(tables: Tables, alpha: float) -> Floats:
    """Asymptotic confidence sequence, tuned to the hold (Waudby-Smith and others 2024)"""
    n_c, x_c, n_b, x_b = np.moveaxis(tables.cumsum(axis=1), -1, 0)
    p_c, p_b = x_c / np.maximum(1, n_c), x_b / np.maximum(1, n_b)
    variance = p_c * (1 - p_c) / np.maximum(1, n_c) + p_b * (1 - p_b) / np.maximum(1, n_b)
    level = 2 * alpha  # one side of a two-sided sequence
    units = n_c + n_b
    tuned = (-2 * math.log(level) + math.log(1 - 2 * math.log(level))) / units[:, -1:]
    grown = units * tuned + 1
    reach = np.sqrt(variance * 2 * grown / (units * tuned) * np.log(np.sqrt(grown) / level))
    return _first((p_c - p_b > reach) & (variance > 0))


def argo_failure_limit(tables: Tables, alpha: float) -> Floats:
    """Argo-style: success under 95 % in a look is a failed measurement, `failureLimit: 3`"""
    del alpha  # the rule has no level
    n_c, x_c = tables[..., 0], tables[..., 1]
    failed = n_c - x_c < SUCCESS_LEAST * n_c
    return _first(failed.cumsum(axis=1) > FAILURES_ALLOWED)


def kayenta_ranks(tables: Tables, alpha: float) -> Floats:
    """Kayenta-style: Mann-Whitney on the looks' error rates at the end, 98 % two-sided"""
    del alpha
    n_c, x_c, n_b, x_b = np.moveaxis(tables, -1, 0)
    found = stats.mannwhitneyu(
        x_c / np.maximum(1, n_c),
        x_b / np.maximum(1, n_b),
        axis=1,
        alternative="greater",
        method="asymptotic",
    )
    return np.where(found.pvalue < KAYENTA_LEVEL / 2, float(tables.shape[1]), math.inf)


def flagger_checks(tables: Tables, alpha: float) -> Floats:
    """Flagger-style: success under 99 % in a look is a failed check, `threshold: 5`"""
    del alpha
    n_c, x_c = tables[..., 0], tables[..., 1]
    failed = n_c - x_c < CHECK_LEAST * n_c
    return _first(failed.cumsum(axis=1) >= CHECKS_FAILED)


RULES: tuple[Rule, ...] = (
    z_each_look,
    one_fixed_test,
    lan_demets_z,
    e_process,
    asymptotic_sequence,
    argo_failure_limit,
    kayenta_ranks,
    flagger_checks,
)


def _z(tables: Tables) -> Floats:
    n_c, x_c, n_b, x_b = np.moveaxis(tables.cumsum(axis=1), -1, 0)
    pooled = (x_c + x_b) / np.maximum(1, n_c + n_b)
    variance = pooled * (1 - pooled) * (1 / np.maximum(1, n_c) + 1 / np.maximum(1, n_b))
    gap = x_c / np.maximum(1, n_c) - x_b / np.maximum(1, n_b)
    scores: Floats = gap / np.sqrt(np.where(variance > 0, variance, math.inf))
    return scores


def _first(alarm: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Floats:
    return np.where(alarm.any(axis=1), alarm.argmax(axis=1) + 1.0, math.inf)


@cache
def _linear_bounds(looks: int, alpha: float) -> list[float]:
    """z-values that spend alpha evenly over the looks, by integrating the walk on a grid."""
    step = 0.02
    grid = np.arange(-8 * math.sqrt(looks), 8 * math.sqrt(looks), step)
    jump = np.exp(-(np.arange(-8, 8 + step, step) ** 2) / 2) / math.sqrt(2 * math.pi) * step
    density = np.zeros(grid.size)
    density[np.argmin(np.abs(grid))] = 1.0
    bounds: list[float] = []
    for look in range(1, looks + 1):
        density = np.convolve(density, jump, mode="same")
        tail = density[::-1].cumsum()[::-1]
        at = int(np.argmax(tail <= alpha / looks))
        bounds.append(float(grid[at]) / math.sqrt(look))
        density[at:] = 0.0
    return bounds
