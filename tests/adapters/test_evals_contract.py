"""What every format must say of the same twelve cases, whichever tool wrote them."""

from pathlib import Path

import pytest
from evals_formats import TWELVE, WRITERS, Result, broken_off, failing, paired, write_json

from rampway.adapters.evals_files import EvalFileError, Incomparable, PairedEvals
from rampway.gates.plans import Arm

WITHOUT_ERRORS = {"lm-eval"}  # it stops at the first error, and records none
WITHOUT_LABELS = {"openai"}
KEYS = {
    "plain jsonl": "case_id",
    "plain csv": "case_id",
    "promptfoo v3": "metadata.case_id",
    "promptfoo v2": "metadata.case_id",
    "promptfoo csv": "vars.case_id",
    "inspect json": "sample id",
    "inspect eval, deflate": "sample id",
    "inspect eval, zstd": "sample id",
    "lm-eval": "doc_hash",
    "deepeval": "name",
    "openai": "hash of prompt",
}
every_format = pytest.mark.parametrize("kind", list(WRITERS))


def written(folder: Path, kind: str, results: list[Result]) -> Path:
    folder.mkdir(parents=True)
    return WRITERS[kind](folder, results)


def columns(folder: Path, kind: str, old: list[Result], new: list[Result]) -> PairedEvals:
    baseline, candidate = written(folder / "old", kind, old), written(folder / "new", kind, new)
    labelled = kind not in WITHOUT_LABELS
    return paired(
        baseline,
        candidate,
        cluster="verb" if labelled else None,
        slices=["tense"] if labelled else [],
    )


def asked(evals: PairedEvals) -> list[tuple[float, float]]:
    """The scores in an order that does not depend on the pairing key."""
    return sorted(zip(evals.cases.old, evals.cases.new, strict=True))


@every_format
def test_the_same_cases_give_the_same_columns(tmp_path: Path, kind: str) -> None:
    old, new = failing(TWELVE, 0, 1), failing(TWELVE, 1, 2, 3)

    evals = columns(tmp_path, kind, old, list(reversed(new)))

    cases = evals.cases
    assert len(set(cases.cases)) == 12
    assert asked(evals) == sorted(
        (float(one.passed), float(other.passed)) for one, other in zip(old, new, strict=True)
    )
    assert (cases.missing, cases.errors) == (0, {"baseline": 0, "candidate": 0})
    assert cases.paired_by == KEYS[kind]
    if kind not in WITHOUT_LABELS:
        assert cases.clusters is not None
        assert sorted(cases.clusters.values) == ["add", "be", "go"]
        assert sorted(cases.slices["tense"].values) == ["future", "past"]
        rows = sorted(zip(cases.slices["tense"].codes, cases.clusters.codes, strict=True))
        assert [rows.count((tense, verb)) for tense in (0, 1) for verb in (0, 1, 2)] == [2] * 6


@every_format
def test_a_case_and_its_answers_are_told_where_the_arms_disagree(tmp_path: Path, kind: str) -> None:
    evals = columns(tmp_path, kind, failing(TWELVE, 5), failing(TWELVE, 2))

    worse, better = evals.disagreements
    assert (worse.old, worse.new, worse.regressed) == (1.0, 0.0, True)
    assert (better.old, better.new, better.regressed) == (0.0, 1.0, False)
    assert (worse.old_answer, worse.new_answer) == (TWELVE[2].output, "wrong")
    assert (better.old_answer, better.new_answer) == ("wrong", TWELVE[5].output)
    assert TWELVE[2].question in str(worse.question)
    if kind != "promptfoo csv":  # it holds no assertions
        assert TWELVE[2].expected in str(worse.expected)
    if kind not in WITHOUT_LABELS:
        assert worse.slices == {"tense": TWELVE[2].tense}


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind not in WITHOUT_ERRORS])
def test_an_error_counts_as_a_failure_and_is_counted_apart(tmp_path: Path, kind: str) -> None:
    evals = columns(tmp_path, kind, list(TWELVE), broken_off(failing(TWELVE, 0), 3, 4))

    assert sum(evals.cases.new) == 9
    assert evals.cases.errors == {"baseline": 0, "candidate": 2}
    assert evals.totals[Arm.CANDIDATE].errors == 2
    assert evals.cases.missing == 0


@every_format
def test_cases_that_one_arm_left_out_are_missing(tmp_path: Path, kind: str) -> None:
    evals = columns(tmp_path, kind, list(TWELVE), list(TWELVE[:10]))

    assert len(evals.cases.cases) == 10
    assert evals.cases.missing == 2


@every_format
def test_a_file_pairs_with_itself_and_says_which_tool_wrote_it(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "one", kind, list(TWELVE))

    evals = paired(path, path, slices=None)

    assert evals.cases.old == evals.cases.new == [1.0] * 12
    assert evals.disagreements == ()
    assert evals.totals[Arm.BASELINE] == evals.totals[Arm.CANDIDATE]
    assert evals.totals[Arm.BASELINE].generations == 12
    if kind not in WITHOUT_LABELS:
        assert set(evals.cases.slices) >= {"tense"}
        assert "case_id" not in evals.cases.slices


@every_format
def test_the_same_file_has_the_same_fingerprints_and_another_dataset_has_not(
    tmp_path: Path, kind: str
) -> None:
    one = columns(tmp_path / "one", kind, list(TWELVE), failing(TWELVE, 0))
    again = columns(tmp_path / "again", kind, failing(TWELVE, 3), list(TWELVE))
    fewer = columns(tmp_path / "fewer", kind, list(TWELVE[:11]), list(TWELVE[:11]))

    assert (one.cases.dataset, one.cases.grader) == (again.cases.dataset, again.cases.grader)
    assert one.cases.dataset != fewer.cases.dataset
    assert one.cases.harness == again.cases.harness
    assert one.cases.seeds == again.cases.seeds


def test_formats_are_told_by_content_whatever_the_file_is_called(tmp_path: Path) -> None:
    for number, kind in enumerate(kind for kind in WRITERS if kind != "lm-eval"):
        path = written(tmp_path / str(number), kind, list(TWELVE))
        renamed = path.rename(path.with_name("results.txt"))

        assert len(paired(renamed, renamed).cases.cases) == 12, kind


def test_tools_are_not_compared_with_each_other(tmp_path: Path) -> None:
    promptfoo = written(tmp_path / "a", "promptfoo v3", list(TWELVE))
    inspect = written(tmp_path / "b", "inspect json", list(TWELVE))

    with pytest.raises(Incomparable) as refused:
        paired(promptfoo, inspect)

    assert refused.value.field == "harness"
    assert "promptfoo 0.123.1" in str(refused.value)
    assert "inspect_ai 0.3.285" in str(refused.value)


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b'{"scores": [1, 2], "model": "m"}', "a JSON object with the keys scores, model"),
        (b"{}", "a JSON object with the keys (none)"),
        (b"[1, 2]", "a JSON array"),
        (b"<testsuites/>", "XML (a JUnit report holds no answers"),
        (b"name,points\na,1\n", "text that begins with the columns 'name', 'points'"),
        (b"PK\x03\x04nonsense", "a broken zip archive"),
        (b"\x89PNG\r\n\0\0", "binary data"),
        (b"\x1f\x8b\x08\x00", "compressed with gzip"),
        ("case_id,score\n".encode("utf-16"), "not UTF-8 but UTF-16"),
        (b"", "no results: the file is empty"),
    ],
    ids=range(10),
)
def test_an_unknown_content_is_refused_with_what_was_seen(
    tmp_path: Path, body: bytes, seen: str
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(body)

    with pytest.raises(EvalFileError) as refused:
        paired(path, path)

    assert seen in refused.value.message


def test_an_unknown_content_is_answered_with_the_formats_that_are_known(tmp_path: Path) -> None:
    path = write_json(tmp_path / "mine.json", {"answers": []})

    with pytest.raises(EvalFileError) as refused:
        paired(path, path)

    for name in ("plain JSON lines", "promptfoo", "Inspect", "lm-eval", "DeepEval", "OpenAI"):
        assert name in refused.value.message
