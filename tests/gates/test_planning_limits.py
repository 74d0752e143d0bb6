"""Where a plan begins and stops to find harm, and its formulas beside their textbook form."""

# pyright: reportPrivateUsage=false

import math
from statistics import NormalDist
from typing import Any

import pytest
from scipy import stats

from rampway.gates import planning
from rampway.gates.engine import spent_share
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

ERRORS = RateGate(name="error", stream="error", alpha=0.05)


def found_after(candidate_rate: float, **changes: Any) -> float | None:  # noqa: ANN401 - of seconds_to_find
    """One candidate unit a second, 999 of a baseline without errors, a hold of ten seconds."""
    known: dict[str, Any] = {
        "gate": ERRORS.model_copy(update={"late": 0.0}),
        "units_per_second": 1.0,
        "ratio": 999,
        "hold_seconds": 10,
        "limit_seconds": 60,
    }
    return seconds_to_find(0.0, candidate_rate, **(known | changes))


@pytest.mark.parametrize(
    ("p0", "p1", "alpha", "power", "k"),
    [(0.01, 0.02, 0.003, 0.8, 19), (0.2, 0.5, 0.05, 0.5, 3), (0.0, 0.1, 0.01, 0.9, 0.25)],
)
def test_the_units_to_find_harm_are_those_of_two_proportions(
    p0: float, p1: float, alpha: float, power: float, k: float
) -> None:
    pooled = (p1 + k * p0) / (1 + k)
    null = stats.norm.isf(alpha) * math.sqrt(pooled * (1 - pooled) * (1 + 1 / k))
    harm = stats.norm.ppf(power) * math.sqrt(p1 * (1 - p1) + p0 * (1 - p0) / k)

    assert units_to_find(p0, p1, alpha, power, k) == pytest.approx(
        1.15 * ((null + harm) / (p1 - p0)) ** 2
    )


def test_units_that_just_find_an_outage_find_it() -> None:
    worst = 1 - 1e-9
    units = units_to_find(0.01, worst, 0.001, 0.8, 19)

    assert rate_found(0.01, units, 0.001, 0.8, 19) == pytest.approx(worst, abs=1e-12)
    assert rate_found(0.01, units * (1 - 1e-9), 0.001, 0.8, 19) is None
    assert rate_found(0.01, -1, 0.001, 0.8, 19) is None


def test_a_baseline_that_fails_whole_hides_any_harm() -> None:
    assert rate_found(1 - 1e-9, 1e12, 0.05, 0.8, 1) is None
    assert rate_found(1.0, 1e12, 0.05, 0.8, 1) is None


def test_one_unit_in_an_arm_can_be_enough() -> None:
    # One bad unit of 1 against none of 999 has a probability of 1 / 1000.
    assert rate_found_by_counts(0.0, 1, 999, 0.0011, 0.8, 1.0) == pytest.approx(0.8)
    assert rate_found_by_counts(0.0, 1, 999, 0.0009, 0.8, 1.0) is None
    # 99 of 99 against none of 1 has 1 / 100.
    assert rate_found_by_counts(0.0, 99, 1, 0.011, 0.8, 1.0) == pytest.approx(0.8 ** (1 / 99))
    assert rate_found_by_counts(0.0, 99, 0, 0.011, 0.8, 1.0) is None


def test_an_outage_is_certain_to_be_found() -> None:
    certain = rate_found_by_counts(0.0, 1, 999, 0.0011, 1.0, 1.0)

    assert certain == pytest.approx(1.0)
    assert found_after(1.0, power=1.0) == pytest.approx(1)
    assert found_after(0.5, power=1.0, limit_seconds=10) is None


@pytest.mark.parametrize("bad", [2, 6])
def test_a_count_as_unlikely_as_the_level_is_a_breach(bad: int) -> None:
    tail = planning._upper_tail(6, 634, 3, bad, 1.1)

    assert planning._breach_at(6, 634, 3, tail, 1.1) == bad
    more = planning._breach_at(6, 634, 3, tail * (1 - 1e-9), 1.1)
    assert more == (None if bad == 6 else bad + 1)


@pytest.mark.parametrize("odds", [1.0, 1.1, 3.0])
def test_the_boundary_is_that_of_fishers_noncentral_law(odds: float) -> None:
    for bad in range(1, 13):
        law = stats.nchypergeom_fisher(40, 12, bad + 5, odds)

        assert planning._upper_tail(12, 28, 5, bad, odds) == pytest.approx(law.sf(bad - 1))


def test_a_boundary_among_few_units_of_the_baseline_counts_only_what_can_happen() -> None:
    law = stats.nchypergeom_fisher(15, 12, 13, 2.0)

    assert planning._upper_tail(12, 3, 2, 11, 2.0) == pytest.approx(law.sf(10))
    assert planning._upper_tail(12, 3, 3, 9, 2.0) == 1  # three of twelve are all of the baseline's


ONE_OF_200 = 1.1 / 200.1  # the tail of one bad unit of 1 against none of 199, at odds of 1.1


@pytest.mark.parametrize(
    ("changes", "spent_per_second"),
    [
        ({}, 0.05 * 0.8 / 10),
        ({"alpha": 0.04}, 0.04 * 0.8 / 10),
        ({"late": 0.25}, 0.05 * 0.75 * 0.8 / 10),
        ({"spending": Spending.POWER}, 0.05 / 10),
    ],
    ids=["four fifths by the hold", "its own budget", "a quarter kept for late harm", "all"],
)
def test_an_outage_is_found_once_so_much_of_the_budget_may_be_spent(
    changes: dict[str, Any], spent_per_second: float
) -> None:
    gate = ERRORS.model_copy(update={"late": 0.0} | changes)

    assert found_after(1.0, ratio=199, gate=gate) == pytest.approx(ONE_OF_200 / spent_per_second)


def test_the_first_unit_finds_an_outage_when_it_is_unlikely_enough() -> None:
    assert found_after(1.0) == pytest.approx(1)
    assert found_after(1.0, units_per_second=0.25, limit_seconds=4) == pytest.approx(4)
    assert found_after(1.0, units_per_second=0.25, limit_seconds=3.9) is None


def test_no_traffic_finds_nothing() -> None:
    assert found_after(1.0, units_per_second=0) is None


def test_harm_that_is_found_just_at_the_limit_is_found() -> None:
    assert found_after(1.0, limit_seconds=1) == pytest.approx(1)
    assert found_after(1.0, limit_seconds=0.99) is None


def test_a_tolerated_rate_is_that_of_the_odds() -> None:
    odds = 3 * 0.1 / 0.9

    assert tolerated_rate(0.1, 3) == pytest.approx(odds / (1 + odds))


def test_a_margin_to_a_rate_of_all_is_that_of_the_odds() -> None:
    assert margin_odds(0.95, 2.0, 0.05) == 2.0
    assert margin_odds(0.5, 1.5, 0.25) == pytest.approx(3)
    assert margin_odds(1.0, 2.0, None) == 2.0


def test_a_baseline_that_never_or_always_fails_gives_no_ratio_to_prove() -> None:
    assert units_to_prove(0.0, 2.0, 1) == math.inf
    assert units_to_prove(1.0, 2.0, 1) == math.inf
    assert units_to_prove(0.2, 2.0, 4) == pytest.approx(14.5 * 1.25 / (0.16 * math.log(2) ** 2))


def test_a_bound_that_just_meets_its_level_is_small_enough() -> None:
    beta = float(stats.binom.cdf(2, 60, 0.1))

    assert units_with_events(2, 0.1, beta * (1 + 1e-12)) == 60
    assert units_with_events(2, 0.1, beta * (1 - 1e-9)) == 61
    assert units_with_events(2, 0.1, planning._binomial_head(2, 60, 0.1)) == 60


@pytest.mark.parametrize(("beta", "units"), [(0.05, 29), (0.2, 16)])
def test_no_event_bounds_a_rate_at_the_level_that_is_asked(beta: float, units: int) -> None:
    assert units_without_events(0.1, beta) == units_with_events(0, 0.1, beta) == units
    assert 0.9**units <= beta < 0.9 ** (units - 1)


def test_more_events_than_a_bound_needs_units_are_units_themselves() -> None:
    # Nine bad of ten are under 99 % only by a hair: P(at most 9 of 10) = 1 - 0.99^10 = 0.096.
    assert units_with_events(9, 0.99, 0.1) == 10
    assert units_with_events(1, 0.99, 0.05) == 2


def test_the_exact_bound_ends_where_the_ratio_test_speaks() -> None:
    # 20 units without an error exclude 14 %, and in them 10 bad ones are expected at k = 511.
    rate = 2**-10

    assert units_to_pass(rate, 15, 0.14, 510) == 20
    assert units_to_pass(rate, 15, 0.14, 511) == units_to_prove(
        rate, margin_odds(rate, 15, 0.14), 511
    )
    assert chance_to_pass(19.5, rate, 15, 0.14, 511) == 0


def test_a_pass_by_the_bound_has_the_chance_that_a_pass_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clean = float(stats.binom.cdf(0, 19, 0.001))
    monkeypatch.setattr(planning, "CHANCE_TO_PROVE", planning._binomial_head(0, 19, 0.001))

    assert units_to_pass(0.001, 15, 0.15, 19) == 19
    monkeypatch.setattr(planning, "CHANCE_TO_PROVE", clean * (1 + 1e-9))
    assert units_to_pass(0.001, 15, 0.15, 19) == 30


def test_one_unit_can_be_a_pass_and_none_cannot() -> None:
    assert chance_to_pass(1, 0.0, 2.0, 0.96, 19) == 1
    assert chance_to_pass(0.9, 0.0, 2.0, 0.96, 19) == 0
    assert chance_to_pass(1, 0.25, 2.0, 0.96, 1) == 0.75


def test_ten_expected_bad_units_let_the_ratio_test_speak() -> None:
    assert chance_to_pass(50, 0.01, 2.0, None, 19) == chance_of_proof(
        50, units_to_prove(0.01, 2.0, 19)
    )
    assert chance_to_pass(49, 0.01, 2.0, None, 19) == 0


def test_before_the_ratio_test_speaks_the_bound_allows_what_it_allows() -> None:
    # Of 100 units four may be bad for a bound under 10 %.
    assert stats.binom.cdf(5, 100, 0.1) > 0.05 >= stats.binom.cdf(4, 100, 0.1)

    chance = chance_to_pass(100, 0.02, 2.0, 0.1, 1)

    assert chance == pytest.approx(stats.binom.cdf(4, 100, 0.02))


def test_a_bound_that_just_meets_its_level_is_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chance_to_pass(597, 0.0, 2.0, 0.005, 19) == 0

    monkeypatch.setattr(planning, "BETA", planning._binomial_head(0, 597, 0.005))

    assert chance_to_pass(597, 0.0, 2.0, 0.005, 19) == 1


def test_the_chance_of_proof_is_that_of_a_normal_estimate() -> None:
    sure, likely = NormalDist().inv_cdf(0.95), NormalDist().inv_cdf(0.98)

    assert chance_of_proof(100, 400) == pytest.approx(NormalDist().cdf((sure + likely) / 2 - sure))
    assert chance_of_proof(0, 400) == pytest.approx(0.05)


def test_the_smallest_loss_of_a_mean_is_that_of_its_formula() -> None:
    z = stats.norm.ppf(0.99) + stats.norm.ppf(0.5 + 0.3)

    assert mean_found(900, 0.01, 0.8, 2.0) == pytest.approx(z * 2 * math.sqrt(1.15 / 900))
    assert unpaired_sd(4) == math.sqrt(1.25)
    assert pairs_to_prove(0.1, 2.0) == pytest.approx(14.5 * 400)


def test_a_final_comparison_of_uneven_arms_finds_what_its_formula_says() -> None:
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)

    assert difference_found(0.2, 400, 4, 0.8) == pytest.approx(z * math.sqrt(0.16 * 1.25 / 400))


def test_the_bound_allows_nine_bad_units_since_with_ten_the_ratio_test_speaks() -> None:
    # 100 units exclude 40 % with thirty bad ones, but ten in both arms are for the ratio test.
    chance = chance_to_pass(100, 0.09, 2.0, 0.4, 0.1)

    assert chance == pytest.approx(stats.binom.cdf(9, 100, 0.09))


def test_the_planner_assumes_the_chances_of_the_design() -> None:
    assert (planning.POWER, planning.CHANCE_TO_PROVE, planning.BETA) == (0.8, 0.98, 0.05)
    assert planning.EXACT_UNITS == 5_000


@pytest.mark.parametrize("spending", Spending)
def test_the_planner_spends_by_the_end_of_a_hold_what_the_engine_does(spending: Spending) -> None:
    assert planning.SPENT_BY_HOLD[spending] == pytest.approx(spent_share(spending, 1.0))


def test_a_breach_is_foreseen_when_every_second_release_has_it() -> None:
    # Once one bad unit is enough, it comes in n units with a chance of 1 - 0.9^n: one half at seven.
    found = found_after(0.1, hold_seconds=1)

    assert 0.9**7 < 0.5 < 0.9**6
    assert found == pytest.approx(7)
    assert found_after(0.1, hold_seconds=1, power=0.8) == pytest.approx(16)


def test_much_traffic_finds_an_outage_within_a_second() -> None:
    # Two bad units of 2 against none of 1,998 are unlikely enough at once, one of one is not.
    assert found_after(1.0, units_per_second=100) == pytest.approx(0.02)


def test_a_bound_that_is_never_likely_leaves_the_pass_to_the_ratio_test() -> None:
    # Nine bad units exclude 10 % in some 155 units, of which 6 % make nine bad ones already.
    odds = margin_odds(0.06, 2.0, 0.1)

    assert units_to_pass(0.06, 2.0, 0.1, 0.01) == pytest.approx(units_to_prove(0.06, odds, 0.01))
