"""The engine at its edges: which test crossed, what was spent, and where windows begin."""

import math

import numpy as np
import pytest

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

COINS = binomial(10, 0.5)  # P(X >= 7) = .1719, P(X >= 8) = .0547, P(X >= 9) = .0107


def watch(*, late: float, alpha: float = 0.5, hold: float = 3) -> HarmWatch:
    return HarmWatch(alpha=alpha, late=late, spending=Spending.POWER, hold_seconds=hold)


def test_a_watch_that_saw_nothing_is_in_its_first_window() -> None:
    harm = watch(late=0.25)

    assert harm.window_starts_seconds == 0
    assert harm.spent == 0
    assert not harm.crossed_late
    assert harm.crossed_at_seconds is None


def test_a_crossing_in_the_first_window_is_not_late() -> None:
    harm = watch(late=0.9)  # whole: .0167, which needs 9; window: .15, which needs 8

    assert harm.look(1, COINS, 8)

    assert harm.breach_at == 8
    assert harm.crossed_at_seconds == 1
    assert not harm.crossed_late


def test_a_crossing_by_a_later_window_alone_is_late() -> None:
    harm = watch(late=0.9)
    harm.look(1, COINS, 0)

    assert harm.look(2, COINS, 8)

    assert harm.crossed_late
    assert harm.window_starts_seconds == 1
    assert harm.seen_in_window == 8
    assert harm.seen == 8


def test_a_crossing_by_the_whole_hold_is_not_late_even_in_a_later_window() -> None:
    asked, harm = watch(late=0.01), watch(late=0.01)
    for each in (asked, harm):
        each.look(1, COINS, 5)
    asked.look(2, COINS, 0)
    assert asked.breach_at is not None

    assert harm.look(2, COINS, asked.breach_at - 5)

    assert harm.seen == asked.breach_at
    assert not harm.crossed_late


def test_one_short_of_the_boundary_is_no_breach() -> None:
    asked, harm = watch(late=0.0), watch(late=0.0)
    asked.look(1, COINS, 0)
    assert asked.breach_at is not None

    assert not harm.look(1, COINS, asked.breach_at - 1)

    assert harm.crossed_at_seconds is None


def test_the_windows_begin_with_the_thirds_of_the_hold() -> None:
    harm = watch(late=0.5, hold=6)

    begun = []
    for end in range(1, 10):
        harm.look(end, COINS, 0)
        begun.append(harm.window_starts_seconds)

    assert begun == [0, 0, 2, 2, 4, 4, 6, 6, 8]


def test_what_was_spent_is_that_of_the_whole_and_of_every_window() -> None:
    alpha, late, hold = 0.4, 0.25, 6
    harm = watch(late=late, alpha=alpha, hold=hold)
    whole, windows = Spender(), [Spender() for _ in range(3)]

    for end in range(1, 7):
        harm.look(end, COINS, 0)
        whole.upper(COINS, (1 - late) * alpha * end / hold)
        window = (end - 1) // 2
        elapsed = (end - 2 * window) / 2
        windows[window].upper(COINS, late * alpha / 3 * elapsed)

    assert all(window.spent > 0 for window in windows)
    assert harm.spent == pytest.approx(whole.spent + sum(w.spent for w in windows), rel=1e-12)


def test_lost_slices_belong_to_the_window_of_the_slice_after_them() -> None:
    harm = watch(late=0.5, hold=6)
    harm.look(1, COINS, 1)

    harm.look(4, COINS, 2)

    assert harm.window_starts_seconds == 0
    assert harm.seen_in_window == 3


def test_a_boundary_that_no_slice_can_reach_is_not_shown() -> None:
    harm = watch(late=0.0, alpha=1e-6)

    assert not harm.look(1, COINS, 10)

    assert harm.breach_at is None


def test_more_than_a_law_can_hold_is_a_breach() -> None:
    harm = watch(late=0.0, alpha=1e-6)

    assert harm.look(1, COINS, 11)

    assert harm.breach_at == 11


def test_a_proof_waits_for_the_end_of_the_hold_and_spends_four_fifths_there() -> None:
    proof = ProofWatch(beta=0.5, hold_seconds=2)
    proof.look(1, COINS, mute=False)
    assert proof.pass_at is None

    proof.look(2, COINS, mute=False)

    twenty = binomial(20, 0.5).p.cumsum()
    expected = int(np.searchsorted(twenty, 0.8 * 0.5, side="right")) - 1
    assert proof.pass_at == expected


def test_a_mute_look_keeps_the_budget_for_the_next() -> None:
    proof, later = (ProofWatch(beta=0.5, hold_seconds=1) for _ in range(2))
    proof.look(1, COINS, mute=True)
    assert proof.pass_at is None
    later.look(0.5, COINS, mute=False)

    proof.look(2, COINS, mute=False)
    later.look(2, COINS, mute=False)

    assert proof.pass_at == later.pass_at is not None


def test_an_extended_proof_may_spend_a_tenth_more_per_hold() -> None:
    spender, proof = Spender(), ProofWatch(beta=0.5, hold_seconds=1)
    for end, budget in ((1, 0.4), (2, 0.45), (3, 0.475)):
        proof.look(end, COINS, mute=False)
        boundary = spender.lower(COINS, budget)

    assert proof.pass_at == boundary


def test_a_lower_boundary_below_every_count_cannot_pass() -> None:
    proof = ProofWatch(beta=1e-9, hold_seconds=1)

    proof.look(1, COINS, mute=False)

    assert proof.pass_at is None


def test_zero_can_be_the_boundary_of_a_pass() -> None:
    proof = ProofWatch(beta=0.00125, hold_seconds=1)  # four fifths are just P(X = 0) = 1 / 1024

    proof.look(1, COINS, mute=False)

    assert proof.pass_at == 0


def test_a_law_that_starts_above_zero_keeps_its_place() -> None:
    spender = Spender()

    boundary = spender.upper(Law(7, np.array([0.5, 0.5])), 0.5)

    assert (boundary.at, boundary.reachable) == (8, True)
    assert spender.upper(Law(1, np.array([0.25, 0.75])), 0.0).at == 10  # 7 + 2, and out of reach


def test_the_mean_of_a_law_counts_from_its_offset() -> None:
    assert Law(7, np.array([0.5, 0.25, 0.25])).mean == pytest.approx(7.75)


@pytest.mark.parametrize(("units", "rate", "only"), [(0, 0.3, 0), (5, 0.0, 0), (5, 1.0, 5)])
def test_a_certain_count_has_a_law_of_one_point(units: int, rate: float, only: int) -> None:
    law = binomial(units, rate)

    assert (law.offset, law.p.tolist()) == (only, [1.0])


def test_a_slice_without_a_choice_has_a_law_of_one_point() -> None:
    law = noncentral_hypergeometric(5, 3, 8, 1.1)

    assert (law.offset, law.p.tolist()) == (5, [1.0])


def test_the_law_of_a_slice_is_as_wide_as_nine_sd_and_25() -> None:
    law = binomial(10**6, 0.5)

    sd = math.sqrt(10**6 / 4)
    reach = int(9 * sd) + 25
    assert (law.offset, law.p.size) == (500_000 - reach, 2 * reach + 1)


def test_before_the_hold_is_over_open_spending_is_linear() -> None:
    assert [spent_share(Spending.OPEN, t) for t in (0.25, 0.5)] == pytest.approx([0.2, 0.4])
    assert spent_share(Spending.OPEN, 1.5) == pytest.approx(0.8 + 0.2 * (1 - 2**-0.5))


def test_a_slice_that_reaches_past_its_window_spends_no_more_than_the_window_has() -> None:
    alpha, late, hold = 0.4, 0.5, 6
    harm = watch(late=late, alpha=alpha, hold=hold)
    whole, window = Spender(), Spender()
    coins = binomial(1_000, 0.5)  # so many that hardly a part of a budget is left

    harm.look(4, coins, 0)  # the two slices before it were lost, so it belongs to the first window

    whole.upper(coins, (1 - late) * alpha * 4 / hold)
    window.upper(coins, late * alpha / 3)
    assert harm.spent == pytest.approx(whole.spent + window.spent, rel=1e-12)


def test_a_proof_may_pass_at_the_very_bit_that_rounding_allows() -> None:
    proof, early = (ProofWatch(beta=0.5, hold_seconds=1800) for _ in range(2))

    proof.look(1800 * (1 - 1e-9), COINS, mute=False)
    early.look(1800 * (1 - 1.5e-9), COINS, mute=False)

    assert proof.pass_at is not None
    assert early.pass_at is None


@pytest.mark.parametrize(
    ("law", "kept"),
    [
        ([0.5, 0.5], (0, 2)),
        ([1e-15, 0.5], (1, 2)),
        ([0.5, 1e-15], (0, 1)),
        ([1e-15, 0.5, 1e-16], (1, 2)),
        ([1e-14, 0.5, 1e-15], (0, 2)),
        ([0.5, 1e-16, 0.5], (0, 3)),
        ([1e-15, 1e-16], (0, 2)),
        ([], (0, 0)),
    ],
)
def test_only_the_ends_of_a_law_are_cut(law: list[float], kept: tuple[int, int]) -> None:
    assert engine._ends(np.array(law), 1e-14) == kept


def test_a_convolution_is_direct_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def in_blocks(long: engine.FloatArray, short: engine.FloatArray) -> engine.FloatArray:
        asked.append((long.size, short.size))
        return np.convolve(long, short)

    monkeypatch.setattr(engine, "_FFT_PRODUCTS", 6)
    monkeypatch.setattr(engine, "_convolve_in_blocks", in_blocks)
    for sizes in ((2, 3), (3, 2), (2, 4), (4, 2)):
        engine._convolve(np.ones(sizes[0]), np.ones(sizes[1]))

    assert asked == [(4, 2), (4, 2)]


def test_of_two_laws_of_one_length_the_first_is_cut_into_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float] = []

    def in_blocks(long: engine.FloatArray, short: engine.FloatArray) -> engine.FloatArray:
        seen.extend((float(long[0]), float(short[0])))
        return np.convolve(long, short)

    monkeypatch.setattr(engine, "_FFT_PRODUCTS", 0)
    monkeypatch.setattr(engine, "_convolve_in_blocks", in_blocks)
    engine._convolve(np.array([1.0, 1.0]), np.array([2.0, 2.0]))

    assert seen == [1.0, 2.0]


@pytest.mark.parametrize("sizes", [(7, 3), (64, 5), (65, 5), (300, 300), (1000, 2)])
def test_blocks_add_up_to_the_direct_convolution(sizes: tuple[int, int]) -> None:
    dice = np.random.default_rng(6)
    long, short = (dice.random(size) for size in sizes)

    found = engine._convolve_in_blocks(long, short)

    assert found.size == sizes[0] + sizes[1] - 1
    assert found == pytest.approx(np.convolve(long, short), rel=1e-12)


@pytest.mark.parametrize("odds", [0.3, 1.0, 1.1, 2.0, 9.0])
@pytest.mark.parametrize(
    ("candidate", "baseline", "bad"),
    [(50_000, 950_000, 90_000), (300_000, 300_000, 200_000), (700_000, 90_000, 400_000)],
)
def test_the_law_of_a_slice_lies_around_its_mode(
    candidate: int, baseline: int, bad: int, odds: float
) -> None:
    law = noncentral_hypergeometric(candidate, baseline, bad, odds)

    mode = law.offset + int(law.p.argmax())
    cells = (mode, candidate - mode, bad - mode, baseline - bad + mode)
    reach = int(9 * math.sqrt(1 / sum(1 / (cell + 1) for cell in cells))) + 25
    assert (law.offset, law.p.size) == (mode - reach, 2 * reach + 1)
    assert law.p.sum() == pytest.approx(1, rel=1e-12)


def test_a_loss_sum_of_many_pairs_lies_around_half_of_them() -> None:
    pairs = {1: 100_000, 3: 60_000, 4: 10}

    law = loss_sum(pairs)

    values = law.offset + np.arange(law.p.size)
    variance = float((values - law.mean) ** 2 @ law.p)
    assert law.offset > 0
    assert law.p.sum() == pytest.approx(1, rel=1e-12)
    assert law.mean == pytest.approx(sum(a * m / 2 for a, m in pairs.items()), rel=1e-12)
    assert variance == pytest.approx(sum(a * a * m / 4 for a, m in pairs.items()), rel=1e-9)
