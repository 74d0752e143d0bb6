"""The engine spends exactly what it says, on the laws it says."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rampway.gates import engine
from rampway.gates.engine import (
    HarmWatch,
    Law,
    ProofWatch,
    Spender,
    binomial,
    loss_sum,
    noncentral_hypergeometric,
    spent_share,
)
from rampway.gates.plans import Spending

TABLES = st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 10)).map(
    lambda table: (table[0], table[1], min(table[2], table[0] + table[1]))
)


@pytest.mark.parametrize(
    ("candidate", "baseline", "bad", "odds"),
    [
        (30, 2_970, 31, 1.1),
        (100, 9_900, 100, 1.0),
        (500, 20, 510, 2.0),
        (5, 1_000_000, 3, 9.0),
        (40, 40, 40, 176_000.0),
        (7, 9, 16, 1.5),
        (0, 9, 4, 1.5),
        (9, 0, 4, 1.5),
        (100_000, 900_000, 10_000, 1.1),
    ],
)
def test_the_law_of_a_slice_is_fishers_noncentral_hypergeometric(
    candidate: int, baseline: int, bad: int, odds: float
) -> None:
    law = noncentral_hypergeometric(candidate, baseline, bad, odds)

    counts = np.arange(law.offset, law.offset + law.p.size)
    oracle = stats.nchypergeom_fisher.pmf(counts, candidate + baseline, bad, candidate, odds)
    assert law.p == pytest.approx(oracle, rel=1e-6, abs=1e-11)
    assert law.p.sum() == pytest.approx(1, abs=1e-12)


@given(table=TABLES, odds=st.floats(0.2, 20))
def test_the_law_of_a_small_slice_is_counted_out_by_hand(
    table: tuple[int, int, int], odds: float
) -> None:
    candidate, baseline, bad = table

    law = noncentral_hypergeometric(candidate, baseline, bad, odds)

    counts = range(max(0, bad - baseline), min(bad, candidate) + 1)
    ways = [math.comb(candidate, x) * math.comb(baseline, bad - x) * odds**x for x in counts]
    assert law.offset == counts[0]
    assert law.p == pytest.approx([way / sum(ways) for way in ways], rel=1e-12)


@given(units=st.integers(0, 3000), rate=st.floats(1e-9, 1 - 1e-9) | st.sampled_from([0.0, 1.0]))
def test_the_binomial_law_is_scipys(units: int, rate: float) -> None:
    law = binomial(units, rate)

    counts = np.arange(law.offset, law.offset + law.p.size)
    assert law.p == pytest.approx(stats.binom.pmf(counts, units, rate), rel=1e-7, abs=1e-13)


def test_the_law_of_a_loss_sum_is_every_coin_flip_counted_out() -> None:
    law = loss_sum({1: 3, 2: 2, 5: 1})

    sums = np.zeros(13)
    for flips in itertools.product((0, 1), repeat=6):
        sums[int(np.dot(flips, (1, 1, 1, 2, 2, 5)))] += 0.5**6
    assert law.offset == 0
    assert law.p == pytest.approx(sums, abs=1e-15)


def test_no_changed_pair_can_lose_nothing() -> None:
    law = loss_sum({})

    assert law.offset == 0
    assert law.p.tolist() == [1.0]


def outcomes(law: Law) -> list[tuple[int, float]]:
    return [(law.offset + number, float(p)) for number, p in enumerate(law.p)]


def paths(laws: list[Law]) -> list[tuple[tuple[int, ...], float]]:
    """Every way that harmless slices can come out, with its probability."""
    return [
        (tuple(count for count, _ in path), math.prod(p for _, p in path))
        for path in itertools.product(*(outcomes(law) for law in laws))
    ]


@settings(deadline=None, max_examples=150)
@given(
    tables=st.lists(TABLES, min_size=1, max_size=4),
    alpha=st.floats(0.001, 0.5),
    late=st.sampled_from([0.0, 0.25, 0.6]),
    spending=st.sampled_from(list(Spending)),
    hold=st.floats(0.7, 6),
    odds=st.sampled_from([1.0, 1.1, 2.0]),
)
def test_harmless_slices_breach_at_most_as_often_as_was_spent_and_never_above_alpha(
    tables: list[tuple[int, int, int]],
    alpha: float,
    late: float,
    spending: Spending,
    hold: float,
    odds: float,
) -> None:
    laws = [noncentral_hypergeometric(*table, odds) for table in tables]

    breached = spent = 0.0
    for path, probability in paths(laws):
        watch = HarmWatch(alpha=alpha, late=late, spending=spending, hold_seconds=hold)
        crossed = any(
            watch.look(number + 1, law, count)
            for number, (law, count) in enumerate(zip(laws, path, strict=True))
        )
        breached += probability if crossed else 0.0
        spent = max(spent, watch.spent)

    assert breached <= spent * (1 + 1e-9) + 1e-12
    assert spent <= alpha * (1 + 1e-6)
    if late == 0:
        assert breached == pytest.approx(spent, abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(
    tables=st.lists(TABLES, min_size=1, max_size=4),
    beta=st.floats(0.01, 0.5),
    hold=st.integers(1, 3),
    margin=st.sampled_from([1.5, 2.0, 5.0]),
)
def test_a_candidate_at_the_margin_passes_at_most_as_often_as_beta(
    tables: list[tuple[int, int, int]], beta: float, hold: int, margin: float
) -> None:
    laws = [noncentral_hypergeometric(*table, margin) for table in tables]

    passed = 0.0
    for path, probability in paths(laws):
        proof = ProofWatch(beta=beta, hold_seconds=hold)
        ever = False
        for number, law in enumerate(laws):
            proof.look(number + 1, law, mute=False)
            ever |= proof.pass_at is not None and sum(path[: number + 1]) <= proof.pass_at
        passed += probability if ever else 0.0

    assert passed <= beta * (1 + 1e-6)


# Integer boundaries of this engine, stored so that a change of them is seen: 12 slices of 60
# candidate and 5,940 baseline units with these bad units in both arms, hold 6 slices.
_BAD = [58, 61, 70, 44, 0, 66, 300, 59, 62, 1, 57, 60]
_PLAIN = (Spending.POWER, 0.05, 0.0, 1.0)
_DEFAULT = (Spending.OPEN, 0.05, 0.25, 1.1)
_SMALL = (Spending.OPEN, 0.003125, 0.25, 1.1)


def boundaries(spending: Spending, alpha: float, late: float, odds: float) -> list[int | None]:
    watch = HarmWatch(alpha=alpha, late=late, spending=spending, hold_seconds=6)
    found: list[int | None] = []
    for number, bad in enumerate(_BAD):
        watch.look(number + 1, noncentral_hypergeometric(60, 5_940, bad, odds), 0)
        found.append(watch.breach_at)
    return found


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        (_PLAIN, [4, 5, 6, 6, None, 7, 13, 14, 15, 15, 16, 18]),
        (_DEFAULT, [4, 6, 5, 6, None, 5, 12, 12, 6, 6, 6, 7]),
        (_SMALL, [6, 7, 6, 8, 9, 6, 13, 15, 7, 7, 7, 9]),
    ],
)
def test_the_stored_boundaries_have_not_moved(
    vector: tuple[Spending, float, float, float], expected: list[int | None]
) -> None:
    assert boundaries(*vector) == expected


def test_replaying_the_same_slices_gives_the_same_bits() -> None:
    first, second = (boundaries(*_DEFAULT) for _ in range(2))
    spent = []
    for _ in range(2):
        watch = HarmWatch(alpha=0.05, late=0.25, spending=Spending.OPEN, hold_seconds=6)
        for number, bad in enumerate(_BAD):
            watch.look(number + 1, noncentral_hypergeometric(60, 5_940, bad, 1.1), 0)
        spent.append(watch.spent.hex())

    assert first == second
    assert spent[0] == spent[1]


def test_an_exact_tie_between_tail_and_budget_is_spent() -> None:
    spender = Spender()

    boundary = spender.upper(Law(0, np.array([0.5, 0.25, 0.25])), 0.25 * (1 - 1e-12))

    assert boundary.at == 2
    assert spender.spent == 0.25


@pytest.mark.parametrize(("units", "slices"), [(400_000, 3), (4_000, 40), (100, 150)])
def test_a_long_convolution_by_fourier_is_the_direct_one(
    monkeypatch: pytest.MonkeyPatch, units: int, slices: int
) -> None:
    law = binomial(units, 0.3)
    direct, fourier = Spender(), Spender()

    expected = [direct.upper(law, 0.01 * (n + 1) / slices) for n in range(slices)]
    monkeypatch.setattr(engine, "_FFT_PRODUCTS", 0)
    found = [fourier.upper(law, 0.01 * (n + 1) / slices) for n in range(slices)]

    assert found == expected
    assert fourier.spent == pytest.approx(direct.spent, rel=1e-9)


def test_power_spending_is_exhausted_at_the_hold_and_open_spending_never() -> None:
    holds = (0.0, 0.5, 1.0, 2.0, 3.0)

    assert [spent_share(Spending.POWER, t) for t in holds] == [0, 0.5, 1, 1, 1]
    assert [spent_share(Spending.OPEN, t) for t in holds] == pytest.approx([0, 0.4, 0.8, 0.9, 0.95])
    assert spent_share(Spending.OPEN, 1e6) == 1


def test_harm_that_starts_late_is_found_in_its_own_window() -> None:
    slices = [(60, 5_940, 60, number % 2) for number in range(20)] + [(60, 5_940, 62, 3)] * 10
    crossed: dict[float, float | None] = {}
    for late in (0.0, 0.25):
        watch = HarmWatch(alpha=0.003, late=late, spending=Spending.OPEN, hold_seconds=30)
        for number, (candidate, baseline, bad, seen) in enumerate(slices):
            if watch.look(number + 1, noncentral_hypergeometric(candidate, baseline, bad, 1), seen):
                break
        crossed[late] = watch.crossed_at_seconds

    assert crossed == {0.0: 27, 0.25: 24}
