"""Tests and intervals for two proportions, against published cases, scipy and statsmodels."""

import math
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest
from two_sample_cases import published, tolerance

from rampway.gates.engine import noncentral_hypergeometric
from rampway.gates.planning import SEQUENTIAL, units_to_find
from rampway.gates.proportions import (
    Hits,
    chi_square_tail,
    fisher_exact_p,
    miettinen_nurminen_interval,
    newcombe_hybrid_interval,
    sample_ratio_p,
    score_z,
    two_proportion_z,
)

parts = st.integers(1, 400).flatmap(lambda n: st.builds(Hits, st.integers(0, n), st.just(n)))


def both(case: dict[str, Any]) -> tuple[Hits, Hits]:
    inputs = case["inputs"]
    return Hits(inputs["x1"], inputs["n1"]), Hits(inputs["x2"], inputs["n2"])


@pytest.mark.parametrize("case", published("newcombe"), ids=lambda case: case["id"])
def test_newcombes_interval_is_the_published_one(case: dict[str, Any]) -> None:
    assert newcombe_hybrid_interval(*both(case)) == pytest.approx(
        case["expected"], **tolerance(case)
    )


@pytest.mark.parametrize("case", published("miettinen_nurminen"), ids=lambda case: case["id"])
def test_the_score_interval_is_the_published_one(case: dict[str, Any]) -> None:
    assert miettinen_nurminen_interval(*both(case)) == pytest.approx(
        case["expected"], **tolerance(case)
    )


@pytest.mark.parametrize("case", published("farrington_manning"), ids=lambda case: case["id"])
def test_the_score_statistic_gives_the_published_p(case: dict[str, Any]) -> None:
    z = score_z(*both(case), case["inputs"]["delta"])

    assert 1 - NormalDist().cdf(z) == pytest.approx(case["expected"], **tolerance(case))


@pytest.mark.parametrize("case", published("fisher"), ids=lambda case: case["id"])
def test_fishers_p_is_the_published_one(case: dict[str, Any]) -> None:
    (a, b), (c, d) = case["inputs"]["table"]

    assert fisher_exact_p(Hits(a, a + b), Hits(c, c + d)) == pytest.approx(
        case["expected"], **tolerance(case)
    )


@pytest.mark.parametrize("case", published("sample_ratio"), ids=lambda case: case["id"])
def test_the_sample_ratio_p_is_the_published_one(case: dict[str, Any]) -> None:
    inputs = case["inputs"]

    p = sample_ratio_p(inputs["observed"], inputs["weights"])

    assert p == pytest.approx(case["expected"], **tolerance(case))


@pytest.mark.parametrize("case", published("sample_size"), ids=lambda case: case["id"])
def test_the_planned_units_are_the_published_ones_times_the_price_of_looking(
    case: dict[str, Any],
) -> None:
    better = case["inputs"]["prop2"]
    worse = better + case["inputs"]["diff"]

    # A loss of good answers is a rise of bad ones, which is what the planner counts.
    units = units_to_find(1 - better, 1 - worse, 0.025, case["inputs"]["power"], 1)

    assert units / SEQUENTIAL == pytest.approx(case["expected"], **tolerance(case))


@given(parts, parts)
def test_z_is_the_pooled_one_of_statsmodels(first: Hits, second: Hits) -> None:
    test = two_proportion_z(first, second)

    if first.hits + second.hits in {0, first.units + second.units}:
        assert test == (0.0, 1.0)  # nothing differs and nothing varies
    else:
        z, p = proportions_ztest([first.hits, second.hits], [first.units, second.units])
        assert test.z == pytest.approx(z, abs=1e-9)
        assert test.p == pytest.approx(p, rel=1e-9)


@given(parts, parts)
def test_the_intervals_are_those_of_statsmodels(first: Hits, second: Hits) -> None:
    newcombe = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff")

    assert newcombe_hybrid_interval(first, second) == pytest.approx(
        (max(-1, newcombe[0]), min(1, newcombe[1])), abs=1e-9
    )


@given(parts, parts)
def test_an_interval_holds_what_was_seen_and_turns_with_the_arms(first: Hits, second: Hits) -> None:
    for interval in (newcombe_hybrid_interval, miettinen_nurminen_interval):
        low, high = interval(first, second)

        assert -1 <= low <= first.rate - second.rate + 1e-12
        assert first.rate - second.rate - 1e-12 <= high <= 1
        assert interval(second, first) == pytest.approx((-high, -low), abs=1e-9)


@given(parts, parts)
def test_the_score_interval_ends_where_the_score_test_stops_refuting(
    first: Hits, second: Hits
) -> None:
    low, high = miettinen_nurminen_interval(first, second)
    units = first.units + second.units

    for end, sign in ((low, 1), (high, -1)):
        if -1 + 1e-6 < end < 1 - 1e-6 and abs(end - (first.rate - second.rate)) > 1e-6:
            z = score_z(first, second, end) * math.sqrt((units - 1) / units)
            assert sign * z == pytest.approx(1.959964, abs=1e-3)


@given(parts, parts)
def test_fishers_p_is_that_of_scipy(first: Hits, second: Hits) -> None:
    table = [[first.hits, first.units - first.hits], [second.hits, second.units - second.hits]]

    p = fisher_exact_p(first, second)

    assert p == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-6, abs=1e-15)


@given(st.floats(0, 300), st.integers(1, 12))
def test_the_chi_square_tail_is_that_of_scipy(square: float, freedom: int) -> None:
    assert chi_square_tail(square, freedom) == pytest.approx(
        stats.chi2.sf(square, freedom), rel=1e-9
    )


def test_an_empty_arm_tells_nothing() -> None:
    nothing, some = Hits(0, 0), Hits(3, 10)

    assert two_proportion_z(nothing, some) == (0.0, 1.0)
    assert newcombe_hybrid_interval(nothing, some) == (-1.0, 1.0)
    assert miettinen_nurminen_interval(some, nothing) == (-1.0, 1.0)
    assert fisher_exact_p(nothing, some) == 1.0
    assert sample_ratio_p([0, 0], [0.5, 0.5]) == 1.0


def test_arms_without_any_likeness_differ_however_few() -> None:
    assert two_proportion_z(Hits(20, 20), Hits(0, 20)).p < 1e-9
    assert newcombe_hybrid_interval(Hits(20, 20), Hits(0, 20))[0] > 0.7
    assert fisher_exact_p(Hits(10**5, 10**5), Hits(0, 10**5)) == 0.0


def test_a_table_just_beyond_nine_standard_deviations_has_no_probability() -> None:
    units, hits = 100_000, 1_000
    law = noncentral_hypergeometric(units, units, hits, 1.0)
    last = law.offset + law.p.size - 1

    def p(first: int) -> float:
        return fisher_exact_p(Hits(first, units), Hits(hits - first, units))

    assert p(last) > 0 == p(last + 1)
    assert p(law.offset) > 0 == p(law.offset - 1)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7])
def test_no_deviation_at_all_is_certain_to_be_exceeded(freedom: int) -> None:
    assert chi_square_tail(0.0, freedom) == 1
    assert chi_square_tail(-1e-12, freedom) == 1


def test_no_unit_has_no_hits() -> None:
    assert Hits(0, 0).rate == 0


def test_arms_as_far_apart_as_can_be_end_at_the_whole_difference() -> None:
    none, every = Hits(0, 5), Hits(5, 5)

    assert miettinen_nurminen_interval(none, every)[0] == -1
    assert miettinen_nurminen_interval(every, none)[1] == 1
    assert score_z(every, none, 1.0) == 0
    assert score_z(none, every, -1.0) == 0


def test_the_shares_of_a_split_may_have_any_sum_and_there_is_one_for_each_arm() -> None:
    assert sample_ratio_p([60, 40], [3, 2]) == 1
    assert sample_ratio_p([70, 40], [3, 2]) == pytest.approx(sample_ratio_p([70, 40], [0.6, 0.4]))
    with pytest.raises(ValueError, match="shorter"):
        sample_ratio_p([60, 40, 0], [3, 2])
