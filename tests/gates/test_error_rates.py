"""How often the engine is wrong, and how soon it is right: seeded simulations of half-hour holds.

50 requests/s, 1 % of them candidate, 1 % errors, a look each minute, unless said.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from rampway.gates.engine import HarmWatch, ProofWatch, noncentral_hypergeometric
from rampway.gates.plans import Spending

MINUTES = 30
ALPHA = 0.05
CANDIDATE_UNITS = 30  # a minute
BASELINE_UNITS = 2_970
Tables = npt.NDArray[np.int64]  # holds x minutes x (n_c, x_c, n_b, x_b)


@dataclass(frozen=True)
class Found:
    """The part of holds that ended in a BREACH, and the median minute (a hold without one: never)."""

    share: float
    median_minutes: float


def holds(
    count: int, *, errors: float, baseline_errors: npt.ArrayLike = 0.01, seed: int = 1
) -> Tables:
    dice = np.random.default_rng(seed)
    candidate = dice.poisson(CANDIDATE_UNITS, (count, MINUTES))
    baseline = dice.poisson(BASELINE_UNITS, (count, MINUTES))
    tables = (
        candidate,
        dice.binomial(candidate, np.maximum(errors, baseline_errors)),
        baseline,
        dice.binomial(baseline, baseline_errors),
    )
    return np.stack(tables, axis=-1)


def first_breach(hold: Tables) -> int | None:
    watch = HarmWatch(alpha=ALPHA, late=0.0, spending=Spending.POWER, hold_seconds=MINUTES * 60)
    for minute, (n_c, x_c, n_b, x_b) in enumerate(hold.tolist(), start=1):
        if watch.look(minute * 60, noncentral_hypergeometric(n_c, n_b, x_c + x_b, 1.0), x_c):
            return minute
    return None


def found(tables: Tables) -> Found:
    minutes = np.array([first_breach(hold) or math.inf for hold in tables])
    return Found(float(np.isfinite(minutes).mean()), float(np.median(minutes)))


def standard_error(share: float, count: int) -> float:
    return math.sqrt(share * (1 - share) / count)


def test_a_harmless_candidate_is_stopped_no_more_often_than_alpha() -> None:
    tables = holds(1_500, errors=0.01)

    stopped = found(tables).share

    assert stopped <= ALPHA + 3 * standard_error(ALPHA, len(tables))
    assert stopped >= ALPHA / 2  # the budget is used, not hoarded


def test_a_z_test_at_each_look_would_stop_a_quarter_of_them() -> None:
    tables = holds(1_500, errors=0.01)

    n_c, x_c, n_b, x_b = np.moveaxis(tables.cumsum(axis=1), -1, 0)
    pooled = (x_c + x_b) / (n_c + n_b)
    z = (x_c / n_c - x_b / n_b) / np.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_b))
    stopped = (z > 1.645).any(axis=1).mean()

    assert stopped > 0.2


def test_an_incident_in_both_arms_stops_no_more_than_alpha() -> None:
    rates = np.where(np.arange(MINUTES) < 15, 0.01, 0.05)
    tables = holds(600, errors=0.0, baseline_errors=rates, seed=2)

    assert found(tables).share <= ALPHA + 3 * standard_error(ALPHA, len(tables))


def test_errors_that_double_are_found_within_the_hold() -> None:
    tables = holds(800, errors=0.02, seed=3)

    doubled = found(tables)

    assert doubled.share >= 0.75 - 3 * standard_error(0.75, len(tables))
    assert doubled.median_minutes <= 20


@pytest.mark.parametrize(("errors", "minutes"), [(0.10, 2), (0.05, 5), (1.0, 1)])
def test_more_harm_is_found_sooner(errors: float, minutes: int) -> None:
    gross = found(holds(150, errors=errors, seed=4))

    assert gross.share == 1
    assert gross.median_minutes <= minutes


def test_a_candidate_at_the_margin_rarely_passes_and_a_clean_one_does() -> None:
    def passes(errors: float, count: int) -> float:
        passed = 0
        for hold in holds(count, errors=errors, seed=5):
            proof = ProofWatch(beta=0.05, hold_seconds=MINUTES * 60)
            seen = 0
            for minute, (n_c, x_c, n_b, x_b) in enumerate(hold.tolist(), start=1):
                seen += x_c
                law = noncentral_hypergeometric(n_c, n_b, x_c + x_b, 6.0)
                proof.look(minute * 60, law, mute=False)
            passed += proof.pass_at is not None and seen <= proof.pass_at
        return passed / count

    at_margin = 6 * 0.01 / (1 + 5 * 0.01)  # odds six times those of 1 %

    assert passes(at_margin, 300) <= 0.05 + 3 * standard_error(0.05, 300)
    assert passes(0.01, 100) >= 0.95
