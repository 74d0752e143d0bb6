"""The cases on which the arms differ, with both answers, for people to read."""

from collections.abc import Sequence

from rampway.adapters.evals_files.results import Case, Results, cut
from rampway.gates.evidence import Disagreement

MAX_DISAGREEMENTS = 1_000


def disagreements_of(
    old: Results, new: Results, cases: Sequence[str], slices: Sequence[str]
) -> tuple[Disagreement, ...]:
    """Up to 1,000 of them: worst regressions first, then improvements, then other answers.

    An answer that changed without a change of score is told only for a case that each arm answered
    once. Of several generations the loser's worst and the winner's best answer are shown.
    """
    ranked: list[tuple[int, float, str]] = []
    for name in cases:
        before, after = old.cases[name], new.cases[name]
        change = after.score - before.score
        if change < 0:
            ranked.append((0, change, name))
        elif change > 0:
            ranked.append((1, -change, name))
        elif _reworded(before, after):
            ranked.append((2, 0.0, name))
    ranked.sort()
    return tuple(
        _disagreement(name, old.cases[name], new.cases[name], slices)
        for _, _, name in ranked[:MAX_DISAGREEMENTS]
    )


def _reworded(before: Case, after: Case) -> bool:
    if len(before.scores) > 1 or len(after.scores) > 1:
        return False
    if before.best is None or after.best is None:
        return False
    return before.best.strip() != after.best.strip()


def _disagreement(name: str, before: Case, after: Case, slices: Sequence[str]) -> Disagreement:
    regressed = after.score < before.score
    question = after.question if before.question is None else before.question
    expected = after.expected if before.expected is None else before.expected
    return Disagreement(
        case=name,
        old=before.score,
        new=after.score,
        question=None if question is None else cut(question),
        expected=None if expected is None else cut(expected),
        old_answer=before.best if regressed else before.worst,
        new_answer=after.worst if regressed else after.best,
        slices={label: before.labels[label] for label in slices if label in before.labels},
    )
