"""Grades answers of a log with the judge's own graders.

It is done here, not in an adapter: only clients may know the judge.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from rampway.judge.gold import GRADERS, UnknownGrader, read_gold
from rampway.judge.graders import Answer, Gold, Grader, SetMatch, Ungradable

ABORTED = "aborted"  # the gateway's word for a caller who left


@dataclass(frozen=True)
class GraderSpec:
    """Which grader, by which gold answers; `key_fields` find the case of a request without a case_id."""

    name: str
    gold: Path
    key_fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grade:
    """One answer's score in `[0, 1]`, right at 1; None where it cannot be graded, and `lost` says why."""

    score: float | None
    lost: str = ""

    @property
    def right(self) -> bool:
        """The best score there is."""
        return self.score == 1.0


class Marking:
    """A grader with its gold answers; the same log gets the same grades, always."""

    def __init__(self, grader: Grader, gold: Gold) -> None:
        self._grader = grader
        self._gold = gold

    @property
    def fingerprint(self) -> str:
        """Names the grader, its version and its gold by digest."""
        return self._grader.fingerprint

    def grade(
        self, request: JsonValue, status: int | None, body: JsonValue, error: str | None = None
    ) -> Grade:
        """What an answer is worth. No full answer is a wrong one; what was not kept is no answer.

        A status of None is no full answer.
        """
        if error == ABORTED:
            return Grade(None, "the caller left")
        if request is None:
            return Grade(None, "the request was not kept")
        if status is not None and error is None and body is None:
            return Grade(None, "the answer was not kept")
        try:
            score = self._grader.score(request, Answer(status, body))
        except Ungradable:
            return Grade(None, "no gold answer for the request")
        return Grade(score / (self._grader.levels - 1))

    def expected(self, request: JsonValue) -> str | None:
        """The gold answers of a request that names its case."""
        case = request.get("case_id") if isinstance(request, dict) else None
        accepted = self._gold.accepted.get(case) if isinstance(case, str) else None
        return None if accepted is None else " | ".join(sorted(accepted))


def parse_grader(text: str, key_fields: tuple[str, ...] = ()) -> GraderSpec:
    """`set_match:gold.jsonl`, or the gold file alone, which set_match then reads."""
    name, colon, gold = text.partition(":")
    if colon and name.isidentifier():
        return GraderSpec(name, Path(gold), key_fields)
    return GraderSpec(SetMatch.name, Path(text), key_fields)


def make_marking(spec: GraderSpec) -> Marking:
    """The grader with its gold. Raises UnknownGrader or GoldUnusable."""
    if spec.name not in GRADERS:
        raise UnknownGrader(f"There is no grader {spec.name!r}. Graders: {', '.join(GRADERS)}.")
    gold = read_gold(spec.gold, key_fields=spec.key_fields)
    return Marking(GRADERS[spec.name](gold), gold)
