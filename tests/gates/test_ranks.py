"""Percentiles, Mann-Whitney U and the Hodges-Lehmann shift, against published cases, scipy and numpy."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from two_sample_cases import published, tolerance

from rampway.gates import ranks
from rampway.gates.ranks import (
    hodges_lehmann,
    mann_whitney,
    percentile,
    sample_of,
    sample_of_buckets,
)

# Halves, so that ties happen and differences are exact.
measured = st.lists(st.integers(-60, 60).map(lambda n: n / 2), min_size=1, max_size=70)
distinct = st.lists(st.integers(0, 10**6), min_size=2, max_size=24, unique=True)


@pytest.mark.parametrize("case", published("mann_whitney_normal"), ids=lambda case: case["id"])
def test_the_normal_law_of_u_gives_the_published_p(case: dict[str, Any]) -> None:
    first, second = sample_of(case["inputs"]["x"]), sample_of(case["inputs"]["y"])
    test = mann_whitney(first, second)
    z = ranks._z_of_u(test.u, first, second)

    p = stats.norm.sf(z) if case["inputs"].get("alternative") == "greater" else ranks.two_sided(z)

    assert (test.u, p) == pytest.approx(case["expected"], **tolerance(case))


@pytest.mark.parametrize("case", published("hodges_lehmann"), ids=lambda case: case["id"])
def test_the_shift_and_its_interval_are_the_published_ones(case: dict[str, Any]) -> None:
    shift = hodges_lehmann(
        sample_of(case["inputs"]["experimentData"]), sample_of(case["inputs"]["controlData"])
    )

    assert [shift.low, shift.high, shift.estimate] == pytest.approx(
        case["expected"], **tolerance(case)
    )


@given(measured, measured)
def test_u_and_its_normal_p_are_those_of_scipy(x: list[float], y: list[float]) -> None:
    first, second = sample_of(x), sample_of(y)
    test = mann_whitney(first, second)
    expected = stats.mannwhitneyu(x, y, method="asymptotic") if len({*x, *y}) > 1 else None

    assert test.u == sum((a > b) + (a == b) / 2 for a in x for b in y)
    assert test.chance == pytest.approx(test.u / (len(x) * len(y)))
    if expected is None:
        assert test.p == 1.0
    elif not test.exact:
        assert test.p == pytest.approx(expected.pvalue, rel=1e-9)


@given(distinct, st.data())
def test_few_measurements_without_ties_get_the_exact_law(
    values: list[int], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(values) - 1))
    x, y = values[:cut], values[cut:]

    test = mann_whitney(sample_of(x), sample_of(y))

    assert test.exact
    assert test.p == pytest.approx(stats.mannwhitneyu(x, y, method="exact").pvalue, rel=1e-9)


@given(measured, measured)
def test_the_shift_is_the_median_of_all_differences(x: list[float], y: list[float]) -> None:
    differences = [a - b for a in x for b in y]

    shift = hodges_lehmann(sample_of(x), sample_of(y))

    assert shift.estimate == np.median(differences)
    assert min(differences) <= shift.low <= shift.estimate <= shift.high <= max(differences)


@given(measured, measured)
def test_differences_too_many_to_list_are_counted_to_the_same_shift(
    x: list[float], y: list[float]
) -> None:
    first, second = sample_of(x), sample_of(y)
    listed = hodges_lehmann(first, second)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "_PAIRS_DIRECT", 0)
        counted = hodges_lehmann(first, second)

    assert counted == pytest.approx(listed, abs=1e-9)


def test_the_interval_covers_the_true_shift_as_often_as_it_says() -> None:
    dice = np.random.default_rng(20)
    covered = 0

    for _ in range(400):
        x, y = dice.lognormal(5, 0.5, 80) + 12, dice.lognormal(5, 0.5, 60)
        shift = hodges_lehmann(sample_of(x), sample_of(y))
        covered += shift.low <= 12 <= shift.high

    assert 0.92 <= covered / 400 <= 0.98


def test_a_time_out_is_slower_than_anything_and_a_shift_by_time_outs_is_infinite() -> None:
    quick, stuck = sample_of([10.0, 11.0, 12.0]), sample_of([10.0, math.inf, math.inf])

    assert mann_whitney(stuck, quick).chance == pytest.approx((0.5 + 3 + 3) / 9)
    assert hodges_lehmann(stuck, quick).estimate == math.inf
    assert hodges_lehmann(quick, stuck).estimate == -math.inf
    assert hodges_lehmann(stuck, stuck).estimate == 0.0
    assert percentile(stuck, 0.95) == math.inf


@given(st.lists(st.floats(0.01, 1e5), min_size=1, max_size=60), st.floats(0.001, 1))
def test_a_percentile_is_the_smallest_measurement_that_enough_do_not_exceed(
    values: list[float], quantile: float
) -> None:
    found = percentile(sample_of(values), quantile)

    assert found in values
    assert found == np.quantile(values, quantile, method="inverted_cdf")


def test_a_percentile_of_whole_measurements_is_not_moved_by_rounding() -> None:
    assert percentile(sample_of(range(1, 21)), 0.95) == 19
    assert math.isnan(percentile(sample_of([]), 0.5))


@given(st.lists(st.floats(1.0, 1e4), min_size=1, max_size=50), st.floats(0.01, 1))
def test_buckets_of_two_percent_give_percentiles_to_one_percent(
    values: list[float], quantile: float
) -> None:
    buckets: dict[int, int] = {}
    for value in values:
        bucket = math.floor(math.log(value) / math.log(1.02))
        buckets[bucket] = buckets.get(bucket, 0) + 1

    found = percentile(sample_of_buckets(buckets), quantile)

    assert found == pytest.approx(percentile(sample_of(values), quantile), rel=0.0101)


def test_the_bucket_of_time_outs_holds_no_latency() -> None:
    sample = sample_of_buckets({100: 3, 100_000: 2, 200: 0})

    assert sample.size == 5
    assert percentile(sample, 0.5) == pytest.approx(1.02**100.5)
    assert percentile(sample, 0.9) == math.inf


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        sample_of([1.0, math.nan])
    with pytest.raises(ValueError, match="negative"):
        sample_of_buckets({3: -1})
    with pytest.raises(ValueError, match="both arms"):
        hodges_lehmann(sample_of([]), sample_of([1.0]))
    assert mann_whitney(sample_of([]), sample_of([1.0])).p == 1.0


@given(measured, measured, st.sampled_from([1e-3, 1e3, 60.0]))
def test_seconds_and_milliseconds_say_the_same(x: list[float], y: list[float], unit: float) -> None:
    in_ms = mann_whitney(sample_of(x), sample_of(y))
    in_units = mann_whitney(sample_of([a * unit for a in x]), sample_of([b * unit for b in y]))

    assert in_ms == in_units
