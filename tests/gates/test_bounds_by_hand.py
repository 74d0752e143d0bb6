"""Bounds and tests on counts so small, or so far out, that the answer is known by hand."""

import math

import pytest

from rampway.gates.bounds import (
    binomial_tail_below,
    clopper_pearson_upper,
    holm,
    mcnemar_mid_p,
    mcnemar_p,
    most_bad_below,
    newcombe_paired_interval,
    normal_quantile,
    tango_interval,
    units_for_bound,
    wilson_interval,
)


def test_what_is_all_bad_or_was_never_seen_is_bounded_by_one() -> None:
    assert clopper_pearson_upper(5, 5, 0.05) == 1
    assert clopper_pearson_upper(0, 0, 0.05) == 1


@pytest.mark.parametrize(("units", "level"), [(1, 0.05), (10, 0.05), (400, 0.025)])
def test_without_a_bad_unit_the_bound_is_a_root_of_the_level(units: int, level: float) -> None:
    bound = clopper_pearson_upper(0, units, level)

    assert bound == pytest.approx(1 - level ** (1 / units), rel=1e-12)


def test_of_coins_the_bound_meets_a_half_where_the_level_is_a_power() -> None:
    assert clopper_pearson_upper(3, 4, 1 / 16) == pytest.approx((15 / 16) ** 0.25, rel=1e-12)
    assert clopper_pearson_upper(0, 6, 1 / 64) == pytest.approx(0.5, rel=1e-12)
    assert most_bad_below(6, 0.5, 1 / 128) == -1
    assert most_bad_below(6, 0.5, 1.5 / 64) == 0
    assert most_bad_below(6, 0.5, 7.5 / 64) == 1


@pytest.mark.parametrize(("level", "units"), [(1 / 2, 2), (1 / 4, 3), (1 / 64, 7), (0.04, 5)])
def test_a_bound_just_at_the_rate_is_not_under_it(level: float, units: int) -> None:
    assert units_for_bound(0, 0.5, level) == units


@pytest.mark.parametrize("units", range(1, 20))
def test_a_tail_that_is_just_the_level_takes_one_unit_more(units: int) -> None:
    assert units_for_bound(0, 0.5, binomial_tail_below(0, units, 0.5)) == units + 1


def test_one_unit_can_be_enough() -> None:
    assert units_for_bound(0, 0.96, 0.05) == 1
    assert units_for_bound(1, 0.99, 0.05) == 2


@pytest.mark.parametrize("bad", range(5))
@pytest.mark.parametrize("rate", [0.2, 0.3, 0.5, 0.7])
def test_the_units_for_a_bound_are_found_by_trying_each_number(bad: int, rate: float) -> None:
    def below(units: int) -> float:
        return math.fsum(
            math.comb(units, n) * rate**n * (1 - rate) ** (units - n) for n in range(bad + 1)
        )

    fewest = next(units for units in range(bad + 1, 200) if below(units) < 0.05)

    assert units_for_bound(bad, rate, 0.05) == fewest


def test_a_tail_is_a_probability() -> None:
    assert binomial_tail_below(1, 4, 0.5) == pytest.approx(5 / 16, rel=1e-12)
    assert binomial_tail_below(0, 10**6, 0.5) == 0
    for units in range(1, 300):
        assert 1 - 1e-12 < binomial_tail_below(units, units, 0.37) <= 1


@pytest.mark.parametrize(
    ("regressed", "improved", "p", "mid"),
    [
        (3, 1, 5 / 16, 3 / 16),
        (1, 3, 15 / 16, 13 / 16),
        (5, 0, 1 / 32, 1 / 64),
        (0, 5, 1, 1 - 1 / 64),
        (2, 2, 11 / 16, 1 / 2),
    ],
)
def test_mcnemars_test_counts_coins(regressed: int, improved: int, p: float, mid: float) -> None:
    assert mcnemar_p(regressed, improved) == pytest.approx(p, rel=1e-12)
    assert mcnemar_p(regressed, improved) <= 1
    assert mcnemar_mid_p(regressed, improved) == pytest.approx(mid, rel=1e-12)


def test_many_coins_are_no_more_than_certain() -> None:
    assert all(mcnemar_p(0, improved) <= 1 for improved in range(1, 400))


@pytest.mark.parametrize(
    ("ps", "adjusted"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.6, 0.9], [1.0, 1.0]),
        ([0.02, 0.02, 0.5], [0.06, 0.06, 0.5]),
        ([0.03, 0.0], [0.03, 0.0]),
    ],
)
def test_holm_multiplies_by_the_tests_that_are_left(ps: list[float], adjusted: list[float]) -> None:
    assert holm(ps) == pytest.approx(adjusted, rel=1e-12)


def test_the_quantile_of_the_normal_law_is_the_well_known_one() -> None:
    assert normal_quantile(0.975) == pytest.approx(1.959963984540054, rel=1e-12)


def test_wilsons_interval_meets_the_score_test_at_its_ends() -> None:
    for bad, units in ((1, 10), (5, 10), (9, 40)):
        for end in wilson_interval(bad, units, 0.05):
            score = (bad / units - end) / math.sqrt(end * (1 - end) / units)
            assert abs(score) == pytest.approx(1.959963984540054, rel=1e-9)


def test_wilsons_interval_ends_at_never_and_always() -> None:
    for units in range(1, 200):
        low, high = wilson_interval(0, units, 0.05)
        assert 0 <= low < 1e-12 < high < 1
        low, high = wilson_interval(units, units, 0.05)
        assert 0 < low < 1 - 1e-12 < high <= 1


def newcombe_by_hand(
    both: int, improved: int, regressed: int, neither: int, likeness: float
) -> tuple[float, float]:
    pairs = both + improved + regressed + neither
    old, new = (both + regressed) / pairs, (both + improved) / pairs
    old_low, old_high = wilson_interval(both + regressed, pairs, 0.05)
    new_low, new_high = wilson_interval(both + improved, pairs, 0.05)
    down = (new - new_low) ** 2 + (old_high - old) ** 2
    down -= 2 * likeness * (new - new_low) * (old_high - old)
    up = (new_high - new) ** 2 + (old - old_low) ** 2
    up -= 2 * likeness * (new_high - new) * (old - old_low)
    return new - old - math.sqrt(down), new - old + math.sqrt(up)


@pytest.mark.parametrize(
    ("table", "likeness"),
    [
        ((8, 3, 3, 2), 0.0),  # 7 of a product, less half of 16 pairs, is none
        ((30, 5, 8, 20), (600 - 40 - 31.5) / math.sqrt(35 * 28 * 38 * 25)),
        (
            (3, 20, 30, 5),
            (15 - 600) / math.sqrt(23 * 35 * 33 * 25),
        ),  # not corrected: it is negative
        ((9, 0, 4, 0), 0.0),  # the candidate fails nowhere new: no correlation to tell
        ((6, 2, 3, 1), 0.0),
        ((2, 1, 1, 1), 0.0),  # a product of 1, less half of 5 pairs
    ],
)
def test_newcombes_interval_adds_wilsons_with_their_correlation(
    table: tuple[int, int, int, int], likeness: float
) -> None:
    found = newcombe_paired_interval(*table, 0.05)

    assert found == pytest.approx(newcombe_by_hand(*table, likeness), rel=1e-12)


def test_an_interval_of_a_difference_ends_at_minus_one_and_one() -> None:
    for pairs in range(1, 30):
        assert newcombe_paired_interval(0, pairs, 0, 0, 0.05)[1] == pytest.approx(1)
        assert newcombe_paired_interval(0, 0, pairs, 0, 0.05)[0] == pytest.approx(-1)
        assert tango_interval(pairs, 0, pairs, 0.05)[1] == pytest.approx(1)
        assert tango_interval(0, pairs, pairs, 0.05)[0] == pytest.approx(-1)
        assert newcombe_paired_interval(0, pairs, 0, 0, 0.05)[1] <= 1
        assert newcombe_paired_interval(0, 0, pairs, 0, 0.05)[0] >= -1


@pytest.mark.parametrize("level", [0.05, 0.99])
@pytest.mark.parametrize("pairs", [1, 10, 100])
def test_without_a_changed_pair_tangos_interval_is_known(pairs: int, level: float) -> None:
    z = normal_quantile(1 - level / 2)
    reach = z * z / (pairs + z * z)

    assert tango_interval(0, 0, pairs, level) == pytest.approx((-reach, reach), rel=1e-9)


def test_tangos_interval_turns_with_the_arms() -> None:
    low, high = tango_interval(7, 2, 50, 0.05)

    assert tango_interval(2, 7, 50, 0.05) == pytest.approx((-high, -low), rel=1e-9)
    assert low < 0.1 < high
