"""How many units a verdict takes: the published figures, the exact tails, and what must not depend."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rampway.gates.planning import (
    chance_of_proof,
    chance_to_pass,
    difference_found,
    margin_odds,
    mean_found,
    pairs_to_prove,
    rate_found,
    rate_found_by_counts,
    seconds_to_find,
    tolerated_rate,
    units_to_find,
    units_to_pass,
    units_to_prove,
    units_with_events,
    units_without_events,
    unpaired_sd,
)
from rampway.gates.plans import RateGate, Spending


def ratio(share: float) -> float:
    return (1 - share) / share


def test_the_units_of_the_default_proofs_are_those_of_the_design() -> None:
    assert round(units_to_prove(0.01, 2.0, ratio(0.05)), -2) == 3200
    assert round(units_to_prove(0.01, 1.5, ratio(0.25)), -2) == 11_900


def test_the_units_of_the_demos_proofs_are_those_of_the_design() -> None:
    five, twenty_five = margin_odds(0.05, 15, 0.15), margin_odds(0.05, 5, 0.05)

    assert round(units_to_prove(0.05, five, ratio(0.05))) == 44
    assert round(units_to_prove(0.05, twenty_five, ratio(0.25))) == 157


def test_a_margin_is_the_wider_of_odds_and_absolute() -> None:
    assert margin_odds(0.01, 2.0, 0.005) == 2.0
    assert margin_odds(0.01, 1.5, 0.005) == pytest.approx((0.015 / 0.985) / (0.01 / 0.99))
    assert margin_odds(0.01, 1.5, None) == 1.5


def test_a_baseline_without_bad_units_has_no_odds_and_a_broken_one_excuses_nothing() -> None:
    assert margin_odds(0.0, 2.0, 0.005) == math.inf
    assert margin_odds(0.96, 2.0, 0.05) == 2.0


@pytest.mark.parametrize(("extra", "units"), [(0.15, 19), (0.05, 59), (0.005, 598)])
def test_zero_events_prove_a_small_rate_after_the_exact_number_of_units(
    extra: float, units: int
) -> None:
    assert units_without_events(extra) == units
    assert (1 - extra) ** units <= 0.05 < (1 - extra) ** (units - 1)


@given(st.integers(0, 9), st.floats(0.002, 0.4))
def test_units_with_events_are_the_first_whose_clopper_pearson_bound_is_small(
    events: int, extra: float
) -> None:
    units = units_with_events(events, extra)

    assert stats.beta.ppf(0.95, events + 1, units - events) <= extra * (1 + 1e-9)
    if units - 1 > events:
        assert stats.beta.ppf(0.95, events + 1, units - 1 - events) > extra * (1 - 1e-9)


def test_a_rate_that_is_found_is_found_by_its_own_units() -> None:
    found = rate_found(0.01, 4500, 0.0015625, 0.8, ratio(0.05))

    assert found is not None
    assert found == pytest.approx(0.0167, abs=0.0001)
    assert units_to_find(0.01, found, 0.0015625, 0.8, ratio(0.05)) == pytest.approx(4500)


@given(st.floats(0, 0.5), st.floats(20, 1e6), st.floats(1e-5, 0.1), st.floats(0.01, 100))
def test_more_units_never_find_less(p0: float, units: float, alpha: float, k: float) -> None:
    few, many = rate_found(p0, units, alpha, 0.8, k), rate_found(p0, 2 * units, alpha, 0.8, k)

    assert many is not None or few is None
    if few is not None and many is not None:
        assert p0 < many <= few * (1 + 1e-9)


def test_too_few_units_find_nothing() -> None:
    assert rate_found(0.5, 1, 0.001, 0.8, 99) is None
    assert rate_found(0.01, 0, 0.001, 0.8, 99) is None
    assert rate_found_by_counts(0.01, 0, 100, 0.001, 0.8, 1.1) is None
    assert rate_found_by_counts(0.5, 2, 100, 0.001, 0.8, 1.1) is None


def test_no_harm_has_no_number_of_units() -> None:
    with pytest.raises(ValueError, match="is no harm"):
        units_to_find(0.01, 0.01, 0.05, 0.8, 1)


def test_small_counts_are_found_as_fishers_test_finds_them() -> None:
    """Two errors among 6 candidate units, none among 634: Fisher's exact p is under the level."""
    found = rate_found_by_counts(0.0, 6, 634, 0.00072, 0.8, 1.0)

    assert found is not None
    assert stats.binom.sf(1, 6, found) == pytest.approx(0.8)
    assert stats.hypergeom(640, 2, 6).sf(1) <= 0.00072 < stats.hypergeom(640, 1, 6).sf(0)


def test_formula_and_exact_tails_agree_where_both_hold() -> None:
    level = 0.0015625
    formula = rate_found(tolerated_rate(0.01, 1.1), 4500, level, 0.8, ratio(0.05))
    exact = rate_found_by_counts(0.01, 4500, 85_500, 0.6 * level, 0.8, 1.1)

    assert formula is not None
    assert exact == pytest.approx(formula, rel=0.05)


def test_the_planned_power_is_what_simulated_traffic_shows() -> None:
    """A fixed exact test at the level left by the hold's end, on 1 % against the rate found."""
    dice = np.random.default_rng(20261120)
    found = rate_found_by_counts(0.01, 900, 9_000, 0.0009, 0.8, 1.0)
    assert found is not None
    candidate, baseline = dice.binomial(900, found, 4000), dice.binomial(9000, 0.01, 4000)

    tails = stats.hypergeom.sf(candidate - 1, 9900, candidate + baseline, 900)

    assert 0.75 < np.mean(tails <= 0.0009) < 0.88


def test_a_tolerated_rate_has_the_tolerated_odds() -> None:
    rate = tolerated_rate(0.2, 1.5)

    assert rate / (1 - rate) == pytest.approx(1.5 * 0.25)
    assert tolerated_rate(0.0, 2) == 0


def test_a_pass_comes_by_whichever_way_is_shorter() -> None:
    clean = units_to_pass(0.0, 2.0, 0.005, ratio(0.05))
    rare = units_to_pass(0.005, 15, 0.15, ratio(0.05))
    common = units_to_pass(0.01, 2.0, 0.005, ratio(0.05))

    assert clean == 598
    assert rare == 30  # one error may happen in 30 units; the ratio test would take 237
    assert common == pytest.approx(units_to_prove(0.01, 2.0, ratio(0.05)))


def test_the_ratio_test_waits_for_ten_bad_units() -> None:
    assert units_to_pass(0.001, 200, None, 1) == pytest.approx(5000)


@pytest.mark.parametrize(("rate", "extra"), [(0.0, None), (1.0, 0.005), (1.0, None)])
def test_some_gates_can_never_pass(rate: float, extra: float | None) -> None:
    assert units_to_pass(rate, 2.0, extra, 19) is None


def test_the_chance_of_a_pass_is_98_percent_after_the_units_it_takes() -> None:
    needed = units_to_pass(0.01, 2.0, 0.005, 19)

    assert needed is not None
    assert chance_to_pass(needed, 0.01, 2.0, 0.005, 19) == pytest.approx(0.98)
    assert chance_to_pass(needed / 4, 0.01, 2.0, 0.005, 19) < 0.6
    assert chance_to_pass(598, 0.0, 2.0, 0.005, 19) == 1
    assert chance_to_pass(597, 0.0, 2.0, 0.005, 19) == 0
    assert chance_to_pass(0, 0.0, 2.0, 0.005, 19) == 0


@given(st.floats(0.001, 0.5), st.floats(1.05, 20), st.floats(0.02, 50))
def test_a_wider_margin_never_takes_more_units(p0: float, odds: float, k: float) -> None:
    assert units_to_prove(p0, odds * 1.1, k) < units_to_prove(p0, odds, k)


def test_paired_scores_take_the_units_of_the_formula() -> None:
    assert pairs_to_prove(0.03, 1.0) == pytest.approx(14.5 / 0.0009)
    assert chance_of_proof(pairs_to_prove(0.03, 1.0), pairs_to_prove(0.03, 1.0)) == pytest.approx(
        0.98
    )
    assert mean_found(9000, 0.01, 0.8, 1.0) == pytest.approx(
        math.sqrt(1.15) * (2.32635 + 0.84162) / math.sqrt(9000), rel=1e-5
    )


ERRORS = RateGate(name="error", stream="error", alpha=0.05 / 3 * 0.25 / 2)


def minutes(bad: float, *, rps: float, share: float, hold: float, alpha: float) -> float:
    """The median time to a BREACH of errors, 1 % in the baseline."""
    gate = ERRORS.model_copy(update={"alpha": alpha})
    found = seconds_to_find(
        0.01, bad, gate,
        units_per_second=rps * share, ratio=ratio(share), hold_seconds=hold, limit_seconds=1e6,
    )  # fmt: skip
    assert found is not None
    return found / 60


# What simulated releases took, in median: rates of errors, and minutes.
EXPERIENCED = {
    (50, 0.01, 1800, 0.05 / 4 * 0.125): {0.10: 2, 0.05: 6},
    (5, 0.10, 2700, 0.05 / 3 * 0.125): {0.10: 3, 0.05: 8, 0.02: 58},
    (1, 0.10, 13_500, 0.05 / 3 * 0.125): {0.10: 15, 0.05: 41, 0.02: 288},
}


@pytest.mark.parametrize("case", EXPERIENCED, ids=str)
def test_harm_is_foreseen_when_simulated_releases_found_it(
    case: tuple[float, float, float, float],
) -> None:
    rps, share, hold, alpha = case

    for bad, took in EXPERIENCED[case].items():
        assert minutes(bad, rps=rps, share=share, hold=hold, alpha=alpha) == pytest.approx(
            took, rel=0.15
        )


def test_an_outage_is_found_after_a_handful_of_requests() -> None:
    assert 40 <= 60 * minutes(1, rps=1, share=0.1, hold=13_500, alpha=0.05 / 3 * 0.25) <= 70


def test_harm_that_takes_longer_than_the_limit_is_not_found() -> None:
    def found(bad: float, limit: float) -> float | None:
        return seconds_to_find(
            0.01, bad, ERRORS,
            units_per_second=0.1, ratio=9, hold_seconds=3600, limit_seconds=limit,
        )  # fmt: skip

    assert found(0.05, 600) is None
    assert found(0.012, 36_000) is None
    assert found(1, 0.0) is None


@settings(deadline=None, max_examples=40)
@given(st.floats(0.03, 1), st.floats(0.01, 5), st.sampled_from(Spending))
def test_worse_harm_is_never_found_later(bad: float, per_second: float, spending: Spending) -> None:
    gate = ERRORS.model_copy(update={"spending": spending})

    def found(rate: float) -> float:
        seconds = seconds_to_find(
            0.01, rate, gate,
            units_per_second=per_second, ratio=9, hold_seconds=1800, limit_seconds=5400,
        )  # fmt: skip
        return math.inf if seconds is None else seconds

    # One unit of slack: the chance climbs in whole units, and bisection stops between two of them.
    assert found(min(1.0, bad * 1.3)) <= found(bad) + 1 / per_second


def test_a_final_comparison_finds_what_a_z_test_has_power_for() -> None:
    per_arm = 10_000
    found = difference_found(0.01, per_arm, 1.0, 0.8)

    effect = found / math.sqrt(0.01 * 0.99)
    power = stats.norm.sf(stats.norm.isf(0.025) - effect * math.sqrt(per_arm / 2))

    assert power == pytest.approx(0.8, abs=1e-6)


def test_scores_of_two_arms_take_the_units_of_the_formula() -> None:
    assert pairs_to_prove(0.1, unpaired_sd(5)) == pytest.approx(14.5 * 1.2 / 0.01)
    assert mean_found(900, 0.001875, 0.8, unpaired_sd(5)) == pytest.approx(0.146, abs=0.001)
