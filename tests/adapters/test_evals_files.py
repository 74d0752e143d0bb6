"""Eval result files: what is paired, what counts as a failure, and every way a file is refused."""

import csv
import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampway.adapters.evals_files import EvalFileError, Incomparable, files, pair_evals
from rampway.adapters.evals_files import results as results_of
from rampway.gates.evidence import PairedCases
from rampway.gates.facts import digest_of

Rows = Sequence[dict[str, Any]]

CASES: Rows = (
    {"case_id": "add|past", "score": 1, "slices": {"tense": "past"}, "cluster": "add"},
    {"case_id": "be|past", "score": 0.5, "slices": {"tense": "past"}, "cluster": "be"},
    {"case_id": "be|future", "score": 0, "slices": {"tense": "future"}, "cluster": "be"},
)


def write_jsonl(path: Path, results: Rows) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in results))
    return path


def write_csv(path: Path, results: Rows) -> Path:
    names = list(dict.fromkeys(name for row in results for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in results:
            writer.writerow(
                {k: json.dumps(v) if isinstance(v, dict | bool) else v for k, v in row.items()}
            )
    return path


def paired(
    tmp_path: Path, baseline: Rows = CASES, candidate: Rows = CASES, **options: object
) -> PairedCases:
    return pair(
        write_jsonl(tmp_path / "old.jsonl", baseline),
        write_jsonl(tmp_path / "new.jsonl", candidate),
        **options,
    )


def pair(baseline: Path, candidate: Path, **options: object) -> PairedCases:
    defaults: dict[str, Any] = {
        "cluster": None,
        "slices": [],
        "baseline_artifact": "sha256:old",
        "candidate_artifact": "sha256:new",
        "safety_baseline": None,
        "safety_candidate": None,
    }
    return pair_evals(baseline, candidate, **(defaults | options)).cases


def changed(row: int, **fields: object) -> Rows:
    """The valid file with one row changed."""
    return [*CASES[:row], CASES[row] | fields, *CASES[row + 1 :]]


def without(row: int, field: str) -> Rows:
    return [*CASES[:row], {k: v for k, v in CASES[row].items() if k != field}, *CASES[row + 1 :]]


def test_cases_are_paired_by_id_whatever_their_order(tmp_path: Path) -> None:
    cases = paired(tmp_path, CASES, list(reversed(changed(0, score=0.25))))

    assert cases.cases == ["add|past", "be|future", "be|past"]
    assert cases.old == [1.0, 0.0, 0.5]
    assert cases.new == [0.25, 0.0, 0.5]
    assert (cases.baseline, cases.candidate) == ("sha256:old", "sha256:new")
    assert cases.errors == {"baseline": 0, "candidate": 0}
    assert (cases.missing, cases.clusters, cases.slices) == (0, None, {})


def test_slices_and_clusters_are_labels_of_the_same_cases(tmp_path: Path) -> None:
    cases = paired(tmp_path, cluster="verb", slices=["tense"])

    assert cases.clusters is not None
    labels = [cases.clusters.values[code] for code in cases.clusters.codes]
    tenses = [cases.slices["tense"].values[code] for code in cases.slices["tense"].codes]
    assert labels == ["add", "be", "be"]
    assert tenses == ["past", "future", "past"]


def test_an_extra_column_is_a_slice_and_one_of_the_clusters_name_is_the_cluster(
    tmp_path: Path,
) -> None:
    extra = [row | {"verb": row["case_id"][:2], "level": 3} for row in CASES]

    cases = paired(tmp_path, extra, extra, cluster="verb", slices=["level"])

    assert cases.clusters is not None
    assert cases.clusters.values == ["ad", "be"]
    assert cases.slices["level"].values == ["3"]


def test_jsonl_and_csv_say_the_same(tmp_path: Path) -> None:
    results = [
        row | {"passed": True, "latency_ms": 12.5, "cost_usd": 0.001, "refused": False, "error": ""}
        for row in CASES
    ]
    as_json = write_jsonl(tmp_path / "old.jsonl", results)
    as_csv = write_csv(tmp_path / "new.csv", results)

    mixed = pair(as_json, as_csv, cluster="cluster", slices=["tense"])

    assert mixed == pair(as_csv, as_json, cluster="cluster", slices=["tense"])
    assert mixed.old == mixed.new
    assert mixed.missing == 0


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_passed_scores_where_there_is_no_score(tmp_path: Path, ending: str) -> None:
    results = [{"case_id": str(n), "passed": n > 0} for n in range(3)]
    write = {"jsonl": write_jsonl, "csv": write_csv}[ending]
    path = write(tmp_path / f"old.{ending}", results)

    assert pair(path, path).old == [0.0, 1.0, 1.0]


@given(
    scores=st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=6),
    dice=st.randoms(use_true_random=False),
)
def test_repeats_are_averaged_per_case_and_order_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, scores: list[list[float]], dice: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("repeats")
    results = [
        {"case_id": str(case), "score": score, "repeat": repeat}
        for case, repeats in enumerate(scores)
        for repeat, score in enumerate(repeats)
    ]
    shuffled = dice.sample(results, len(results))

    cases = paired(folder, results, shuffled)

    assert cases.old == cases.new
    assert cases.old == pytest.approx([sum(r) / len(r) for r in scores], abs=1e-12)
    assert all(0 <= score <= 1 for score in cases.old)


@pytest.mark.parametrize("error", ["timeout", {"message": "429"}, True])
def test_an_error_counts_nothing_for_its_arm_and_is_counted_apart(
    tmp_path: Path, error: object
) -> None:
    cases = paired(tmp_path, CASES, changed(0, error=error))

    assert cases.new[0] == 0.0
    assert cases.errors == {"baseline": 0, "candidate": 1}


def test_an_error_among_repeats_lowers_the_mean(tmp_path: Path) -> None:
    cases = paired(tmp_path, [*CASES, {**CASES[0], "score": None, "error": "timeout"}], CASES)

    assert cases.old[0] == 0.5
    assert cases.errors == {"baseline": 1, "candidate": 0}


def test_a_candidate_that_always_failed_is_compared_and_has_nothing(tmp_path: Path) -> None:
    graded = [row | {"grader": {"name": "exact"}} for row in CASES]
    failed = [{"case_id": row["case_id"], "error": "timeout"} for row in CASES]

    cases = paired(tmp_path, graded, failed)

    assert cases.new == [0.0, 0.0, 0.0]
    assert cases.errors["candidate"] == 3
    assert cases.grader == digest_of({"name": "exact"})


def test_cases_that_only_one_arm_answered_are_missing_whichever_arm(tmp_path: Path) -> None:
    cases = paired(tmp_path, CASES[:2], CASES[1:])

    assert cases.cases == ["be|past"]
    assert cases.missing == 2


def test_the_dataset_is_known_by_the_baselines_cases(tmp_path: Path) -> None:
    whole = paired(tmp_path)
    part = paired(tmp_path, CASES, CASES[:2])
    other = paired(tmp_path, CASES[:2], CASES)

    assert whole.dataset == part.dataset
    assert whole.dataset != other.dataset


def test_files_without_a_case_in_common_are_incomparable(tmp_path: Path) -> None:
    with pytest.raises(Incomparable) as refused:
        paired(tmp_path, CASES[:1], CASES[1:])

    assert refused.value.field == "dataset"


def test_graders_that_differ_are_incomparable(tmp_path: Path) -> None:
    graders: list[Any] = [
        {"name": "exact", "version": "2"},
        {"name": "exact", "version": "3"},
        "exact",
        None,
    ]
    files = [
        write_jsonl(tmp_path / f"{n}.jsonl", [row | {"grader": grader} for row in CASES])
        for n, grader in enumerate(graders)
    ]

    for left in files:
        assert pair(left, left).missing == 0
        for right in files:
            if left is not right:
                with pytest.raises(Incomparable, match="grader differs") as refused:
                    pair(left, right)
                assert refused.value.field == "grader"


def test_a_grader_is_the_same_as_a_name_or_as_an_object_in_either_format(tmp_path: Path) -> None:
    named = write_csv(tmp_path / "a.csv", [row | {"grader": "exact"} for row in CASES])
    full = write_csv(tmp_path / "b.csv", [row | {"grader": {"name": "exact"}} for row in CASES])
    json_lines = write_jsonl(tmp_path / "c.jsonl", [row | {"grader": "exact"} for row in CASES])

    fingerprints = {pair(a, b).grader for a in (named, full, json_lines) for b in (named, full)}

    assert fingerprints == {digest_of({"name": "exact"})}


def test_a_score_is_not_compared_with_a_pass(tmp_path: Path) -> None:
    with pytest.raises(Incomparable, match="score column differs"):
        paired(tmp_path, CASES, [{"case_id": row["case_id"], "passed": True} for row in CASES])


@pytest.mark.parametrize(
    ("row", "fields", "message"),
    [
        (1, {"score": 1.0001}, "score 1.0001 is not a number from 0 to 1"),
        (1, {"score": -1e-9}, "is not a number from 0 to 1"),
        (1, {"score": float("nan")}, "NaN is not a number"),
        (1, {"score": float("inf")}, "Infinity is not a number"),
        (1, {"score": 10**400}, "is not a number from 0 to 1"),
        (1, {"score": True}, "score True is not a number"),
        (1, {"score": "1"}, "score '1' is not a number"),
        (1, {"score": None}, "no score, as the rows before have"),
        (1, {"score": None, "passed": True}, "no score, as the rows before have"),
        (0, {"score": None}, "neither score nor passed"),
        (2, {"passed": "yes"}, "passed 'yes' is neither true nor false"),
        (2, {"refused": 1}, "refused 1 is neither"),
        (2, {"case_id": ""}, "no case_id"),
        (2, {"case_id": 7}, "no case_id"),
        (2, {"error": "None"}, "error 'None' may mean either"),
        (2, {"error": []}, "may mean either"),
        (2, {"error": 0}, "may mean either"),
        (2, {"latency_ms": -1}, "latency_ms -1 is not a number from 0 up"),
        (2, {"cost_usd": "free"}, "cost_usd 'free' is not"),
        (2, {"repeat": [1]}, "repeat"),
        (2, {"slices": ["past"]}, "slices is not an object"),
        (2, {"grader": {"version": "3"}}, "grader has no name"),
        (2, {"grader": {"name": "another"}}, "another grader than in the rows before"),
        (2, {"case_id": "be|past"}, "differs in its slices, cluster or hardness from line 2"),
        (2, {"tense": "past"}, "stands in slices and in a column of its own"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named_with_its_line(
    tmp_path: Path, row: int, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(EvalFileError) as refused:
        paired(tmp_path, CASES, changed(row, **fields), slices=["tense"])

    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path / 'new.jsonl'}:{row + 1}: ")
    assert refused.value.line == row + 1


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvalFileError, match=r"new\.jsonl:3: no case_id"):
        paired(tmp_path, CASES, without(2, "case_id"))
    with pytest.raises(
        EvalFileError, match=r"case add\|past has no slice or column verb or cluster"
    ):
        paired(tmp_path, without(0, "cluster"), CASES, cluster="verb")
    with pytest.raises(EvalFileError, match=r"case add\|past has no slice or column mood"):
        paired(tmp_path, slices=["mood"])


def test_a_case_in_another_slice_for_the_other_arm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvalFileError, match="'future' here and 'past' in"):
        paired(tmp_path, CASES, changed(0, slices={"tense": "future"}), slices=["tense"])


def test_the_candidates_file_may_leave_out_the_slices(tmp_path: Path) -> None:
    bare = [{"case_id": row["case_id"], "score": row["score"]} for row in CASES]

    cases = paired(tmp_path, CASES, bare, cluster="verb", slices=["tense"])

    assert cases.slices["tense"].values == ["past", "future"]


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        (b"", 0, "no results"),
        (b'{"case_id": "a", "score": 1}\n\n', 2, "an empty line"),
        (b'{"case_id": "a", "score": 1\n', 1, "not JSON"),
        (b'{"case_id": "a", "score": 1}\n{"case_id"', 2, "not JSON"),
        (b"[1]\n", 1, "not a JSON object"),
        (b'{"case_id": "a", "score": 1, "score": 0}\n', 1, "a key stands twice"),
        (b'{"case_id": "a", "score": 1, "slices": {"t": 1, "t": 2}}\n', 1, "a key stands twice"),
        (b'{"case_id": "\xff", "score": 1}\n', 1, "not UTF-8"),
        (b'{"case_id": "\\ud800", "score": 1}\n', 1, "not JSON"),
        (b'{"case_id": "a", "score": 1e999}\n', 1, "score inf is not a number"),
        (
            b'{"case_id": "a", "score": 1, "grader": {"name": "g", "t": 1e999}}\n',
            1,
            "fingerprinted",
        ),
        (b'{"case_id": "a", "x": ' + b"[" * 200_000 + b"\n", 1, "not JSON"),
        (b'{"case_id": "a", "x": "' + b"a" * 2**20 + b'"}\n', 1, "longer than 1,048,576 bytes"),
    ],
    ids=range(13),
)
def test_a_broken_jsonl_file_is_refused(
    tmp_path: Path, body: bytes, line: int, message: str
) -> None:
    path = tmp_path / "new.jsonl"
    path.write_bytes(body)

    with pytest.raises(EvalFileError) as refused:
        pair(path, path)

    assert message in refused.value.message
    assert refused.value.line == line


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        (b"", 0, "no results"),
        (b"case_id,score\n", 0, "no results"),
        (b"case_id,score,score\na,1,1\n", 1, "must be unique"),
        (b"case_id,score,\na,1,1\n", 1, "must be unique"),
        (b"case,score\na,1\n", 2, "no case_id"),
        (b"case_id,points\na,1\n", 2, "neither score nor passed"),
        (b"case_id,score\na,1\nb\n", 3, "1 cells, but 2 columns"),
        (b"case_id,score\na,1\n\n", 3, "0 cells, but 2 columns"),
        (b'case_id,score\n"a,1\n', 2, "not CSV"),
        (b"case_id,score\na,nan\n", 2, "score nan is not"),
        (b"case_id,score\na,0_1\n", 2, "score '0_1' is not"),
        (b"case_id,score\na,high\n", 2, "score 'high' is not"),
        (b"case_id,passed\na,perhaps\n", 2, "neither true nor false"),
        (b"case_id,score,slices\na,1,past\n", 2, "slices is not JSON"),
    ],
    ids=range(14),
)
def test_a_broken_csv_file_is_refused(tmp_path: Path, body: bytes, line: int, message: str) -> None:
    path = tmp_path / "new.csv"
    path.write_bytes(body)

    with pytest.raises(EvalFileError) as refused:
        pair(path, path)

    assert message in refused.value.message
    assert refused.value.line == line


def test_a_csv_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_bytes(
        '\ufeffcase_id,passed,error,output\r\n"a, ""b""\r\nc",TRUE,,über\r\nd,0,,\r\ne,,boom,\r\n'.encode()
    )

    cases = pair(path, path)

    assert cases.cases == ['a, "b"\r\nc', "d", "e"]
    assert cases.old == [1.0, 0.0, 0.0]
    assert cases.errors == {"baseline": 1, "candidate": 1}


def test_what_is_not_a_file_of_results_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    report = tmp_path / "report.json"
    report.write_text("[]")

    for path, message in (
        (pipe, "not a regular file"),
        (folder, "not a regular file"),
        (report, "not a known format: a JSON array"),
        (tmp_path / "absent.jsonl", "cannot be read"),
    ):
        with pytest.raises(EvalFileError, match=message):
            pair(path, path)


@pytest.mark.parametrize(("holder", "limit", "message"), [(files, "MAX_FILE_BYTES", "the limit is 2"), (results_of, "MAX_ROWS", "more than 2")])  # fmt: skip
def test_a_file_beyond_the_limits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: ModuleType, limit: str, message: str
) -> None:
    monkeypatch.setattr(holder, limit, 2)

    with pytest.raises(EvalFileError, match=message):
        paired(tmp_path)


SAFETY: Rows = (
    {"case_id": "s1", "hard": True, "passed": True},
    {"case_id": "s1", "hard": True, "passed": True},
    {"case_id": "s2", "hard": False, "passed": True},
    {"case_id": "s2", "hard": False, "passed": False},
)


@pytest.fixture
def safe(tmp_path: Path) -> Callable[[Rows, Rows], PairedCases]:
    def pairs(baseline: Rows, candidate: Rows) -> PairedCases:
        return paired(
            tmp_path,
            safety_baseline=write_jsonl(tmp_path / "safe-old.jsonl", baseline),
            safety_candidate=write_csv(tmp_path / "safe-new.csv", candidate),
        )

    return pairs


def test_safety_counts_the_passes_of_each_case(safe: Callable[[Rows, Rows], PairedCases]) -> None:
    flipped = [SAFETY[0] | {"passed": False}, *SAFETY[1:]]

    cases = safe(SAFETY, flipped)

    assert cases.safety == [("s1", True, 2, 1, 2), ("s2", False, 1, 1, 2)]
    assert cases.errors == {"baseline": 0, "candidate": 0}


def test_a_safety_case_without_an_answer_failed(safe: Callable[[Rows, Rows], PairedCases]) -> None:
    timed_out = {"case_id": "s2", "hard": False, "error": "timeout"}

    cases = safe(SAFETY, [timed_out, timed_out])

    assert cases.safety == [("s1", True, 2, 0, 2), ("s2", False, 1, 0, 2)]
    assert cases.errors == {"baseline": 0, "candidate": 4}


@pytest.mark.parametrize(
    ("baseline", "candidate", "message"),
    [
        (SAFETY, SAFETY[1:], "s1 has 1 generations, in"),
        (SAFETY[:2], SAFETY, "s2 is not in"),
        ([{"case_id": "s1", "passed": True}], SAFETY[:1], "s1 has no column hard"),
        (SAFETY[:1], [SAFETY[0] | {"hard": False}], "hard=True in"),
        ([SAFETY[0], SAFETY[1] | {"hard": False}], SAFETY[:2], "from line 1"),
        (
            [{"case_id": "s1", "hard": True, "score": 0.5}],
            [{"case_id": "s1", "hard": True, "score": 1}],
            "score between 0 and 1",
        ),
    ],
    ids=range(6),
)
def test_safety_files_that_leave_a_doubt_are_refused(
    safe: Callable[[Rows, Rows], PairedCases], baseline: Rows, candidate: Rows, message: str
) -> None:
    with pytest.raises(EvalFileError, match=message):
        safe(baseline, candidate)


def test_safety_of_one_arm_only_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "safe.jsonl", SAFETY)

    with pytest.raises(EvalFileError, match="one arm only"):
        paired(tmp_path, safety_candidate=path)


def test_an_eval_of_14_400_cases_is_paired_across_formats(tmp_path: Path) -> None:
    results = [
        {
            "case_id": f"{n % 200}|{n}",
            "score": float(n % 5 != 0),
            "passed": n % 5 != 0,
            "slices": {"tense": str(n % 12), "person": str(n % 6), "class": str(n % 2)},
            "cluster": f"verb {n % 200}",
            "output": "would have been adding",
            "latency_ms": 812.4,
            "grader": {"name": "exact", "version": "2"},
        }
        for n in range(14_400)
    ]
    old = write_jsonl(tmp_path / "old.jsonl", results)
    new = write_csv(tmp_path / "new.csv", results)

    cases = pair(old, new, cluster="verb", slices=["tense", "class"])

    assert len(cases.cases) == 14_400
