"""What must be the same in both files, what is told of where they differ, and which slices there are."""

import random
from pathlib import Path
from typing import Any

import pytest
from evals_formats import TWELVE, failing, paired, plain_rows, write_lines
from hypothesis import given
from hypothesis import strategies as st

from rampway.adapters.evals_files import EvalFileError, Incomparable
from rampway.gates.evidence import Disagreement
from rampway.gates.plans import Arm

Rows = list[dict[str, Any]]


def written(folder: Path, baseline: Rows, candidate: Rows) -> tuple[Path, Path]:
    return write_lines(folder / "old.jsonl", baseline), write_lines(folder / "new.jsonl", candidate)


def changed(**fields: object) -> Rows:
    """The plain rows with the first one changed."""
    rows = plain_rows(TWELVE)
    return [rows[0] | fields, *rows[1:]]


@pytest.mark.parametrize("field", ["question", "expected"])
def test_a_changed_question_or_answer_under_the_same_id_is_found(
    tmp_path: Path, field: str
) -> None:
    old, new = written(tmp_path, plain_rows(TWELVE), changed(**{field: "something else"}))

    with pytest.raises(Incomparable, match="something else") as refused:
        paired(old, new)

    assert refused.value.field == "dataset"
    assert paired(old, old).cases.dataset != paired(new, new).cases.dataset


def test_a_file_that_does_not_say_what_it_asks_contradicts_nobody(tmp_path: Path) -> None:
    bare = [{"case_id": row["case_id"], "passed": row["passed"]} for row in plain_rows(TWELVE)]
    old, new = written(tmp_path, plain_rows(TWELVE), bare)

    assert paired(old, new).cases.missing == 0
    assert paired(old, new).cases.dataset != paired(new, old).cases.dataset


@pytest.mark.parametrize("field", ["question", "expected"])
def test_repeats_of_a_case_ask_the_same(tmp_path: Path, field: str) -> None:
    rows = plain_rows(TWELVE)
    old, new = written(tmp_path, rows, [*rows, rows[0] | {field: "something else"}])

    with pytest.raises(EvalFileError, match=rf"new\.jsonl:13: case .* differs in its {field}"):
        paired(old, new)


def test_another_harness_is_named_with_both_versions(tmp_path: Path) -> None:
    files = [
        [row | {"harness": harness} for row in plain_rows(TWELVE)]
        for harness in ("mine 1.2", "mine 1.3")
    ]
    old, new = written(tmp_path, *files)

    with pytest.raises(Incomparable, match=r"baseline mine 1\.2, candidate mine 1\.3") as refused:
        paired(old, new)

    assert refused.value.field == "harness"
    assert paired(old, old).cases.harness == "mine 1.2"


def test_a_file_has_one_harness(tmp_path: Path) -> None:
    rows = [row | {"harness": f"mine {n % 2}"} for n, row in enumerate(plain_rows(TWELVE))]
    old, _ = written(tmp_path, rows, rows)

    with pytest.raises(EvalFileError, match=r"old\.jsonl:2: harness 'mine 1', but 'mine 0' before"):
        paired(old, old)


def test_seeds_that_differ_are_told_and_do_not_forbid(tmp_path: Path) -> None:
    files = [[row | {"seed": seed} for row in plain_rows(TWELVE)] for seed in (7, 8)]
    old, new = written(tmp_path, *files)

    assert paired(old, old).cases.seeds == "seed 7"
    assert paired(old, new).cases.seeds == "baseline seed 7; candidate seed 8"


def test_regressions_come_first_the_worst_before_the_others(tmp_path: Path) -> None:
    scores = [(1, 0.5), (0, 1), (1, 0), (0, 0.5), (1, 1), (0.5, 0.25)]
    old: Rows = [{"case_id": str(n), "score": before} for n, (before, _) in enumerate(scores)]
    new: Rows = [{"case_id": str(n), "score": after} for n, (_, after) in enumerate(scores)]

    told = paired(*written(tmp_path, old, new)).disagreements

    assert [one.case for one in told] == ["2", "0", "5", "1", "3"]
    assert [one.regressed for one in told] == [True, True, True, False, False]


def test_an_answer_that_changed_without_its_score_is_told_last(tmp_path: Path) -> None:
    new = [row | {"output": f"{row['output']} indeed"} for row in plain_rows(failing(TWELVE, 3))]

    told = paired(*written(tmp_path, plain_rows(TWELVE), new)).disagreements

    assert len(told) == 12
    assert told[0].case == TWELVE[3].case
    assert {one.new - one.old for one in told[1:]} == {0.0}
    assert {one.regressed for one in told[1:]} == {False}


def test_of_repeats_the_losers_worst_and_the_winners_best_answer_are_told(tmp_path: Path) -> None:
    old: Rows = [
        {"case_id": "a", "score": score, "output": f"old {score}"} for score in (0.5, 1, 0.75)
    ]
    new: Rows = [
        {"case_id": "a", "score": score, "output": f"new {score}"} for score in (0.5, 0, 1)
    ]

    (told,) = paired(*written(tmp_path, old, new)).disagreements

    assert (told.old_answer, told.new_answer) == ("old 1", "new 0")


def test_long_texts_are_cut_and_no_more_than_a_thousand_are_told(tmp_path: Path) -> None:
    def rows(score: int) -> Rows:
        long = dict.fromkeys(("question", "expected", "output"), "x" * 501)
        return [{"case_id": f"{n:04}", "score": score, **long} for n in range(1_200)]

    told = paired(*written(tmp_path, rows(1), rows(0))).disagreements

    assert len(told) == 1_000
    for text in (told[0].question, told[0].expected, told[0].old_answer, told[0].new_answer):
        assert text == "x" * 499 + "…"


@given(
    scores=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20),
    order=st.randoms(use_true_random=False),
)
def test_disagreements_are_the_cases_whose_scores_differ(
    tmp_path_factory: pytest.TempPathFactory, scores: list[tuple[int, int]], order: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("told")
    old: Rows = [{"case_id": str(n), "score": left / 4} for n, (left, _) in enumerate(scores)]
    new: Rows = [{"case_id": str(n), "score": right / 4} for n, (_, right) in enumerate(scores)]
    order.shuffle(new)

    evals = paired(*written(folder, old, new))

    differing = {str(n) for n, (left, right) in enumerate(scores) if left != right}
    assert {one.case for one in evals.disagreements} == differing
    ranks = [rank(one) for one in evals.disagreements]
    assert ranks == sorted(ranks)


def rank(one: Disagreement) -> tuple[bool, float]:
    return not one.regressed, -abs(one.new - one.old)


def test_slices_that_nobody_named_are_the_labels_that_all_cases_have(tmp_path: Path) -> None:
    rows: Rows = [
        {
            "case_id": str(n),
            "passed": True,
            "slices": {"tense": str(n % 3), "even": n % 2 == 0},
            "level": n % 50,
            "verb": n % 51,
            "only": "one value",
            "some": "x" if n else None,
            "note": f"{'long ' * 50}{n % 2}",
            "list": [n % 2],
            "cluster": str(n % 4),
            "seed": n % 2,
        }
        for n in range(102)
    ]

    cases = paired(*written(tmp_path, rows, rows), slices=None, cluster="cluster").cases

    assert list(cases.slices) == ["even", "level", "tense"]
    assert sorted(cases.slices["even"].values) == ["false", "true"]


def test_a_label_that_tells_every_case_apart_or_that_the_arms_dispute_is_no_slice(
    tmp_path: Path,
) -> None:
    rows = plain_rows(TWELVE)
    old = [row | {"number": n, "tokens": n % 3} for n, row in enumerate(rows)]
    new = [row | {"number": n, "tokens": n % 4} for n, row in enumerate(rows)]

    assert list(paired(*written(tmp_path, old, new), slices=None).cases.slices) == ["tense", "verb"]


def test_a_label_that_differs_between_repeats_is_no_slice(tmp_path: Path) -> None:
    rows = plain_rows(TWELVE)
    old = [row | {"tokens": n % 3} for n, row in enumerate([*rows, *rows[1:]])]

    cases = paired(*written(tmp_path, old, rows), slices=None).cases

    assert list(cases.slices) == ["tense", "verb"]


def test_the_totals_of_an_arm_are_over_its_generations(tmp_path: Path) -> None:
    rows = [
        row | {"latency_ms": n + 1, "cost_usd": 0.5, "refused": n == 0}
        for n, row in enumerate(plain_rows(TWELVE))
    ]

    totals = paired(*written(tmp_path, rows, plain_rows(TWELVE))).totals

    old, new = totals[Arm.BASELINE], totals[Arm.CANDIDATE]
    assert (old.generations, old.refused, old.latency_ms_p50, old.latency_ms_p95) == (12, 1, 6, 12)
    assert old.cost_usd == 6
    assert (new.latency_ms_p50, new.latency_ms_p95, new.cost_usd) == (None, None, None)


def test_two_files_of_14_400_cases_with_texts_are_paired_and_some_disagreements_kept(
    tmp_path: Path,
) -> None:
    def rows(failing_every: int) -> Rows:
        return [
            {
                "case_id": f"{n % 200}|{n}",
                "score": float(n % failing_every != 0),
                "slices": {"tense": str(n % 12), "person": str(n % 6), "class": str(n % 2)},
                "cluster": f"verb {n % 200}",
                "question": f"Conjugate verb {n % 200} in tense {n % 12}",
                "expected": ["would have been adding"],
                "output": "would have been adding",
                "grader": {"name": "exact", "version": "2"},
            }
            for n in range(14_400)
        ]

    old, new = written(tmp_path, rows(5), rows(7))

    evals = paired(old, new, cluster="verb", slices=None)

    assert len(evals.cases.cases) == 14_400
    assert sorted(evals.cases.slices) == ["class", "person", "tense"]
    assert len(evals.disagreements) == 1_000


def test_graders_that_differ_are_told_by_what_differs(tmp_path: Path) -> None:
    files = [
        [
            row | {"grader": {"name": "exact", "version": version, "code": "x" * 5_000}}
            for row in plain_rows(TWELVE)
        ]
        for version in ("2", "3")
    ]
    old, new = written(tmp_path, *files)

    with pytest.raises(Incomparable) as refused:
        paired(old, new)

    assert (refused.value.baseline, refused.value.candidate) == ("version '2'", "version '3'")


def test_long_texts_are_told_from_where_they_part(tmp_path: Path) -> None:
    asked = [f"{'the same instructions ' * 50}{verb} {'x' * 900}" for verb in ("add", "subtract")]
    old, new = written(tmp_path, changed(question=asked[0]), changed(question=asked[1]))

    with pytest.raises(Incomparable) as refused:
        paired(old, new)

    assert "add x" in refused.value.baseline
    assert "subtract x" in refused.value.candidate
    assert len(str(refused.value)) < 700
