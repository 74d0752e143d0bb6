"""Sums of scores by arm, for dashboards; verdicts are reached from the slices, never from these."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from rampway.judge.counts import Arm, Finding, Judged, Scored

# How an answer came to be judged: a user saw it, or both answers to a copied request were compared.
SEEN: Final = "seen"
PAIR: Final = "pair"
_MARK: Final = "score"


class ScoreSum(NamedTuple):
    """`answers` that were scored, and the `points` they got together."""

    sample: str
    arm: str
    answers: int
    points: int


def score_tallies(finding: Finding) -> dict[str, int]:
    """What one finding adds, by the names under which the store tallies it."""
    match finding:
        case Judged(arm=arm, score=score):
            scores = {arm: score}
            sample = SEEN
        case Scored(old=old, new=new):
            scores = {Arm.BASELINE: old, Arm.CANDIDATE: new}
            sample = PAIR
        case _:
            return {}
    return {
        f"{_MARK}/{sample}/{arm}/{what}": n
        for arm, score in scores.items()
        for what, n in (("answers", 1), ("points", score))
    }


def is_score(name: str) -> bool:
    return name.startswith(f"{_MARK}/")


def score_sums(tallies: Mapping[str, int]) -> list[ScoreSum]:
    """The sums in a target's tallies."""
    return [
        ScoreSum(sample, arm.value, answers, tallies.get(f"{_MARK}/{sample}/{arm}/points", 0))
        for sample in (SEEN, PAIR)
        for arm in Arm
        if (answers := tallies.get(f"{_MARK}/{sample}/{arm}/answers"))
    ]
