"""Exact sign flips, the interval beside them, and the plain test that forgets the pairs."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rampway.gates.bounds import mcnemar_p, tango_interval
from rampway.gates.paired import PairedTest, cases_to_clear, paired_loss, unpaired_p
from rampway.gates.sign_flips import ENUMERATED_MAX, sign_flip_chances

CHANGES = st.lists(st.integers(-9, 9), min_size=1, max_size=9)
UNEVEN = st.lists(st.integers(-(10**11), 10**11), min_size=1, max_size=ENUMERATED_MAX)


def flipped(changes: list[int]) -> tuple[float, float]:
    """Both chances by going through every sign."""
    seen = sum(changes)
    signs = product((1, -1), repeat=len(changes))
    sums = [sum(sign * change for sign, change in zip(s, changes, strict=True)) for s in signs]
    return (
        sum(total <= seen for total in sums) / len(sums),
        sum(total >= seen for total in sums) / len(sums),
    )


@settings(deadline=None)
@given(changes=CHANGES)
def test_the_chances_are_those_of_going_through_every_sign(changes: list[int]) -> None:
    assert sign_flip_chances(np.array(changes)) == pytest.approx(flipped(changes), abs=1e-11)


@settings(deadline=None)
@given(changes=st.lists(st.integers(-(10**11), 10**11), min_size=1, max_size=9))
def test_uneven_changes_are_enumerated_as_exactly(changes: list[int]) -> None:
    assert sign_flip_chances(np.array(changes)) == pytest.approx(flipped(changes), abs=1e-11)


@settings(deadline=None)
@given(changes=CHANGES, scale=st.sampled_from([7, 10**9]))
def test_the_scale_of_the_changes_does_not_matter(changes: list[int], scale: int) -> None:
    assert sign_flip_chances(np.array(changes) * scale) == sign_flip_chances(np.array(changes))


@settings(deadline=None)
@given(changes=UNEVEN | CHANGES, place=st.integers(0, 99), harm=st.integers(0, 10**11))
def test_more_harm_to_any_unit_never_raises_the_chance(
    changes: list[int], place: int, harm: int
) -> None:
    harmed = list(changes)
    harmed[place % len(changes)] -= harm

    before, after = sign_flip_chances(np.array(changes)), sign_flip_chances(np.array(harmed))

    assert before is not None
    assert after is not None
    assert after.loss <= before.loss + 1e-11


@given(regressed=st.integers(0, 200), improved=st.integers(0, 200))
def test_equal_changes_are_mcnemars_test(regressed: int, improved: int) -> None:
    chances = sign_flip_chances(np.array([-3] * regressed + [3] * improved, dtype=np.int64))

    assert chances is not None
    assert chances.loss == pytest.approx(mcnemar_p(regressed, improved), abs=1e-11)


def test_many_uneven_changes_are_not_counted() -> None:
    uneven = np.random.default_rng(2).integers(-(10**11), 10**11, 25)

    assert sign_flip_chances(uneven) is None


def test_each_kind_of_evidence_has_its_test() -> None:
    dice = np.random.default_rng(3)
    fine = dice.uniform(0, 1, 200).tolist()
    clusters = [case % 40 for case in range(200)]

    right = paired_loss([1.0] * 200, [0.0] * 20 + [1.0] * 180, None)
    clustered = paired_loss([1.0] * 200, [0.0] * 20 + [1.0] * 180, clusters)
    levels = paired_loss([0.5] * 200, [0.25] * 40 + [1.0] * 30 + [0.5] * 130, None)
    few = paired_loss(fine, [*dice.uniform(0, 1, 12), *fine[12:]], None)
    many = paired_loss(fine, dice.uniform(0, 1, 200).tolist(), None)

    assert right.test is PairedTest.MCNEMAR
    assert clustered.test is levels.test is few.test is PairedTest.SIGN_FLIPS
    assert many.test is PairedTest.T


def test_three_small_losses_do_not_make_a_t_test_sure() -> None:
    # A t-test on 500 cases of which 3 changed says p = 0.04; three signs alone are worth 1 / 8.
    old = [0.6] * 500
    new = [0.4, 0.41, 0.42] + [0.6] * 497

    loss = paired_loss(old, new, None)

    assert stats.ttest_rel(new, old, alternative="less").pvalue < 0.05
    assert loss.p_loss == 1 / 8


def test_a_collapse_does_not_hide_many_small_losses() -> None:
    # 200 clusters of 500 cases: thirty lose one case each, then one loses 35 in addition.
    cases, clusters = 100_000, np.repeat(np.arange(200), 500)
    old, small = np.ones(cases), np.ones(cases)
    small[np.arange(30) * 500] = 0
    collapsed = small.copy()
    collapsed[40 * 500 : 40 * 500 + 35] = 0

    before = paired_loss(old, small, clusters)
    after = paired_loss(old, collapsed, clusters)

    t = after.difference / after.error
    assert stats.t.cdf(t, 199) > 0.03
    assert after.p_loss <= before.p_loss == pytest.approx(0.5**30, abs=1e-12)


def test_one_tiny_change_proves_no_more_than_none() -> None:
    same = paired_loss([0.5] * 60, [0.5] * 60, None)
    nearly = paired_loss([0.5] * 60, [0.499] + [0.5] * 59, None)

    assert same.low == -3 / 60
    assert nearly.low < same.low


def test_equal_scores_that_differ_in_their_last_bit_have_not_changed() -> None:
    loss = paired_loss([0.1 + 0.2] * 20, [0.3] * 20, None)

    assert loss.changed == 0
    assert (loss.difference, loss.p_loss, loss.sigmas) == (0, 1, 0)


def test_the_error_is_that_of_the_paired_difference() -> None:
    old = [1.0] * 70 + [0.0] * 30
    new = [1.0] * 60 + [0.0] * 35 + [1.0] * 5

    loss = paired_loss(old, new, None)

    differences = np.array(new) - np.array(old)
    assert loss.error == pytest.approx(differences.std(ddof=1) / 10)
    assert loss.sigmas == pytest.approx(-differences.mean() / loss.error)


def test_a_loss_without_variance_counts_its_units() -> None:
    loss = paired_loss([1.0] * 25, [0.0] * 25, None)

    assert loss.sigmas == pytest.approx(5)
    assert loss.p_loss == pytest.approx(0.5**25)


@settings(deadline=None, max_examples=60)
@given(counts=st.tuples(*[st.integers(0, 50)] * 3), cases=st.integers(150, 400))
def test_the_plain_test_is_statsmodels_two_proportion_z(
    counts: tuple[int, int, int], cases: int
) -> None:
    from statsmodels.stats.proportion import proportions_ztest  # noqa: PLC0415 - slow, for one test

    both, improved, regressed = counts
    old = [1.0] * (both + regressed) + [0.0] * (cases - both - regressed)
    new = [1.0] * both + [0.0] * regressed + [1.0] * improved
    new += [0.0] * (cases - len(new))

    p = unpaired_p(old, new)

    right = [sum(new), sum(old)]
    oracle = 1.0 if right[0] == right[1] else proportions_ztest(right, [cases, cases])[1]
    assert p == pytest.approx(oracle, rel=1e-9)


def test_the_plain_test_of_graded_scores_is_statsmodels_z() -> None:
    from statsmodels.stats.weightstats import ztest  # noqa: PLC0415 - slow, for one test

    dice = np.random.default_rng(6)
    old, new = dice.uniform(0, 1, 90), dice.uniform(0, 0.9, 90)

    assert unpaired_p(old, new) == pytest.approx(ztest(new, old, usevar="unequal")[1], rel=1e-8)
    assert unpaired_p([0.75] * 5, [0.25] * 5) == 0
    assert unpaired_p([0.5], [0.5]) == 1


def test_the_cases_that_are_missing_are_enough() -> None:
    dice = np.random.default_rng(7)
    old, noise = dice.uniform(0.4, 0.6, 300), dice.uniform(-0.4, 0.4, 300)
    new = old + noise - noise.mean()
    loss = paired_loss(old, new, None)
    needed = cases_to_clear(loss, 0.02)
    assert needed is not None
    times = -(-(300 + needed) // 300)

    again = paired_loss(np.tile(old, times), np.tile(new, times), None)

    assert loss.low <= -0.02 < again.low
    assert cases_to_clear(again, 0.02) == 0
    assert cases_to_clear(paired_loss([1.0] * 40, [0.5] * 40, None), 0.02) is None


def test_ten_changed_units_are_enough_for_a_limit_by_their_spread() -> None:
    nine = paired_loss([0.5] * 60, [0.4, 0.6, 0.45] * 3 + [0.5] * 51, None)
    ten = paired_loss([0.5] * 60, [0.4, 0.6, 0.45] * 3 + [0.4] + [0.5] * 50, None)

    assert nine.difference - nine.low == pytest.approx(3 / 60)
    assert ten.difference - ten.low == pytest.approx(
        stats.t.ppf(0.975, 59)
        * np.std([-0.1, 0.1, -0.05] * 3 + [-0.1] + [0] * 50, ddof=1)
        / 60**0.5
    )


def test_one_unit_alone_tells_nothing() -> None:
    case = paired_loss([0.5], [0.25], None)
    cluster = paired_loss([1.0] * 9, [0.0] * 9, [4] * 9)

    assert case.undecidable == "one case alone cannot show how much they vary"
    assert cluster.undecidable == "one cluster of cases alone cannot show how much they vary"
    assert (cluster.low, cluster.high, cluster.p_loss, cluster.sigmas) == (-1, 1, 0.5, 1)


def test_intervals_stay_among_the_possible_differences() -> None:
    lost = paired_loss([0.9, 1.0, 0.8], [0.0, 0.1, 0.2], None)
    won = paired_loss([0.0, 0.1, 0.2], [0.9, 1.0, 0.8], None)

    assert lost.low == -1
    assert won.high == 1


def test_as_many_sums_as_can_be_counted_are() -> None:
    # The largest change times all of them: two millions, and one more.
    countable = [1000] + [40] * 24 + [39, 1]

    assert sign_flip_chances(np.array(countable)) is not None
    assert sign_flip_chances(np.array([*countable, 1])) is None
    assert sign_flip_chances(np.array([3] * 222_222 + [1])) is None


def test_as_many_uneven_changes_as_can_be_gone_through_are() -> None:
    uneven = np.random.default_rng(2).integers(-(10**11), 10**11, 24)

    chances = sign_flip_chances(uneven)

    assert chances is not None
    assert chances.loss + chances.gain == pytest.approx(1, abs=1e-4)


def test_a_loss_as_large_as_the_margin_is_never_cleared() -> None:
    at, within = (
        paired_loss([0.5] * 50, [0.48] * 50, None),
        paired_loss([0.5] * 9, [0.49] * 9, None),
    )

    assert cases_to_clear(at, 0.02) is None
    assert cases_to_clear(within, 0.02) is not None


def test_the_lower_end_has_to_be_above_the_margin_and_not_at_it() -> None:
    same = paired_loss([1.0] * 100, [1.0] * 100, None)
    at, _ = tango_interval(0, 0, 381, 0.05)

    assert cases_to_clear(same, -at) == 282
    assert cases_to_clear(same, -at * (1 + 1e-9)) == 281


@pytest.mark.parametrize("score", [1 / parts for parts in range(2, 17)] + [0.123456])
def test_parts_to_sixteenths_and_six_decimals_are_counted_exactly(score: float) -> None:
    loss = paired_loss([score, 0.0], [0.0, 0.0], None)

    assert loss.difference == -score / 2
    assert (loss.old_mean, loss.new_mean) == (score / 2, 0)


def test_mcnemar_has_no_reach_to_ask_for() -> None:
    loss = paired_loss([1.0] * 9, [0.0] * 9, None)

    assert (loss.test, loss.reach, loss.reach_rare) == (PairedTest.MCNEMAR, 0, 0)


def test_half_the_margin_takes_four_times_the_cases() -> None:
    dice = np.random.default_rng(8)
    noise = dice.uniform(-0.4, 0.4, 300).round(3)
    noise -= noise.mean().round(3)
    loss = paired_loss(np.full(300, 0.5), 0.5 + noise, None)

    wide, narrow = (cases_to_clear(loss, margin - loss.difference) for margin in (0.01, 0.005))

    assert wide is not None
    assert narrow is not None
    assert narrow + 300 == pytest.approx(4 * (wide + 300), abs=4)
    assert wide + 300 == pytest.approx(300 * (loss.reach / 0.01) ** 2, abs=1)


def test_few_changes_take_as_many_cases_as_the_rule_of_three() -> None:
    same = paired_loss([0.5] * 60, [0.5] * 60, None)

    assert cases_to_clear(same, 0.01) == 241  # 3 / 300 is the margin itself


def test_one_case_of_each_arm_does_not_vary() -> None:
    assert unpaired_p([0.5], [0.75]) == 0
    assert paired_loss([0.5], [0.25], None).sigmas == 1


def test_a_loss_that_uneven_clusters_share_evenly_is_sure() -> None:
    clusters = np.repeat(np.arange(31), np.arange(1000, 1031))
    lost = paired_loss(np.full(clusters.size, 0.5), np.full(clusters.size, 0.25), clusters)

    assert lost.test is PairedTest.T
    assert (lost.p_loss, lost.p_gain) == (0, 1)


def test_two_units_reach_as_far_as_all_that_is_possible() -> None:
    loss = paired_loss([0.25] * 2, [0.75] * 2, None)

    assert (loss.low, loss.high, loss.reach_rare) == (-0.5, 1, 1)


def test_a_case_changed_whether_it_gained_or_lost() -> None:
    loss = paired_loss(
        [1.0] * 3 + [0.0] * 5 + [1.0], [0.0] * 3 + [1.0] * 2 + [0.0] * 3 + [1.0], None
    )

    assert (loss.regressed, loss.improved, loss.changed) == (3, 2, 5)


def test_one_graded_arm_makes_the_plain_test_one_of_means() -> None:
    right_or_wrong, graded = [1.0, 0.0] * 20, [0.5] * 20 + [0.75] * 20
    spread = np.var(right_or_wrong, ddof=1) + np.var(graded, ddof=1)
    p = 2 * stats.norm.sf(0.125 / (spread / 40) ** 0.5)

    assert unpaired_p(right_or_wrong, graded) == pytest.approx(p)
    assert unpaired_p(graded, right_or_wrong) == pytest.approx(p)
    assert paired_loss(graded, right_or_wrong, None).test is PairedTest.SIGN_FLIPS
    assert paired_loss(right_or_wrong, graded, None).test is PairedTest.SIGN_FLIPS


def test_many_uneven_changes_get_the_paired_t_test() -> None:
    dice = np.random.default_rng(9)
    old, new = dice.uniform(0, 1, 30), dice.uniform(0, 1, 30)

    loss = paired_loss(old, new, None)

    worse, better = (stats.ttest_rel(new, old, alternative=a).pvalue for a in ("less", "greater"))
    assert loss.test is PairedTest.T
    assert (loss.p_loss, loss.p_gain) == pytest.approx((worse, better), rel=1e-6)


@pytest.mark.parametrize("cases", [40, 99, 150, 300, 380, 381, 382, 900])
def test_as_many_cases_are_enough_whatever_there_is_already(cases: int) -> None:
    same = paired_loss([1.0] * cases, [1.0] * cases, None)

    assert cases_to_clear(same, 0.01) == max(0, 381 - cases)
