"""What counts as the right answer, and what identifies the grader that says so."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from rampway.judge.gold import GoldUnusable, UnknownGrader, load_grader, read_gold
from rampway.judge.graders import Answer, Gold, Grader, SetMatch, Ungradable, normalised

# Letters whose folding or composition changes other letters: sharp s, dotted I, long s, both sigmas,
# iota below, acute accent (alone and combining), ligature fi, circled one, spaces of several kinds.
ODD_LETTERS = (
    "a\u00df\u0130\u017f\u03a3\u03c2\u0345\u00b4\u0301\u0308\ufb01\u2460\u2003\u200b\t .!?\u2026'"
)
WENT_IN_FULL_WIDTH = "\uff57\uff45\uff4e\uff54"
WENT = {"case_id": "go.past-simple.3s"}


def gold_file(folder: Path, *lines: object) -> Path:
    path = folder / "gold.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def went_or_gone() -> Gold:
    return Gold({"go.past-simple.3s": frozenset({"went"})}, case_by_key={})


@pytest.fixture
def grader() -> Grader:
    return SetMatch(went_or_gone())


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


@given(st.text(alphabet=st.sampled_from(ODD_LETTERS)))
def test_normalising_is_stable_on_letters_that_fold_oddly(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize(
    "spelling", ["Went", " went ", "WENT.", "went!?", WENT_IN_FULL_WIDTH, "went … ", "\twent\n"]
)
def test_case_width_space_and_final_punctuation_are_no_mistakes(
    grader: Grader, spelling: str
) -> None:
    assert grader.score(WENT, Answer(200, {"answer": spelling})) == 1


@pytest.mark.parametrize("spelling", ["goed", "wen t", "-went", "", ".", "he went"])
def test_another_spelling_is_wrong(grader: Grader, spelling: str) -> None:
    assert grader.score(WENT, Answer(200, {"answer": spelling})) == 0


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"answer": "went"}),
        (503, "went"),
        (None, None),
        (None, {"answer": "went"}),
        (0, {"answer": "went"}),
        (200, None),
        (200, {}),
        (200, {"answer": None}),
        (200, {"answer": ["went"]}),
        (200, '{"answer": "we'),
        (200, ["went"]),
        (200, "<html>went</html>"),
    ],
)
def test_an_error_or_an_unreadable_answer_scores_nothing(
    grader: Grader, status: int | None, body: JsonValue
) -> None:
    assert grader.score(WENT, Answer(status, body)) == 0


@pytest.mark.parametrize("body", [{"answer": "went"}, '{"answer": "went", "model": "b"}', "went"])
def test_an_answer_may_be_json_or_the_text_of_it_or_plain_text(
    grader: Grader, body: JsonValue
) -> None:
    assert grader.score(WENT, Answer(200, body)) == 1


def test_a_plain_text_answer_that_looks_like_a_number_is_still_a_text() -> None:
    grader = SetMatch(Gold({"sum": frozenset({"42"})}, case_by_key={}))

    assert grader.score({"case_id": "sum"}, Answer(200, "42")) == 1


def test_the_request_may_be_the_text_of_its_json(grader: Grader) -> None:
    assert grader.score(json.dumps(WENT), Answer(200, "went")) == 1


@pytest.mark.parametrize("request_body", [{}, {"case_id": "no.such.case"}, "hello", None, 7, []])
def test_a_request_of_no_known_case_cannot_be_graded(
    grader: Grader, request_body: JsonValue
) -> None:
    with pytest.raises(Ungradable):
        grader.score(request_body, Answer(200, "went"))


def test_a_request_without_a_case_id_is_found_by_its_key_fields(tmp_path: Path) -> None:
    path = gold_file(
        tmp_path,
        {"case_id": "1", "verb": "go", "tense": "past", "accepted": ["went"]},
        {"case_id": "2", "verb": "go", "tense": "future", "accepted": ["will go"]},
    )

    grader = load_grader("set_match", path, key_fields=("verb", "tense"))

    future: JsonValue = {"verb": "go", "tense": "future"}
    assert grader.score(future, Answer(200, "will go")) == 1
    assert grader.score(future, Answer(200, "went")) == 0
    with pytest.raises(Ungradable):
        grader.score({"verb": "go", "tense": "perfect"}, Answer(200, "went"))


def test_the_fingerprint_is_of_the_gold_not_of_its_order_or_spelling() -> None:
    one = Gold({"a": frozenset({"x", "y"}), "b": frozenset({"z"})}, case_by_key={})
    same = Gold({"b": frozenset({" Z."}), "a": frozenset({"Y", "x"})}, case_by_key={})
    other = Gold({"a": frozenset({"x"}), "b": frozenset({"z"})}, case_by_key={})

    assert SetMatch(one).fingerprint == SetMatch(same).fingerprint
    assert SetMatch(one).fingerprint != SetMatch(other).fingerprint
    assert SetMatch(one).fingerprint.startswith("set_match/1/sha256:")


def test_an_unknown_grader_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = gold_file(tmp_path, {"case_id": "1", "accepted": ["went"]})

    with pytest.raises(UnknownGrader, match=r"no grader 'vibes'.*set_match"):
        load_grader("vibes", path)


def test_a_missing_gold_file_says_which(tmp_path: Path) -> None:
    with pytest.raises(GoldUnusable, match=r"gold\.jsonl cannot be read: No such file"):
        read_gold(tmp_path / "gold.jsonl")


def test_an_empty_gold_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GoldUnusable, match="holds no case"):
        read_gold(gold_file(tmp_path))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["went"], r"gold\.jsonl:2: Input should be an object"),
        ({"accepted": ["went"]}, r"gold\.jsonl:2: case_id: Field required"),
        ({"case_id": "2"}, r"gold\.jsonl:2: accepted: Field required"),
        ({"case_id": "2", "accepted": []}, r"gold\.jsonl:2: accepted: "),
        ({"case_id": "2", "accepted": "went"}, r"gold\.jsonl:2: accepted: "),
        ({"case_id": "2", "accepted": [" ."]}, "saying nothing would be right"),
        ({"case_id": "1", "accepted": ["gone"]}, "case '1' is there twice"),
    ],
)
def test_a_wrong_gold_line_is_named_by_its_number(
    tmp_path: Path, line: object, complaint: str
) -> None:
    path = gold_file(tmp_path, {"case_id": "1", "accepted": ["went"]}, line)

    with pytest.raises(GoldUnusable, match=complaint):
        read_gold(path)


def test_key_fields_that_do_not_tell_cases_apart_are_refused(tmp_path: Path) -> None:
    path = gold_file(
        tmp_path,
        {"case_id": "1", "verb": "go", "accepted": ["went"]},
        {"case_id": "2", "verb": "go", "accepted": ["gone"]},
    )

    with pytest.raises(GoldUnusable, match="are those of case '1' too"):
        read_gold(path, key_fields=("verb",))
    with pytest.raises(GoldUnusable, match="no field 'tense'"):
        read_gold(path, key_fields=("tense",))
