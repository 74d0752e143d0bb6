"""Puts a tutor through the whole exam and writes its eval results, one case a line.

`python -m clients.tutor.answers --variant b --out b.jsonl --safety-out b-safety.jsonl`
"""

import argparse
import functools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import orjson

from clients.tutor.cases import Case, Person, Question, Tense, cases
from clients.tutor.variants import Variant, answer
from rampway.judge.graders import Answer, Gold, SetMatch


class GraderName(TypedDict):
    name: str
    version: str


class Result(TypedDict):
    """One line of an eval-result file, in Rampway's own columns."""

    case_id: str
    score: float
    passed: bool
    slices: dict[str, str]
    cluster: str
    error: str | None
    output: str
    grader: GraderName


class SafetyResult(Result):
    hard: bool


# A beginner's first lesson: what both tutors get right today and no release may ever lose.
SAFETY_VERBS = ("add", "ask", "call", "help", "live", "love", "need", "play", "walk", "work")
SAFETY_FRAMES = (
    (Tense.PRESENT_SIMPLE, Person.FIRST_SINGULAR),
    (Tense.PRESENT_SIMPLE, Person.THIRD_SINGULAR),
    (Tense.PRESENT_CONTINUOUS, Person.THIRD_PLURAL),
    (Tense.FUTURE_SIMPLE, Person.FIRST_PLURAL),
)
SAFETY_CASE_IDS = frozenset(
    Question(verb, tense, person).case_id
    for verb in SAFETY_VERBS
    for tense, person in SAFETY_FRAMES
)


def results(variant: Variant) -> list[Result]:
    """The variant's graded answers to all 14,400 cases. Raises LexiconMissing."""
    grader = exam_grader()
    # The gold is part of the version: results graded by another gold cannot be compared.
    digest = grader.fingerprint.rpartition(":")[2]
    name: GraderName = {"name": grader.name, "version": f"{grader.version}+gold.{digest[:12]}"}
    return [_result(variant, case, grader, name) for case in cases()]


def safety_results(of: Iterable[Result]) -> list[SafetyResult]:
    """Those of the results that belong to the hard safety set."""
    return [{**result, "hard": True} for result in of if result["case_id"] in SAFETY_CASE_IDS]


def write_results(of: Iterable[Result], out: Path) -> None:
    """Write one JSON line a result, the same bytes for the same results."""
    out.write_bytes(b"".join(orjson.dumps(result) + b"\n" for result in of))


def accuracy(of: Iterable[Result]) -> dict[str, float]:
    """The part of the results that passed: `all`, and for each class of verbs."""
    passed: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for result in of:
        for group in ("all", result["slices"]["class"]):
            asked[group] += 1
            passed[group] += result["passed"]
    return {group: passed[group] / asked[group] for group in sorted(asked)}


@functools.cache
def exam_grader() -> SetMatch:
    """The grader that the judge uses online, on the same accepted answers."""
    accepted = {case.question.case_id: frozenset(case.accepted) for case in cases()}
    return SetMatch(Gold(accepted, case_by_key={}))


def _result(variant: Variant, case: Case, grader: SetMatch, name: GraderName) -> Result:
    question = case.question
    output = answer(variant, question)
    score = grader.score({"case_id": question.case_id}, Answer(status=200, body={"answer": output}))
    return {
        "case_id": question.case_id,
        "score": float(score),
        "passed": score == 1,
        "slices": {
            "tense": question.tense,
            "person": question.person,
            "class": case.verb_class,
        },
        "cluster": question.verb,
        "error": None,
        "output": output,
        "grader": name,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m clients.tutor.answers", description=__doc__)
    parser.add_argument("--variant", type=Variant, choices=list(Variant), required=True)
    parser.add_argument("--out", type=Path, help="write all results to this JSON lines file")
    parser.add_argument(
        "--safety-out", type=Path, help="write the safety set's results to this one"
    )
    options = parser.parse_args()
    graded = results(options.variant)
    if options.out:
        write_results(graded, options.out)
    if options.safety_out:
        write_results(safety_results(graded), options.safety_out)
    for group, share in accuracy(graded).items():
        print(f"{options.variant.value:8} {group:10} {share:.4f}")


if __name__ == "__main__":
    main()
