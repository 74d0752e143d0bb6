"""The exam and the tutors that sit it: what is right, who knows what, and by how much."""

import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import fmean, stdev

import pytest

from clients.tutor import lexicon as lexicon_file
from clients.tutor.answers import (
    SAFETY_CASE_IDS,
    Result,
    accuracy,
    exam_grader,
    results,
    safety_results,
    write_results,
)
from clients.tutor.cases import Case, Person, Question, Tense, cases, questions, write_gold
from clients.tutor.lexicon import LexiconMissing
from clients.tutor.variants import Variant, answer
from clients.tutor.verbs import VERBS, Form, VerbClass, accepted_forms
from rampway.judge.gold import load_grader

ACCURACY_TOLERANCE = 0.005


@pytest.fixture(scope="module")
def exam() -> dict[str, Case]:
    return {case.question.case_id: case for case in cases()}


@pytest.fixture(scope="module")
def graded() -> dict[Variant, list[Result]]:
    return {variant: results(variant) for variant in Variant}


def test_the_exam_has_14400_cases_with_an_id_each(exam: dict[str, Case]) -> None:
    assert len(VERBS) == len(set(VERBS)) == 200
    assert len(exam) == len(questions()) == 14_400
    assert Counter(case.question.tense for case in exam.values()) == dict.fromkeys(Tense, 1_200)
    assert Counter(case.question.person for case in exam.values()) == dict.fromkeys(Person, 2_400)


def test_every_class_has_enough_verbs_to_be_a_slice() -> None:
    classes = Counter(accepted.verb_class for accepted in accepted_forms().values())

    assert classes == {VerbClass.IRREGULAR: 99, VerbClass.REGULAR: 80, VerbClass.SPELLING: 21}


@pytest.mark.parametrize(
    ("case_id", "accepted"),
    [
        ("go.past-simple.3s", {"went"}),
        ("go.present-simple.3s", {"goes"}),
        ("go.present-simple.3p", {"go"}),
        ("go.future-simple.1s", {"will go"}),
        ("go.past-continuous.1s", {"was going"}),
        ("go.past-continuous.2s", {"were going"}),
        ("go.future-continuous.1p", {"will be going"}),
        ("go.present-perfect.3s", {"has gone"}),
        ("go.future-perfect.2p", {"will have gone"}),
        ("go.present-perfect-continuous.3s", {"has been going"}),
        ("go.present-perfect-continuous.1p", {"have been going"}),
        ("go.past-perfect-continuous.3p", {"had been going"}),
        ("go.future-perfect-continuous.3s", {"will have been going"}),
        ("be.present-simple.1s", {"am"}),
        ("be.present-simple.2s", {"are"}),
        ("be.present-simple.3s", {"is"}),
        ("be.past-simple.1s", {"was"}),
        ("be.past-simple.3p", {"were"}),
        ("be.present-continuous.1s", {"am being"}),
        ("be.present-perfect.3s", {"has been"}),
        ("have.present-perfect.3s", {"has had"}),
        ("stop.present-continuous.3s", {"is stopping"}),
        ("travel.past-simple.1s", {"traveled", "travelled"}),
        ("get.past-perfect.1s", {"had got", "had gotten"}),
        ("lie.past-perfect.1s", {"had lain", "had lied"}),
        ("forget.past-perfect.1s", {"had forgotten", "had forgot"}),
        ("sink.past-simple.1s", {"sank", "sunk"}),
        ("shrink.past-simple.1s", {"shrank", "shrunk"}),
        ("occur.past-simple.3s", {"occurred"}),
        ("stay.present-simple.3s", {"stays"}),
    ],
)
def test_a_teacher_accepts(exam: dict[str, Case], case_id: str, accepted: set[str]) -> None:
    assert set(exam[case_id].accepted) == accepted


@pytest.mark.parametrize(
    ("verb", "verb_class"),
    [
        ("walk", VerbClass.REGULAR),
        ("love", VerbClass.REGULAR),
        ("learn", VerbClass.REGULAR),
        ("stop", VerbClass.SPELLING),
        ("carry", VerbClass.SPELLING),
        ("agree", VerbClass.SPELLING),
        ("die", VerbClass.SPELLING),
        ("go", VerbClass.IRREGULAR),
        ("feed", VerbClass.IRREGULAR),
        ("put", VerbClass.IRREGULAR),
        ("be", VerbClass.IRREGULAR),
    ],
)
def test_a_verb_is_of_the_class_its_forms_make_it(verb: str, verb_class: VerbClass) -> None:
    assert accepted_forms()[verb].verb_class is verb_class


def test_every_verb_has_every_form() -> None:
    for accepted in accepted_forms().values():
        assert set(accepted.spellings) == set(Form)
        assert all(accepted.spellings.values()), accepted.verb


@pytest.mark.parametrize(
    ("variant", "verb", "tense", "said"),
    [
        (Variant.NAIVE, "go", Tense.PAST_SIMPLE, "goed"),
        (Variant.NAIVE, "stop", Tense.PRESENT_CONTINUOUS, "is stoping"),
        (Variant.NAIVE, "live", Tense.PRESENT_CONTINUOUS, "is living"),
        (Variant.MODEL, "go", Tense.PAST_SIMPLE, "goed"),
        (Variant.MODEL, "stop", Tense.PRESENT_CONTINUOUS, "is stopping"),
        (Variant.MODEL, "walk", Tense.PAST_SIMPLE, "walked"),
        (Variant.SLIP, "walk", Tense.PAST_SIMPLE, "has walked"),
        (Variant.SLIP, "walk", Tense.PAST_PERFECT, "had walked"),
        (Variant.FLAKY, "walk", Tense.PAST_SIMPLE, "walked"),
    ],
)
def test_a_tutor_says(variant: Variant, verb: str, tense: Tense, said: str) -> None:
    assert answer(variant, Question(verb, tense, Person.THIRD_SINGULAR)) == said


@pytest.mark.parametrize(
    ("variant", "all_verbs", "regular", "spelling", "irregular"),
    [
        (Variant.NAIVE, 0.724, 1.000, 0.399, 0.571),
        (Variant.MODEL, 0.811, 1.000, 0.841, 0.652),
        (Variant.SLIP, 0.770, 0.917, 0.774, 0.650),
        (Variant.FLAKY, 0.811, 1.000, 0.841, 0.652),
    ],
)
def test_a_tutor_is_as_good_as_reported(
    graded: dict[Variant, list[Result]],
    variant: Variant,
    all_verbs: float,
    regular: float,
    spelling: float,
    irregular: float,
) -> None:
    reported = {"all": all_verbs, "regular": regular, "spelling": spelling, "irregular": irregular}

    assert accuracy(graded[variant]) == pytest.approx(reported, abs=ACCURACY_TOLERANCE)


def difference(old: list[Result], new: list[Result]) -> tuple[float, float]:
    """Mean of the paired differences and its standard error, verbs as clusters of 72 cases."""
    of_verb: dict[str, list[float]] = {}
    for before, after in zip(old, new, strict=True):
        of_verb.setdefault(before["cluster"], []).append(after["score"] - before["score"])
    means = [fmean(differences) for differences in of_verb.values()]
    return fmean(means), stdev(means) / math.sqrt(len(means))


def test_the_model_is_clearly_better_than_naive_rules(
    graded: dict[Variant, list[Result]],
) -> None:
    gain, standard_error = difference(graded[Variant.NAIVE], graded[Variant.MODEL])

    assert gain == pytest.approx(0.0868, abs=0.0005)
    assert standard_error == pytest.approx(0.0145, abs=0.0005)


def test_the_slip_is_a_clear_loss_and_lies_in_one_tense(
    graded: dict[Variant, list[Result]],
) -> None:
    loss, standard_error = difference(graded[Variant.MODEL], graded[Variant.SLIP])
    changed = {
        before["slices"]["tense"]
        for before, after in zip(graded[Variant.MODEL], graded[Variant.SLIP], strict=True)
        if before["passed"] != after["passed"]
    }

    assert loss == pytest.approx(-0.0413, abs=0.0005)
    assert loss / standard_error < -10
    assert changed == {"past-simple"}


def test_the_safety_set_is_what_every_tutor_gets_right(
    graded: dict[Variant, list[Result]],
) -> None:
    assert len(SAFETY_CASE_IDS) == 40
    for variant in Variant:
        rows = safety_results(graded[variant])
        assert {row["case_id"] for row in rows} == SAFETY_CASE_IDS
        assert all(row["passed"] and row["hard"] for row in rows)


def test_a_result_file_has_the_columns_an_importer_needs(
    graded: dict[Variant, list[Result]], tmp_path: Path
) -> None:
    write_results(graded[Variant.MODEL], tmp_path / "b.jsonl")

    rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]

    assert len({row["case_id"] for row in rows}) == 14_400
    row = next(row for row in rows if row["case_id"] == "go.past-simple.3s")
    assert row.pop("grader")["name"] == "set_match"
    assert row == {
        "case_id": "go.past-simple.3s",
        "score": 0.0,
        "passed": False,
        "slices": {"tense": "past-simple", "person": "3s", "class": "irregular"},
        "cluster": "go",
        "error": None,
        "output": "goed",
    }


def test_the_gold_file_is_the_same_each_time_and_grades_as_the_exam_does(tmp_path: Path) -> None:
    write_gold(tmp_path / "gold.jsonl")
    write_gold(tmp_path / "again.jsonl")

    online = load_grader(
        "set_match", tmp_path / "gold.jsonl", key_fields=("verb", "tense", "person")
    )

    assert (tmp_path / "gold.jsonl").read_bytes() == (tmp_path / "again.jsonl").read_bytes()
    assert online.fingerprint == exam_grader().fingerprint


def test_without_the_lexicon_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lemminflect", None)
    lexicon_file.lexicon.cache_clear()

    with pytest.raises(LexiconMissing, match=r"pip install 'rampway\[demo\]'"):
        lexicon_file.lexicon()

    monkeypatch.undo()
    assert lexicon_file.lexicon().model


def test_the_questions_and_the_naive_tutor_need_no_lexicon() -> None:
    code = (
        "import sys; sys.modules['lemminflect'] = None\n"
        "from clients.tutor.cases import questions\n"
        "from clients.tutor.variants import Variant, answer, warm\n"
        "warm(Variant.NAIVE)\n"
        "print(len({answer(Variant.NAIVE, one) for one in questions()}))"
    )

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert int(printed.stdout) > 1_000
