"""What a whole traffic log says: the pairs of answers in it, and what to do with the candidate."""

import pytest

from rampway.gates.advice import PairsCompared, PairScored, advise, compare_pairs
from rampway.gates.bounds import mcnemar_p
from rampway.gates.comparison import (
    ArmResults,
    ArmsCompared,
    Portion,
    Reading,
    Recommendation,
    compare_arms,
)


def pairs(improved: int, regressed: int, *, neutral: int = 0, same: int = 0) -> PairsCompared:
    """Pairs of right and wrong answers; the same answer has the same score."""
    scored = [PairScored(0, 1, same_answer=False)] * improved
    scored += [PairScored(1, 0, same_answer=False)] * regressed
    scored += [PairScored(1, 1, same_answer=False)] * neutral
    scored += [PairScored(1, 1, same_answer=True)] * same
    return compare_pairs(scored, "request_id")


def arms(correct: int) -> ArmsCompared:
    """An A/B with 20,000 units in each arm, of which the baseline answers 80 % well."""

    def arm(hits: int) -> ArmResults:
        return ArmResults(artifact="a", units=20_000, correct=Portion(hits=hits, units=20_000))

    return compare_arms(arm(16_000), arm(correct))


def test_pairs_are_told_apart_by_score_and_then_by_text() -> None:
    told = pairs(3, 2, neutral=4, same=11)

    assert told.paired_by == "request_id"
    assert told.pairs == 20
    assert (told.improved, told.regressed, told.neutral, told.same) == (3, 2, 4, 11)
    assert (told.old_mean, told.new_mean) == (17 / 20, 18 / 20)
    assert told.difference == pytest.approx(0.05)


def test_the_probability_of_the_pairs_is_two_sided() -> None:
    assert pairs(2, 9).p == pytest.approx(2 * mcnemar_p(9, 2))
    assert pairs(9, 2).p == pytest.approx(2 * mcnemar_p(9, 2))
    assert pairs(4, 4).p == 1


def test_pairs_that_fell_are_worse_and_pairs_that_rose_better_once_chance_is_excluded() -> None:
    assert pairs(0, 6).reading is Reading.WORSE  # 2 x 1 / 64
    assert pairs(6, 0).reading is Reading.BETTER
    assert pairs(0, 5).reading is Reading.UNCLEAR
    assert pairs(5, 0).reading is Reading.UNCLEAR


def test_a_level_that_is_just_met_is_not_crossed() -> None:
    at = pairs(0, 6).model_copy(update={"p": 0.05})

    assert at.reading is Reading.UNCLEAR


def test_no_pair_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="no pair of answers"):
        compare_pairs([], "request_id")


def test_units_that_both_arms_served_hold_whatever_the_numbers_say() -> None:
    advice = advise(arms(16_600), pairs(9, 0), crossed=1)

    assert advice.recommendation is Recommendation.HOLD
    assert advice.why == (
        "1 unit had answers from both arms, so the split did not hold; find out what chose the arm "
        "before anything is read from these numbers"
    )


@pytest.mark.parametrize(
    ("told", "correct", "said"),
    [
        (None, 16_600, Recommendation.PROMOTE),
        (pairs(0, 5), 16_600, Recommendation.PROMOTE),
        (pairs(6, 0), 16_600, Recommendation.PROMOTE),
        (pairs(6, 0), 15_000, Recommendation.RETRAIN),
        (pairs(0, 6), 15_000, Recommendation.RETRAIN),
    ],
)
def test_the_ab_decides(told: PairsCompared | None, correct: int, said: Recommendation) -> None:
    compared = arms(correct)

    advice = advise(compared, told, crossed=0)

    assert (advice.recommendation, advice.why) == (said, compared.why)


def test_pairs_that_fell_hold_what_the_ab_would_promote() -> None:
    advice = advise(arms(16_600), pairs(1, 99, same=1_000), crossed=0)

    assert advice.recommendation is Recommendation.HOLD
    assert advice.why.startswith("the A/B says promote (correct 83.0 % against 80.0 %")
    assert advice.why.endswith(
        "), but on the same requests 1 improved and 99 regressed, -8.9 pp, -10.8 to -7.3, p < 0.001"
    )


def test_pairs_alone_never_promote() -> None:
    better = advise(None, pairs(1_200, 10), crossed=0)

    assert better.recommendation is Recommendation.HOLD
    assert better.why.startswith("on the same requests 1,200 improved and 10 regressed, +98.3 pp")
    assert better.why.endswith(
        "; no user was served by the candidate, and pairs alone do not promote: the next step is an "
        "A/B or a canary"
    )


def test_pairs_alone_that_fell_send_the_candidate_back_to_training() -> None:
    advice = advise(None, pairs(0, 6), crossed=0)

    assert advice.recommendation is Recommendation.RETRAIN
    assert advice.why.startswith("on the same requests 0 improved and 6 regressed, -100.0 pp")


def test_a_log_without_a_grade_says_nothing() -> None:
    advice = advise(None, None, crossed=0)

    assert advice.recommendation is Recommendation.HOLD
    assert advice.why == "nothing was graded, so nothing can be said"
