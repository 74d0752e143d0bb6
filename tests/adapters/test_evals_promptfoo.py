"""promptfoo's traps: errors that are none, several arms in one file, and ids that are not ids."""

from pathlib import Path
from typing import Any

import pytest
from evals_formats import (
    TWELVE,
    Result,
    failing,
    paired,
    promptfoo_row,
    promptfoo_v2,
    promptfoo_v3,
    write_json,
    write_promptfoo_csv,
)

from rampway.adapters.evals_files import EvalFileError, Incomparable
from rampway.gates.plans import Arm

Rows = list[dict[str, Any]]


def rows_of(*results: Result, **fields: object) -> Rows:
    return [promptfoo_row(one, index, **fields) for index, one in enumerate(results)]


def write(folder: Path, rows: Rows, name: str = "results.json", **document: object) -> Path:
    return write_json(folder / name, promptfoo_v3(rows) | document)


def test_only_failure_reason_2_is_an_error(tmp_path: Path) -> None:
    wrong, broke, right = rows_of(*failing(TWELVE[:3], 0))
    assert wrong["error"], "promptfoo fills error for a failed assertion too"
    broke |= {"failureReason": 2, "success": True, "gradingResult": None}

    evals = paired(path := write(tmp_path, [wrong, broke, right]), path)

    assert evals.cases.errors == {"baseline": 1, "candidate": 1}
    assert sum(evals.cases.new) == 1


def test_without_a_failure_reason_an_error_is_a_result_that_nothing_graded(tmp_path: Path) -> None:
    rows = rows_of(*failing(TWELVE[:3], 0, 1))
    for row in rows:
        del row["failureReason"]
    rows[1]["gradingResult"] = None
    document = promptfoo_v3([{**row, "failureReason": 0} for row in rows])
    document["results"]["results"] = rows
    path = write_json(tmp_path / "old.json", document)

    cases = paired(path, path).cases

    assert cases.errors["candidate"] == 1
    assert sum(cases.new) == 1


def test_a_pass_is_what_promptfoo_calls_success_not_the_mean_of_its_assertions(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, rows_of(*failing(TWELVE[:2], 0)))  # the failed one has score 0.5

    assert sorted(paired(path, path).cases.old) == [0.0, 1.0]
    assert sorted(paired(path, path, scorer="score").cases.old) == [0.5, 1.0]
    assert sorted(paired(path, path, scorer="right").cases.old) == [0.0, 1.0]
    assert sorted(paired(path, path, scorer="fast").cases.old) == [1.0, 1.0]
    with pytest.raises(EvalFileError, match=r"scorer 'polite': none fits of: right; fast; score"):
        paired(path, path, scorer="polite")


def several(folder: Path) -> Path:
    """Two prompts for one provider, and one of them for another: three arms."""
    arms = [
        rows_of(*TWELVE),
        rows_of(*failing(TWELVE, 0), promptIdx=1, prompt={"label": "Please conjugate"}),
        rows_of(*failing(TWELVE, 0, 1), promptIdx=2, provider={"id": "openai:small"}),
    ]
    return write(folder, [row for arm in arms for row in arm])


def test_a_file_of_several_prompts_and_providers_is_refused_with_their_list(
    tmp_path: Path,
) -> None:
    path = several(tmp_path)

    with pytest.raises(EvalFileError) as refused:
        paired(path, path)

    assert "holds 3 prompt-provider pairs, and only one can be compared" in refused.value.message
    for part in (
        "tutor, prompt 1: Conjugate {{verb}}",
        "tutor, prompt 2: Please conjugate",
        "openai:small, prompt 3: Conjugate {{verb}}",
    ):
        assert part in refused.value.message


def test_the_arms_of_one_file_are_compared_once_they_are_chosen(tmp_path: Path) -> None:
    path = several(tmp_path)

    evals = paired(path, path, baseline_part="prompt 2", candidate_part="openai:small")

    assert (sum(evals.cases.old), sum(evals.cases.new)) == (11, 10)
    assert evals.cases.missing == 0


@pytest.mark.parametrize(("part", "fits"), [("tutor", "several fit"), ("claude", "none fits")])
def test_a_choice_that_is_not_one_is_refused(tmp_path: Path, part: str, fits: str) -> None:
    path = several(tmp_path)

    with pytest.raises(EvalFileError, match=fits):
        paired(path, path, baseline_part=part, candidate_part=part)


def test_repeats_are_averaged_and_never_paired_by_their_index(tmp_path: Path) -> None:
    right, wrong = TWELVE[0], failing(TWELVE, 0)[0]
    # promptfoo gives each repeat a testIdx of its own, in whatever order they end.
    old = write(tmp_path, rows_of(right, wrong, wrong, wrong, TWELVE[1]), "old.json")
    new = write(tmp_path, rows_of(TWELVE[1], wrong, wrong, wrong, right), "new.json")

    evals = paired(old, new)

    assert len(evals.cases.cases) == 2
    assert evals.cases.old == evals.cases.new
    assert sorted(evals.cases.old) == [0.25, 1.0]
    assert evals.disagreements == ()
    assert evals.cases.seeds == "repeats 4, temperature 0.7"


@pytest.mark.parametrize(
    ("metadata", "description", "key"),
    [
        ({"case_id": "{case}"}, "{case}", "metadata.case_id"),
        ({"id": "{case}"}, "{case}", "metadata.id"),
        ({}, "{case}", "description"),
        ({}, "smoke test", "hash of vars"),
        ({}, None, "hash of vars"),
    ],
)
def test_the_pairing_key_is_the_first_that_names_every_case(
    tmp_path: Path, metadata: dict[str, str], description: str | None, key: str
) -> None:
    rows = rows_of(*TWELVE)
    for row, one in zip(rows, TWELVE, strict=True):
        row["testCase"]["metadata"] = {k: v.format(case=one.case) for k, v in metadata.items()}
        row["testCase"]["description"] = description and description.format(case=one.case)
    shuffled = write(tmp_path, list(reversed(rows)), "new.json")

    cases = paired(write(tmp_path, rows), shuffled).cases

    assert (cases.paired_by, len(cases.cases), cases.missing) == (key, 12, 0)


def test_a_key_that_one_row_lacks_pairs_nobody(tmp_path: Path) -> None:
    rows = rows_of(*TWELVE)
    del rows[4]["testCase"]["metadata"]["case_id"]

    assert paired(path := write(tmp_path, rows), path).cases.paired_by == "description"


def test_pairing_keys_that_differ_are_incomparable(tmp_path: Path) -> None:
    bare = rows_of(*TWELVE)
    for row in bare:
        del row["testCase"]["metadata"]["case_id"]

    with pytest.raises(Incomparable) as refused:
        paired(write(tmp_path, rows_of(*TWELVE)), write(tmp_path, bare, "new.json"))

    assert refused.value.field == "pairing key"


def test_the_hash_of_vars_leaves_out_prompt_provider_and_session(tmp_path: Path) -> None:
    def bare(**fields: object) -> Rows:
        rows = rows_of(*TWELVE, **fields)
        for index, row in enumerate(rows):
            row["testCase"] |= {"description": None, "metadata": {}}
            row["testCase"]["vars"]["sessionId"] = f"{fields}{index}"
        return rows

    old = write(tmp_path, bare(), "old.json")
    new = write(tmp_path, bare(promptId="q" * 64, provider={"id": "other"}), "new.json")

    assert paired(old, new).cases.missing == 0


def test_another_version_of_promptfoo_is_another_harness(tmp_path: Path) -> None:
    rows = rows_of(*TWELVE)
    newer = write(tmp_path, rows, "new.json", metadata={"promptfooVersion": "0.124.0"})

    with pytest.raises(Incomparable) as refused:
        paired(write(tmp_path, rows), newer)

    assert refused.value.field == "harness"
    assert "promptfoo 0.123.1" in str(refused.value)
    assert "promptfoo 0.124.0" in str(refused.value)


@pytest.mark.parametrize(
    ("assertion", "field"),
    [
        ({"type": "icontains", "value": TWELVE[0].expected, "metric": "right"}, "grader"),
        ({"type": "equals", "value": "another answer", "metric": "right"}, "dataset"),
    ],
)
def test_a_changed_assertion_names_the_case_and_the_field(
    tmp_path: Path, assertion: dict[str, str], field: str
) -> None:
    changed = rows_of(*TWELVE)
    changed[0]["testCase"]["assert"][0] = assertion

    with pytest.raises(Incomparable) as refused:
        paired(write(tmp_path, rows_of(*TWELVE)), write(tmp_path, changed, "new.json"))

    assert TWELVE[0].case in str(refused.value)
    assert refused.value.field == field


def test_a_changed_rubric_is_another_grader(tmp_path: Path) -> None:
    def graded(rubric: str) -> Rows:
        rows = rows_of(*TWELVE)
        for row in rows:
            row["testCase"]["assert"] = [{"type": "llm-rubric", "value": rubric}]
        return rows

    with pytest.raises(Incomparable) as refused:
        paired(write(tmp_path, graded("be kind")), write(tmp_path, graded("be brief"), "new.json"))

    assert refused.value.field == "grader"
    assert "be kind" in str(refused.value)


def test_a_changed_question_under_the_same_id_is_another_dataset(tmp_path: Path) -> None:
    changed = rows_of(*TWELVE)
    changed[3]["testCase"]["vars"]["ask"] = "Something easier?"

    with pytest.raises(Incomparable) as refused:
        paired(write(tmp_path, rows_of(*TWELVE)), write(tmp_path, changed, "new.json"))

    assert refused.value.field == "dataset"
    assert "Something easier?" in str(refused.value)


def test_refusals_latency_and_cost_are_counted(tmp_path: Path) -> None:
    rows = rows_of(*TWELVE)
    rows[0]["response"]["isRefusal"] = True
    rows[1]["response"]["finishReason"] = "content_filter"
    rows[2]["response"]["guardrails"] = {"flagged": True}
    rows[3]["response"]["cached"] = True
    rows[3]["latencyMs"] = 0

    totals = paired(path := write(tmp_path, rows), path).totals[Arm.BASELINE]

    assert totals.refused == 3
    assert (totals.latency_ms_p50, totals.latency_ms_p95) == (120, 120)
    assert totals.cost_usd == pytest.approx(0.024)


def test_labels_leave_out_promptfoos_own_metadata(tmp_path: Path) -> None:
    evals = paired(path := write(tmp_path, rows_of(*TWELVE)), path, slices=None)

    assert list(evals.cases.slices) == ["tense", "verb"]


def test_results_that_the_file_counts_and_does_not_hold_are_missing(tmp_path: Path) -> None:
    document = promptfoo_v3(rows_of(*TWELVE))
    document["results"]["stats"]["successes"] += 3
    path = write_json(tmp_path / "cut.json", document)

    assert paired(path, path).cases.missing == 3


def test_the_temperature_of_the_chosen_provider_is_what_a_rerun_repeats(tmp_path: Path) -> None:
    rows = rows_of(*TWELVE)

    assert paired(path := write(tmp_path, rows), path).cases.seeds == "temperature 0.7"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"success": "yes"}, "results.results[1]: success 'yes' is neither true nor false"),
        ({"success": None}, "results.results[1]: no success"),
        ({"failureReason": 7}, "results.results[1]: failureReason 7 is not 0, 1 or 2"),
        ({"latencyMs": -1}, "results.results[1]: latencyMs -1 is not a number from 0 up"),
        ({"cost": float("nan")}, "results.results[1]: cost nan is not a number from 0 up"),
        ({"testCase": []}, "results.results[1]: testCase is not an object"),
        ({"response": "text"}, "results.results[1]: response is not an object"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    rows = rows_of(*TWELVE)
    document = promptfoo_v3(rows)
    rows[1] |= change
    document["results"]["results"] = rows
    path = write_json(tmp_path / "broken.json", document)

    with pytest.raises(EvalFileError) as refused:
        paired(path, path)

    assert message in refused.value.message


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    document = promptfoo_v3(rows_of(*TWELVE))
    document["results"]["version"] = 4
    path = write_json(tmp_path / "v4.json", document)

    with pytest.raises(EvalFileError, match="version 4; versions 2 and 3 are known"):
        paired(path, path)


def test_an_eval_without_results_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [])

    with pytest.raises(EvalFileError, match="no results"):
        paired(path, path)


def test_a_table_whose_columns_do_not_fit_is_refused(tmp_path: Path) -> None:
    narrow, short = promptfoo_v2(TWELVE), promptfoo_v2(TWELVE)
    narrow["results"]["table"]["body"][2]["vars"].pop()
    short["results"]["table"]["body"][2]["outputs"].pop()

    for document, message in (
        (narrow, r"body\[2\]: its vars are not as many"),
        (short, r"body\[2\]: 0 outputs, but head has 1 prompts"),
    ):
        path = write_json(tmp_path / "v2.json", document)
        with pytest.raises(EvalFileError, match=message):
            paired(path, path)


def test_a_csv_of_several_arms_is_split_too(tmp_path: Path) -> None:
    arms = {"[a] Conjugate": TWELVE, "[b] Conjugate": failing(TWELVE, 0)}
    path = write_promptfoo_csv(tmp_path / "arms.csv", arms)

    evals = paired(path, path, baseline_part="[a]", candidate_part="[b]")

    assert (sum(evals.cases.old), sum(evals.cases.new)) == (12, 11)
    with pytest.raises(EvalFileError, match="holds 2 prompt-provider pairs"):
        paired(path, path)


def test_a_csv_status_that_nobody_knows_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write_promptfoo_csv(tmp_path / "odd.csv", {"[a] Conjugate": TWELVE})
    path.write_text(path.read_text().replace("PASS", "SKIPPED", 1))

    with pytest.raises(EvalFileError, match=r"odd\.csv:2: Status 'SKIPPED' is none of PASS"):
        paired(path, path)
