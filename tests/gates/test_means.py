"""The difference of two means and its proof: what they are by numpy and scipy, and where limits lie."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from rampway.gates.means import MarginProof, MeanDifference

Cells = list[tuple[int, int, int]]
UNEVEN: list[Cells] = [
    [(4, 5, 60), (3, 2, 20), (0, 3, 4)],
    [(4, 9, 10), (1, 1, 30)],
    [(4, 7, 0), (2, 2, 0)],  # no baseline: no difference to see
    [(2, 4, 55), (4, 0, 9), (3, 6, 1)],
]


def mean_of(slices: list[Cells], levels: int = 5) -> MeanDifference:
    mean = MeanDifference(levels)
    for cells in slices:
        mean.add(cells)
    return mean


def scores(slices: list[Cells], arm: int) -> np.ndarray:
    cells = [cell for each in slices for cell in each]
    return np.repeat([cell[0] for cell in cells], [cell[arm] for cell in cells])


def weights(slices: list[Cells]) -> np.ndarray:
    """Rows of the candidate's and the baseline's units, and the slice's weight, where both served."""
    units = [(scores([cells], 1).size, scores([cells], 2).size) for cells in slices]
    return np.asarray([(c, b, c * b / (c + b)) for c, b in units if c and b])


def test_slices_are_weighed_by_the_harmonic_mean_of_their_units() -> None:
    both = [cells for cells in UNEVEN if scores([cells], 2).size]
    by_slice = [scores([cells], 1).mean() - scores([cells], 2).mean() for cells in both]

    found = mean_of(UNEVEN)

    assert found.levels == pytest.approx(np.average(by_slice, weights=weights(UNEVEN)[:, 2]))
    assert found.units == (scores(UNEVEN, 1).size, scores(UNEVEN, 2).size)
    assert mean_of([[(4, 7, 0)], [(1, 0, 7)]]).levels == 0


@pytest.mark.parametrize(
    "slices",
    [UNEVEN, [[(4, 20, 300), (0, 20, 1)]], [[(4, 40, 90), (0, 1, 90)], [(4, 3, 9), (2, 1, 9)]]],
    ids=["uneven", "the candidate spreads more", "the baseline spreads more"],
)
def test_the_standard_error_is_the_larger_of_the_pooled_one_and_that_by_arm(
    slices: list[Cells],
) -> None:
    new, old = scores(slices, 1), scores(slices, 2)
    candidate, baseline, weight = weights(slices).T
    pooled = ((new.size - 1) * new.var(ddof=1) + (old.size - 1) * old.var(ddof=1)) / (
        new.size + old.size - 2
    )
    squares = (
        pooled * weight.sum(),
        new.var(ddof=1) * (weight**2 / candidate).sum()
        + old.var(ddof=1) * (weight**2 / baseline).sum(),
    )

    error = mean_of(slices).standard_error()

    assert error == pytest.approx(math.sqrt(max(squares)) / weight.sum(), rel=1e-12)


def test_two_units_of_each_arm_have_an_error_and_one_has_none() -> None:
    assert math.isfinite(mean_of([[(4, 1, 1), (3, 1, 1)]]).standard_error())
    assert mean_of([[(4, 1, 1), (3, 0, 1)]]).standard_error() == math.inf
    assert mean_of([[(4, 1, 1), (3, 1, 0)]]).standard_error() == math.inf
    assert mean_of([[(4, 2, 0), (3, 2, 0)], [(4, 0, 9)]]).standard_error() == math.inf
    assert mean_of([]).standard_error() == math.inf


def test_the_baselines_sd_is_that_of_its_scores() -> None:
    mean = mean_of(UNEVEN)

    assert mean.baseline_sd == pytest.approx(scores(UNEVEN, 2).std(), rel=1e-12)
    assert not mean.baseline_is_flat


@pytest.mark.parametrize(("units", "unseen"), [(4, 0.5), (6, 0.5), (7, 3 / 7), (100, 0.03)])
def test_a_flat_baseline_has_the_sd_that_the_rule_of_three_allows(
    units: int, unseen: float
) -> None:
    mean = mean_of([[(3, 0, units), (1, 5, 0)]])

    assert mean.baseline_is_flat
    assert mean.baseline_sd == pytest.approx(4 * math.sqrt(unseen * (1 - unseen)))


def test_nothing_judged_has_no_sd_and_no_limit() -> None:
    assert mean_of([]).baseline_sd == 0
    assert mean_of([[(4, 9, 0)]]).limit_without_spread_sd(0.05) == -math.inf
    assert mean_of([[(4, 0, 9)]]).limit_without_spread_sd(0.05) == -math.inf


def test_without_spread_what_is_off_the_commonest_score_weighs_the_whole_scale() -> None:
    mean = mean_of([[(3, 96, 900), (2, 1, 3), (0, 1, 0), (4, 2, 7)]])

    lost = stats.beta.ppf(0.95, 3, 98)  # 2 of 100 under the commonest score
    gained = 7 / 910
    sd = scores([[(3, 0, 900), (2, 0, 3), (4, 0, 7)]], 2).std()
    assert mean.limit_without_spread_sd(0.05) == pytest.approx(-4 * (lost + gained) / sd, rel=1e-6)


def test_without_spread_no_more_than_the_whole_scale_is_lost() -> None:
    mean = mean_of([[(0, 2, 0), (1, 0, 9), (2, 0, 8)]], levels=3)

    assert mean.limit_without_spread_sd(0.05) == pytest.approx(-2 / mean.baseline_sd)


@pytest.mark.parametrize(
    ("candidate", "baseline", "other", "normal"),
    [(30, 30, 10, True), (29, 40, 10, False), (40, 29, 10, False), (30, 30, 9, False)],
)
def test_a_mean_is_normal_from_thirty_units_of_each_arm_and_ten_that_differ(
    candidate: int, baseline: int, other: int, *, normal: bool
) -> None:
    mean = mean_of([[(4, candidate, baseline - other), (2, 0, other)]])

    assert mean.is_normal is normal


def test_a_proof_may_look_at_the_very_bit_that_rounding_allows() -> None:
    proof, early = (MarginProof(beta=0.05, hold_seconds=1800) for _ in range(2))

    proof.look(1800 * (1 - 1e-9), 1.0, 400.0)
    early.look(1800 * (1 - 1.5e-9), 1.0, 400.0)

    assert proof.critical_z is not None
    assert early.critical_z is None


def test_a_statistic_at_the_critical_value_passes_and_one_under_it_does_not() -> None:
    asked = MarginProof(beta=0.05, hold_seconds=100)
    asked.look(100, 0.0, 400.0)
    assert asked.critical_z is not None

    found = []
    for z in (asked.critical_z + 1e-9, asked.critical_z - 1e-9):
        proof = MarginProof(beta=0.05, hold_seconds=100)
        proof.look(100, z, 400.0)
        found.append(proof.passed)

    assert found == [True, False]


def test_a_second_look_has_the_critical_value_of_the_bivariate_normal_law() -> None:
    proof = MarginProof(beta=0.05, hold_seconds=100)
    proof.look(100, 0.0, 400.0)
    first = stats.norm.isf(0.8 * 0.05)
    correlation = math.sqrt(400 / 1000)

    proof.look(200, 0.0, 1000.0)

    both = stats.multivariate_normal(cov=[[1, correlation], [correlation, 1]])
    second = optimize.brentq(lambda z: 1 - both.cdf([first, z]) - 0.9 * 0.05, 1, 5)
    assert proof.critical_z == pytest.approx(second, abs=0.01)


def test_information_that_hardly_grows_waits_for_more() -> None:
    proof = MarginProof(beta=0.05, hold_seconds=100)
    proof.look(100, 0.0, 400.0)
    first = proof.critical_z

    proof.look(101, 0.0, 400.0 + 3.9 * 400 / 200**2)  # less than two steps of the lattice
    waits = proof.critical_z
    proof.look(102, 0.0, 399.0)

    assert first is not None
    assert waits == pytest.approx(first, abs=0.01)
    assert proof.critical_z == pytest.approx(first, abs=0.01)


def test_a_proof_that_passed_is_asked_again_at_the_next_look() -> None:
    proof = MarginProof(beta=0.05, hold_seconds=100)
    proof.look(100, 9.0, 400.0)
    assert proof.passed

    proof.look(200, -9.0, 1000.0)

    assert not proof.passed


def test_a_proof_that_has_not_looked_has_not_passed() -> None:
    proof = MarginProof(beta=0.05, hold_seconds=100)

    assert (proof.passed, proof.critical_z) == (False, None)


def test_a_second_look_at_the_same_information_only_spends_more() -> None:
    proof = MarginProof(beta=0.05, hold_seconds=100)
    proof.look(100, 0.0, 400.0)

    proof.look(200, 0.0, 400.0)

    assert proof.critical_z == pytest.approx(stats.norm.isf(0.9 * 0.05), abs=0.006)
