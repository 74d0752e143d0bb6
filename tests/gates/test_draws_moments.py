"""Sums too large to count are a Pearson type III law with three moments of the exact one."""

import math

import numpy as np
import pytest
from scipy import stats

from rampway.gates import draws
from rampway.gates.draws import sum_of_draws
from rampway.gates.engine import Law

TABLES = [
    ({0: 200, 1: 60, 2: 40, 4: 30}, 100),
    ({0: 30, 1: 40, 2: 60, 4: 200}, 100),  # the skew falls to the left
    ({1: 90, 2: 100, 4: 140}, 60),  # the commonest value is the largest, and none is 0
    ({0: 200, 1: 60, 2: 40, 4: 30}, 230),
    ({-6: 50, -3: 90, 0: 120, 9: 40}, 120),
]


def by_moments(units: dict[int, int], drawn: int, patch: pytest.MonkeyPatch) -> Law:
    with patch.context() as patched:
        patched.setattr(draws, "EXACT_PRODUCTS", 0)
        return sum_of_draws(units, drawn)


def moments(law: Law) -> tuple[float, float, float]:
    """Mean, variance and third central moment."""
    sums = law.offset + np.arange(law.p.size)
    mean = float(law.p @ sums)
    return mean, float(law.p @ (sums - mean) ** 2), float(law.p @ (sums - mean) ** 3)


@pytest.mark.parametrize(("units", "drawn"), TABLES)
def test_the_three_moments_are_those_of_the_exact_law(
    units: dict[int, int], drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = moments(sum_of_draws(units, drawn))

    found = moments(by_moments(units, drawn, monkeypatch))

    assert found[0] == pytest.approx(exact[0], rel=1e-7)
    assert found[1] == pytest.approx(exact[1], rel=1e-6)
    assert found[2] == pytest.approx(exact[2], rel=1e-3)


@pytest.mark.parametrize(("units", "drawn"), TABLES)
def test_the_law_by_moments_is_scipys_pearson_type_three(
    units: dict[int, int], drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mean, variance, third = moments(sum_of_draws(units, drawn))

    law = by_moments(units, drawn, monkeypatch)

    step = math.gcd(*(value - min(units) for value in units))
    sums = law.offset + step * np.arange(law.p[::step].size)
    pearson = stats.pearson3(third / variance**1.5, loc=mean, scale=math.sqrt(variance))
    density = pearson.pdf(sums)
    likely = np.abs(sums - mean) < 5 * math.sqrt(variance)
    expected = (density / density.sum())[likely]
    assert law.p[::step][likely] == pytest.approx(expected, rel=2e-3)


def test_a_law_that_is_not_skewed_is_the_normal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    units = {0: 100, 1: 120, 2: 100}

    law = by_moments(units, 160, monkeypatch)

    sd = math.sqrt(160 * 160 / 319 * (200 / 320))
    density = stats.norm.pdf(law.offset + np.arange(law.p.size), 160, sd)
    assert law.p == pytest.approx(density / density.sum(), rel=1e-9, abs=1e-300)


def test_a_law_by_moments_reaches_nine_sd_and_25_or_the_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wide = by_moments({0: 10_000, 1: 12_000, 2: 10_000}, 16_000, monkeypatch)
    narrow = by_moments({0: 5, 1: 6, 2: 5}, 8, monkeypatch)

    reach = int(9 * math.sqrt(16_000 * 16_000 / 31_999 * (20_000 / 32_000))) + 25
    assert (wide.offset, wide.p.size) == (16_000 - reach, 2 * reach + 1)
    assert (narrow.offset, narrow.p.size) == (0, 17)


def test_a_skewed_law_has_no_chance_beyond_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    units = {0: 3_000, 5: 6, 9: 5}

    law = by_moments(units, 300, monkeypatch)

    assert law.p[0] >= 0
    assert np.isfinite(law.p).all()
    assert law.p.sum() == pytest.approx(1)


def test_sums_are_counted_exactly_up_to_ten_million_products() -> None:
    few, many = {0: 40, 1: 30, 2: 30}, {0: 4_000, 1: 3_000, 3: 3_000}

    assert sum_of_draws(few, 50).p.size <= 101
    reach = int(9 * math.sqrt(moments(sum_of_draws(many, 5_000))[1])) + 25
    assert sum_of_draws(many, 5_000).p.size == 2 * reach + 1


@pytest.mark.parametrize(
    ("units", "rate", "drawn"),
    [(30, 0.1, 50_000), (500, 0.1, 100), (10_000, 0.5, 9_000), (10**6, 1e-5, 10**4), (3, 0.9, 9)],
)
def test_no_more_of_a_value_are_followed_than_have_a_chance(
    units: int, rate: float, drawn: int
) -> None:
    mean = units * rate
    widest = min(units, drawn, int(mean + 9 * math.sqrt(mean * (1 - rate))) + 25)

    most = draws._most(units, rate, drawn)

    enough = next(
        (
            count
            for count in range(int(mean) + 1, widest)
            if count * math.log(count / mean) - count + mean >= math.log(1e18)
        ),
        widest,
    )
    assert most == enough
    assert most == min(units, drawn) or stats.binom.sf(most, units, rate) < 1e-18


@pytest.mark.parametrize("step", [1, 2, 3])
def test_sums_lie_on_the_lattice_of_their_values(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = {1: 90, 1 + step: 60, 1 + 2 * step: 40, 1 + 4 * step: 30}
    plain = sum_of_draws({0: 90, 1: 60, 2: 40, 4: 30}, 70)

    exact, near = sum_of_draws(units, 70), by_moments(units, 70, monkeypatch)

    for law in (exact, near):
        assert (law.offset - 70) % step == 0
        possible = np.arange(law.p.size) % step == 0
        assert (law.p[possible] > 0).all()
        assert (law.p[~possible] == 0).all()
    assert exact.offset == 70 + step * plain.offset
    assert exact.p[::step] == pytest.approx(plain.p, rel=1e-12)


def test_a_value_that_no_unit_has_changes_nothing() -> None:
    units = {0: 200, 1: 60, 2: 40, 4: 30}

    plain, more = sum_of_draws(units, 100), sum_of_draws(units | {100_000: 0}, 100)

    assert more.offset == plain.offset
    assert more.p.tolist() == plain.p.tolist()


def test_the_products_that_a_law_takes_decide_whether_it_is_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    units, drawn = {0: 200, 1: 60, 2: 40, 5: 30}, 100
    exact = sum_of_draws(units, drawn)
    most = sum(draws._most(units[value], drawn / 330, drawn) for value in (1, 2, 5))
    at_most = draws._most(130, drawn / 330, drawn)
    products = at_most * (at_most * 5 + 1) * most

    monkeypatch.setattr(draws, "EXACT_PRODUCTS", products)
    enough = sum_of_draws(units, drawn)
    monkeypatch.setattr(draws, "EXACT_PRODUCTS", products - 1)
    short = sum_of_draws(units, drawn)

    assert enough.p.tolist() == exact.p.tolist()
    assert short.p.size != exact.p.size


def test_sums_that_the_law_by_moments_does_not_reach_have_no_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    units = {0: 30_000, 1: 3_000, 60: 3}  # so skewed that the law begins above the least sum
    mean, variance, third = moments(sum_of_draws(units, 3_000))
    begins = mean - 2 * variance**2 / third

    law = by_moments(units, 3_000, monkeypatch)

    sums = law.offset + np.arange(law.p.size)
    assert law.offset < begins < mean
    assert (law.p[sums < begins] == 0).all()
    assert law.p.sum() == pytest.approx(1)
