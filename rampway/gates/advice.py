"""What a traffic log says as a whole: the answers to copied requests in pairs, and what to do next.

The A/B decides, because only there did the candidate serve users. Pairs can only hold it back.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rampway.gates.comparison import ArmsCompared, Reading, Recommendation
from rampway.gates.facts import Fact
from rampway.gates.paired import paired_loss
from rampway.gates.phrases import counted, points, probability, signed_points
from rampway.gates.verdicts import significant

LEVEL = 0.05  # two-sided, of the pairs' test


class PairScored(NamedTuple):
    """Both answers to one request, scored in `[0, 1]`; whether their texts are the same."""

    old: float
    new: float
    same_answer: bool


class PairsCompared(Fact):
    """Both arms on the same requests, each request once.

    `improved` and `regressed` count pairs whose scores differ, `neutral` those whose answers differ
    with the same score, `same` those without a difference. `difference` is the mean score of the
    candidate less that of the baseline (a fraction), `low` to `high` its 95 % interval, `p` the
    two-sided probability of `test`. `paired_by` says what makes two answers a pair.
    """

    paired_by: str
    pairs: int
    improved: int
    regressed: int
    neutral: int
    same: int
    old_mean: float
    new_mean: float
    difference: float
    low: float
    high: float
    p: float
    test: str

    @property
    def reading(self) -> Reading:
        """What the pairs say of the candidate; they have no margin, so they never say not worse."""
        if self.p >= LEVEL:
            return Reading.UNCLEAR
        return Reading.BETTER if self.difference > 0 else Reading.WORSE


class Advice(Fact):
    """What to do with the candidate, and why."""

    recommendation: Recommendation
    why: str


def compare_pairs(scored: Sequence[PairScored], paired_by: str) -> PairsCompared:
    """Compare both answers of each pair (see gates.paired for test and interval).

    Raises ValueError without a pair.
    """
    if not scored:
        raise ValueError("there is no pair of answers to compare")
    loss = paired_loss([pair.old for pair in scored], [pair.new for pair in scored], None)
    neutral = sum(pair.old == pair.new and not pair.same_answer for pair in scored)
    return PairsCompared(
        paired_by=paired_by,
        pairs=len(scored),
        improved=loss.improved,
        regressed=loss.regressed,
        neutral=neutral,
        same=len(scored) - loss.improved - loss.regressed - neutral,
        old_mean=significant(loss.old_mean),
        new_mean=significant(loss.new_mean),
        difference=significant(loss.difference),
        low=significant(loss.low),
        high=significant(loss.high),
        p=significant(min(1.0, 2 * min(loss.p_loss, loss.p_gain))),
        test=str(loss.test),
    )


def advise(arms: ArmsCompared | None, pairs: PairsCompared | None, *, crossed: int) -> Advice:
    """The recommendation on a whole log; `crossed` units were served by both arms."""
    if crossed:
        return Advice(
            recommendation=Recommendation.HOLD,
            why=(
                f"{counted(crossed, 'unit')} had answers from both arms, so the split did not hold; "
                "find out what chose the arm before anything is read from these numbers"
            ),
        )
    if arms is None:
        return _by_pairs_alone(pairs)
    if (
        arms.recommendation is Recommendation.PROMOTE
        and pairs is not None
        and pairs.reading is Reading.WORSE
    ):
        return Advice(
            recommendation=Recommendation.HOLD,
            why=f"the A/B says promote ({arms.why}), but {_worded(pairs)}",
        )
    return Advice(recommendation=arms.recommendation, why=arms.why)


def _by_pairs_alone(pairs: PairsCompared | None) -> Advice:
    if pairs is None:
        return Advice(
            recommendation=Recommendation.HOLD, why="nothing was graded, so nothing can be said"
        )
    if pairs.reading is Reading.WORSE:
        return Advice(recommendation=Recommendation.RETRAIN, why=_worded(pairs))
    return Advice(
        recommendation=Recommendation.HOLD,
        why=(
            f"{_worded(pairs)}; no user was served by the candidate, and pairs alone do not promote: "
            "the next step is an A/B or a canary"
        ),
    )


def _worded(pairs: PairsCompared) -> str:
    return (
        f"on the same requests {pairs.improved:,} improved and {pairs.regressed:,} regressed, "
        f"{points(pairs.difference)}, {signed_points(pairs.low)} to {signed_points(pairs.high)}, "
        f"{probability(pairs.p)}"
    )
