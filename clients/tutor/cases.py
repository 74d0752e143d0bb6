"""The tutor's exam: 200 verbs in 12 tenses for 6 persons, each with the answers a teacher accepts.

`python -m clients.tutor.cases --out gold.jsonl` writes it down.
"""

import argparse
import functools
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson

from clients.tutor.verbs import VERBS, Accepted, Form, VerbClass, accepted_forms


class Tense(StrEnum):
    PRESENT_SIMPLE = "present-simple"
    PAST_SIMPLE = "past-simple"
    FUTURE_SIMPLE = "future-simple"
    PRESENT_CONTINUOUS = "present-continuous"
    PAST_CONTINUOUS = "past-continuous"
    FUTURE_CONTINUOUS = "future-continuous"
    PRESENT_PERFECT = "present-perfect"
    PAST_PERFECT = "past-perfect"
    FUTURE_PERFECT = "future-perfect"
    PRESENT_PERFECT_CONTINUOUS = "present-perfect-continuous"
    PAST_PERFECT_CONTINUOUS = "past-perfect-continuous"
    FUTURE_PERFECT_CONTINUOUS = "future-perfect-continuous"


class Person(StrEnum):
    FIRST_SINGULAR = "1s"
    SECOND_SINGULAR = "2s"
    THIRD_SINGULAR = "3s"
    FIRST_PLURAL = "1p"
    SECOND_PLURAL = "2p"
    THIRD_PLURAL = "3p"


@dataclass(frozen=True)
class Question:
    """What the tutor is asked: the phrase of one verb in one tense for one person."""

    verb: str
    tense: Tense
    person: Person

    @property
    def case_id(self) -> str:
        return f"{self.verb}.{self.tense}.{self.person}"


@dataclass(frozen=True)
class Case:
    """A question with its slices and every answer a teacher accepts, in sorted order."""

    question: Question
    verb_class: VerbClass
    accepted: tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    """The words before the verb, and the form in which it stands behind them."""

    auxiliaries: str
    form: Form

    def phrase(self, spelling: str) -> str:
        return f"{self.auxiliaries} {spelling}".strip()


def frame(tense: Tense, person: Person) -> Frame:
    """How a tense is built for a person, for every verb but *be* in its two simple tenses."""
    built = _FRAMES[tense]
    first, space, rest = built.auxiliaries.partition(" ")
    is_finite_third = tense is Tense.PRESENT_SIMPLE and person is Person.THIRD_SINGULAR
    return Frame(
        auxiliaries=_agreeing(first, person) + space + rest,
        form=Form.THIRD if is_finite_third else built.form,
    )


def _agreeing(auxiliary: str, person: Person) -> str:
    return _AGREEMENT.get((auxiliary, person), auxiliary)


_FRAMES = {
    Tense.PRESENT_SIMPLE: Frame("", Form.BASE),
    Tense.PAST_SIMPLE: Frame("", Form.PAST),
    Tense.FUTURE_SIMPLE: Frame("will", Form.BASE),
    Tense.PRESENT_CONTINUOUS: Frame("are", Form.GERUND),
    Tense.PAST_CONTINUOUS: Frame("were", Form.GERUND),
    Tense.FUTURE_CONTINUOUS: Frame("will be", Form.GERUND),
    Tense.PRESENT_PERFECT: Frame("have", Form.PARTICIPLE),
    Tense.PAST_PERFECT: Frame("had", Form.PARTICIPLE),
    Tense.FUTURE_PERFECT: Frame("will have", Form.PARTICIPLE),
    Tense.PRESENT_PERFECT_CONTINUOUS: Frame("have been", Form.GERUND),
    Tense.PAST_PERFECT_CONTINUOUS: Frame("had been", Form.GERUND),
    Tense.FUTURE_PERFECT_CONTINUOUS: Frame("will have been", Form.GERUND),
}

_AGREEMENT = {
    ("are", Person.FIRST_SINGULAR): "am",
    ("are", Person.THIRD_SINGULAR): "is",
    ("were", Person.FIRST_SINGULAR): "was",
    ("were", Person.THIRD_SINGULAR): "was",
    ("have", Person.THIRD_SINGULAR): "has",
}


def questions() -> list[Question]:
    """All 14,400 questions, always in the same order. Needs no lexicon."""
    return [Question(v, t, p) for v in VERBS for t in Tense for p in Person]


@functools.cache
def cases() -> tuple[Case, ...]:
    """The exam with its accepted answers, in the order of `questions`. Raises LexiconMissing."""
    forms = accepted_forms()
    return tuple(
        Case(q, forms[q.verb].verb_class, _accepted_answers(q, forms[q.verb])) for q in questions()
    )


def write_gold(path: Path) -> None:
    """Write the exam as JSON lines, one case a line, the same bytes each time."""
    path.write_bytes(b"".join(orjson.dumps(_gold_row(case)) + b"\n" for case in cases()))


def _accepted_answers(question: Question, accepted: Accepted) -> tuple[str, ...]:
    if question.verb == "be" and question.tense in _FINITE_BE:
        return (_agreeing(_FINITE_BE[question.tense], question.person),)
    built = frame(question.tense, question.person)
    return tuple(sorted(built.phrase(spelling) for spelling in accepted.spellings[built.form]))


_FINITE_BE = {Tense.PRESENT_SIMPLE: "are", Tense.PAST_SIMPLE: "were"}


def _gold_row(case: Case) -> dict[str, str | tuple[str, ...]]:
    return {
        "case_id": case.question.case_id,
        "verb": case.question.verb,
        "tense": case.question.tense,
        "person": case.question.person,
        "class": case.verb_class,
        "accepted": case.accepted,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m clients.tutor.cases", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the JSON lines file to write")
    out: Path = parser.parse_args().out
    write_gold(out)
    print(f"{len(cases()):,} cases written to {out}")


if __name__ == "__main__":
    main()
