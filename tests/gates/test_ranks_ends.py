"""Where ranks begin and end: few measurements, exact ties with a limit, and arms of time-outs."""

import math

import numpy as np
import pytest
from scipy import stats

from rampway.gates.ranks import (
    hodges_lehmann,
    mann_whitney,
    percentile,
    sample_of,
    sample_of_buckets,
)


def test_the_last_bucket_that_is_a_latency_is_told_from_never() -> None:
    assert math.isfinite(percentile(sample_of_buckets({19_999: 1}), 0.5))
    assert percentile(sample_of_buckets({20_000: 1}), 0.5) == math.inf


@pytest.mark.parametrize(("units", "exact"), [(49, True), (50, False)])
def test_the_exact_law_ends_at_fifty_measurements(units: int, exact: bool) -> None:  # noqa: FBT001 - a row
    many, few = sample_of(range(units)), sample_of([0.5, 7.5])

    assert mann_whitney(many, few).exact is mann_whitney(few, many).exact is exact


def test_a_percentile_of_ten_million_is_not_moved_by_rounding_either() -> None:
    assert 0.07 * 10_000_000 > 700_000

    assert percentile(sample_of_buckets({10: 700_000, 20: 9_300_000}), 0.07) == 1.02**10.5


def test_an_arm_without_measurements_is_as_often_slower_as_quicker() -> None:
    nothing = mann_whitney(sample_of([1.0]), sample_of([]))

    assert nothing == (0.0, 1.0, 0.5, 0.0)
    assert not nothing.exact


@pytest.mark.parametrize(
    ("x", "y"), [([1.0, 4.0], [2.0, 9.0]), ([1.0, 4.0], [1.0, 9.0]), ([3.0], [3.0])]
)
def test_too_few_measurements_leave_every_difference_possible(
    x: list[float], y: list[float]
) -> None:
    shift = hodges_lehmann(sample_of(x), sample_of(y))

    assert shift.low == min(a - b for a in x for b in y)
    assert shift.high == max(a - b for a in x for b in y)


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_the_intervals_ends_are_differences_as_far_from_the_middle_as_u_varies(
    level: float,
) -> None:
    dice = np.random.default_rng(21)
    x, y = dice.normal(0, 1, 60), dice.normal(0.3, 1, 50)
    differences = np.sort(np.subtract.outer(x, y).ravel())
    reach = stats.norm.isf(level / 2) * math.sqrt(60 * 50 * 111 / 12)
    outside = math.floor(1500 - reach)

    shift = hodges_lehmann(sample_of(x), sample_of(y), level)

    assert (shift.low, shift.high) == (differences[outside - 1], differences[-outside])


def test_few_measurements_take_the_intervals_ends_from_the_exact_law() -> None:
    x, y = [1.0, 5.0, 20.0, 77.0], [2.0, 9.0, 31.0, 100.0]
    differences = sorted(a - b for a in x for b in y)

    wide, narrow = (hodges_lehmann(sample_of(x), sample_of(y), level) for level in (0.05, 0.12))

    # U of 4 and 4: P(U <= 0) = 1 / 70, P(U <= 1) = 2 / 70, P(U <= 2) = 4 / 70, P(U <= 3) = 7 / 70.
    assert (wide.low, wide.high) == (differences[0], differences[-1])
    assert (narrow.low, narrow.high) == (differences[3 - 1], differences[-3])


def test_time_outs_are_out_of_the_reach_of_any_latency() -> None:
    quick, stuck = sample_of([10.0, 5_000.0]), sample_of([10.0, math.inf, math.inf])
    only = sample_of([math.inf])

    assert hodges_lehmann(stuck, quick) == (math.inf, -4990.0, math.inf)
    assert hodges_lehmann(quick, stuck) == (-math.inf, -math.inf, 4990.0)
    assert hodges_lehmann(only, only) == (0.0, 0.0, 0.0)
    assert hodges_lehmann(only, sample_of([7.0])) == (math.inf, math.inf, math.inf)
    assert hodges_lehmann(sample_of([7.0]), only).estimate == -math.inf


@pytest.mark.parametrize(
    ("x", "y", "exact"),
    [
        ([1.0, 5.0, 3.0], [2.0, 4.0], True),
        ([1.0, 1.0, 3.0], [2.0, 4.0], False),
        ([2.0, 4.0], [1.0, 1.0, 3.0], False),
        ([1.0, 3.0], [1.0, 4.0], False),
    ],
    ids=["no tie", "a tie in the first", "a tie in the second", "a tie between both"],
)
def test_any_tie_takes_the_exact_law_away(x: list[float], y: list[float], exact: bool) -> None:  # noqa: FBT001 - a row
    assert mann_whitney(sample_of(x), sample_of(y)).exact is exact


def test_one_measurement_against_two_that_tie_varies_by_half_a_pair() -> None:
    assert mann_whitney(sample_of([2.0]), sample_of([1.0, 1.0])).z == pytest.approx(0.5 / 0.5**0.5)
