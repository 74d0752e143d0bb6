"""The law of a sum drawn without replacement: exact on small tables, near enough on large ones."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rampway.gates import draws
from rampway.gates.draws import sum_of_draws
from rampway.gates.engine import Law

few_values = st.lists(st.sampled_from([0, 1, 2, 4, 7, 12]), min_size=1, max_size=9)


def as_dict(law: Law) -> dict[int, float]:
    return {law.offset + n: p for n, p in enumerate(law.p.tolist()) if p > 0}


def tail(law: Law, least: int) -> float:
    return float(law.p[max(0, least - law.offset) :].sum())


@given(few_values, st.data())
def test_a_small_law_is_the_list_of_all_draws(values: list[int], data: st.DataObject) -> None:
    drawn = data.draw(st.integers(0, len(values)))
    sums = Counter(sum(draw) for draw in combinations(values, drawn))
    ways = math.comb(len(values), drawn)

    law = as_dict(sum_of_draws(Counter(values), drawn))

    assert law == pytest.approx({value: count / ways for value, count in sums.items()}, abs=1e-13)


@given(st.dictionaries(st.integers(0, 100), st.integers(0, 12), min_size=1, max_size=8), st.data())
def test_a_law_has_the_mean_and_the_ends_of_its_draws(
    units: dict[int, int], data: st.DataObject
) -> None:
    whole = sum(units.values())
    drawn = data.draw(st.integers(0, whole))
    values = sorted(Counter(units).elements())

    law = sum_of_draws(units, drawn)

    assert law.p.sum() == pytest.approx(1)
    assert law.mean == pytest.approx(drawn * sum(values) / max(1, whole), rel=1e-9, abs=1e-9)
    assert law.offset >= sum(values[:drawn])
    assert law.offset + law.p.size - 1 <= sum(values[whole - drawn :])


def test_two_values_are_hypergeometric_at_any_size() -> None:
    law = sum_of_draws({2: 99_000, 6: 1_000}, 10_000)
    bad = stats.hypergeom(100_000, 1_000, 10_000)

    assert tail(law, 20_000 + 4 * 130) == pytest.approx(bad.sf(129), rel=1e-9)
    assert set(as_dict(law)) <= set(range(20_000, 24_001, 4))


def test_few_imperfect_answers_among_many_are_still_counted_exactly() -> None:
    units = {0: 500_000, 1: 30, 3: 20, 4: 10}
    dice = np.random.default_rng(5)

    law = sum_of_draws(units, 50_000)

    drawn = dice.multivariate_hypergeometric([*units.values()], 50_000, size=40_000)
    sums = drawn @ np.asarray([*units])
    for least in (10, 13, 20, 27):
        seen, expected = float((sums >= least).mean()), tail(law, least)
        assert abs(seen - expected) <= 4 * math.sqrt(expected * (1 - expected) / 40_000)


@pytest.mark.parametrize(
    ("units", "drawn"),
    [
        ({0: 2_500, 1: 100, 2: 100, 3: 100, 4: 200}, 300),  # most answers perfect
        ({0: 120, 1: 160, 2: 180, 3: 200, 4: 40}, 350),  # half of them drawn
        ({0: 12, 1: 32, 2: 120, 3: 180, 4: 256}, 520),  # the candidate has the larger share
        (dict.fromkeys(range(60), 3), 60),  # a fine scale
    ],
    ids=["skewed", "even split", "large share", "fine scale"],
)
def test_a_law_by_moments_keeps_the_tails_of_the_exact_one(
    units: dict[int, int], drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_moments = sum_of_draws(units, drawn)
    monkeypatch.setattr(draws, "EXACT_PRODUCTS", 10**11)
    exact = sum_of_draws(units, drawn)

    sums = exact.offset + np.arange(exact.p.size)
    sd = math.sqrt(float(exact.p @ (sums - exact.mean) ** 2))
    assert by_moments.mean == pytest.approx(exact.mean, abs=0.01 * sd)
    for sigmas, most in ((1.0, 1.01), (2.0, 1.03), (3.0, 1.08), (3.5, 1.15)):
        least = math.ceil(exact.mean + sigmas * sd)
        # Above the exact tail by a little is a watch that is a little late; below would be a false one.
        assert 0.985 <= tail(by_moments, least) / tail(exact, least) <= most


def test_a_normal_law_would_forget_the_skew() -> None:
    law = sum_of_draws({0: 250, 1: 20, 2: 10, 3: 10, 4: 10}, 30)
    sums = law.offset + np.arange(law.p.size)
    sd = math.sqrt(float(law.p @ (sums - law.mean) ** 2))

    least = math.ceil(law.mean + 3 * sd)

    assert tail(law, least) > 2.5 * stats.norm.sf((least - 0.5 - law.mean) / sd)


def test_more_draws_than_units_are_refused() -> None:
    with pytest.raises(ValueError, match="5 values cannot be drawn from 4"):
        sum_of_draws({1: 4}, 5)


def test_nothing_drawn_and_everything_drawn_are_certain() -> None:
    assert as_dict(sum_of_draws({}, 0)) == {0: 1.0}
    assert as_dict(sum_of_draws({1: 2, 3: 1}, 0)) == {0: 1.0}
    assert as_dict(sum_of_draws({1: 2, 3: 1}, 3)) == {5: 1.0}
    assert as_dict(sum_of_draws({3: 4}, 2)) == {6: 1.0}
