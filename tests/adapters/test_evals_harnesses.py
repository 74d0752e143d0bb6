"""The traps of lm-evaluation-harness, DeepEval and openai/evals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evals_formats import (
    DATE,
    TWELVE,
    broken_off,
    deepeval_case,
    deepeval_run,
    failing,
    lm_eval_results,
    lm_eval_samples,
    openai_events,
    openai_record,
    openai_spec,
    paired,
    write_json,
    write_lines,
    write_lm_eval,
)

from rampway.adapters.evals_files import EvalFileError, Incomparable
from rampway.gates.facts import digest_of
from rampway.gates.plans import Arm

SAMPLES_NAME = f"samples_grammar_{DATE}.jsonl"
RESULTS_NAME = f"results_{DATE}.json"
REPORT: dict[str, Any] = {"final_report": {"accuracy": 0.5}, "run_id": "R1"}


def test_a_task_is_found_from_its_folder_its_results_or_its_samples(tmp_path: Path) -> None:
    folder = write_lm_eval(tmp_path / "out" / "model", TWELVE)

    found = [
        paired(path, path).cases
        for path in (folder.parent, folder, folder / SAMPLES_NAME, folder / RESULTS_NAME)
    ]

    assert found == [found[0]] * 4
    assert len(found[0].cases) == 12


def test_files_that_were_renamed_are_still_partners_where_there_is_one_of_each(
    tmp_path: Path,
) -> None:
    samples = write_lines(tmp_path / "my.samples.jsonl", lm_eval_samples(TWELVE))
    results = write_json(tmp_path / "my.results.json", lm_eval_results(12))
    write_json(tmp_path / "other.results.json", {"results": "of something else"})

    assert paired(samples, results).cases.missing == 0


def test_samples_without_their_results_are_refused(tmp_path: Path) -> None:
    folder = write_lm_eval(tmp_path, TWELVE)
    (folder / RESULTS_NAME).unlink()

    with pytest.raises(EvalFileError, match=r"there is no results file of this run.*--limit"):
        paired(folder / SAMPLES_NAME, folder / SAMPLES_NAME)


def test_results_without_their_samples_are_refused(tmp_path: Path) -> None:
    folder = write_lm_eval(tmp_path, TWELVE)
    (folder / SAMPLES_NAME).unlink()

    for path in (folder, folder / RESULTS_NAME):
        with pytest.raises(EvalFileError, match=r"there is no samples file.*--log_samples"):
            paired(path, path)


def test_of_several_runs_the_latest_is_never_taken(tmp_path: Path) -> None:
    folder = write_lm_eval(tmp_path, TWELVE)
    write_json(folder / "results_2026-11-21T00-00-00.000000.json", lm_eval_results(12))

    with pytest.raises(EvalFileError, match=r"there are 2 of: results_\*\.json"):
        paired(folder, folder)
    assert paired(folder / SAMPLES_NAME, folder / RESULTS_NAME).cases.missing == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"n-samples": {"grammar": {"original": 2400, "effective": 12}}},
        {"config": {"limit": 12.0}},
    ],
    ids=["counts", "config"],
)
def test_a_run_with_a_limit_is_no_full_eval(tmp_path: Path, fields: dict[str, Any]) -> None:
    folder = write_lm_eval(tmp_path, TWELVE, **fields)

    with pytest.raises(EvalFileError, match=r"ran with --limit.*Next: run it without --limit"):
        paired(folder, folder)


def test_docs_are_paired_by_hash_not_by_position(tmp_path: Path) -> None:
    old = write_lm_eval(tmp_path / "old", failing(TWELVE, 0))
    new = write_lm_eval(tmp_path / "new", list(reversed(failing(TWELVE, 0))))

    evals = paired(old, new)

    assert evals.disagreements == ()
    assert (evals.cases.paired_by, evals.cases.missing) == ("doc_hash", 0)


def test_several_filters_of_a_doc_are_not_repeats_of_it(tmp_path: Path) -> None:
    strict, flexible = lm_eval_samples(failing(TWELVE, 0), "strict"), lm_eval_samples(TWELVE, "any")
    results = lm_eval_results(12)
    results["results"]["grammar"] = {"conj_ok,strict": 0.9, "conj_ok,any": 1.0}
    write_json(tmp_path / RESULTS_NAME, results)
    path = write_lines(tmp_path / SAMPLES_NAME, [*strict, *flexible])

    with pytest.raises(EvalFileError, match=r"2 scorers.*conj_ok,strict; conj_ok,any"):
        paired(path, path)
    assert sum(paired(path, path, scorer="strict").cases.old) == 11
    assert sum(paired(path, path, scorer="conj_ok,any").cases.old) == 12
    graders = {paired(path, path, scorer=name).cases.grader for name in ("strict", "any")}
    assert len(graders) == 2


def test_several_tasks_of_one_run_need_a_choice(tmp_path: Path) -> None:
    results = lm_eval_results(12)
    for section in ("results", "configs", "n-samples"):
        results[section]["spelling"] = results[section]["grammar"]
    path = write_json(tmp_path / RESULTS_NAME, results)
    write_lines(tmp_path / SAMPLES_NAME, lm_eval_samples(TWELVE))
    write_lines(tmp_path / f"samples_spelling_{DATE}.jsonl", lm_eval_samples(TWELVE[:6]))

    with pytest.raises(EvalFileError, match=r"holds 2 tasks.*: grammar; spelling"):
        paired(path, path)
    cases = paired(path, path, baseline_part="spell", candidate_part="spell").cases
    assert (len(cases.cases), cases.missing) == (6, 6)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"lm_eval_version": "0.4.14"}, "harness"),
        ({"versions": {"grammar": 3.0}}, "harness"),
        ({"n-shot": {"grammar": 5}}, "harness"),
        ({"configs": {"grammar": {"process_results": "def other(): ..."}}}, "grader"),
    ],
    ids=range(4),
)
def test_what_decides_lm_evals_scores_must_be_the_same(
    tmp_path: Path, fields: dict[str, Any], field: str
) -> None:
    old = write_lm_eval(tmp_path / "old", TWELVE)
    new = write_lm_eval(tmp_path / "new", TWELVE, **fields)

    with pytest.raises(Incomparable) as refused:
        paired(old, new)

    assert refused.value.field == field


def test_a_metric_that_is_better_when_lower_is_refused(tmp_path: Path) -> None:
    folder = write_lm_eval(tmp_path, TWELVE, higher_is_better={"grammar": {"conj_ok": False}})

    with pytest.raises(EvalFileError, match="conj_ok is better when lower"):
        paired(folder, folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc_hash": None}, r"jsonl:2: no doc_hash, and doc_id is only a position"),
        ({"conj_ok": 7.5}, r"jsonl:2: conj_ok 7\.5 is not a number from 0 to 1"),
        ({"conj_ok": [0.1, 0.2]}, r"jsonl:2: conj_ok \[0\.1, 0\.2\] is not a number"),
        ({"doc": "text"}, r"jsonl:2: doc is not an object"),
    ],
    ids=range(4),
)
def test_a_sample_that_breaks_a_rule_is_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = write_lm_eval(tmp_path, TWELVE)
    rows = lm_eval_samples(TWELVE)
    path = write_lines(folder / SAMPLES_NAME, [rows[0], rows[1] | change, *rows[2:]])

    with pytest.raises(EvalFileError, match=message):
        paired(path, path)


def test_a_flaky_metric_never_decides(tmp_path: Path) -> None:
    cases = [deepeval_case(one, index) for index, one in enumerate(TWELVE)]
    flaky = {"name": "Tone", "success": False, "score": 0.1, "flaky": True, "error": "timeout"}
    for case in cases:
        case["metricsData"].append(flaky)
    path = write_json(tmp_path / "run.json", deepeval_run(cases))

    evals = paired(path, path)

    assert sum(evals.cases.old) == 12
    assert evals.cases.errors["baseline"] == 0
    assert sum(paired(path, path, scorer="Conjugation").cases.old) == 12
    with pytest.raises(EvalFileError, match="scorer 'Tone': none fits of: Conjugation; success"):
        paired(path, path, scorer="Tone")


def test_a_metric_that_broke_down_is_an_error_whatever_success_says(tmp_path: Path) -> None:
    cases = [deepeval_case(one) for one in broken_off(TWELVE, 0)]
    cases[0]["success"] = True
    path = write_json(tmp_path / "run.json", deepeval_run(cases))

    evals = paired(path, path)

    assert (sum(evals.cases.new), evals.cases.errors["candidate"]) == (11, 1)


def test_names_that_were_made_from_positions_pair_nothing(tmp_path: Path) -> None:
    def unnamed(order: list[int]) -> Path:
        cases = [
            deepeval_case(TWELVE[at], index, name=f"test_case_{index}")
            for index, at in enumerate(order)
        ]
        return write_json(tmp_path / f"{order[0]}.json", deepeval_run(cases))

    cases = paired(unnamed(list(range(12))), unnamed(list(range(11, -1, -1)))).cases

    assert cases.paired_by == "hash of input and expected output"
    assert (len(cases.cases), cases.missing) == (12, 0)


def test_a_name_that_several_inputs_share_pairs_nothing(tmp_path: Path) -> None:
    cases = [deepeval_case(one, name="test_tutor") for one in TWELVE]
    path = write_json(tmp_path / "run.json", deepeval_run(cases))

    assert paired(path, path).cases.paired_by == "hash of input and expected output"


def test_conversations_are_cases_too(tmp_path: Path) -> None:
    conversations = [
        {
            "name": f"conversational_test_case_{index}",
            "scenario": one.question,
            "expectedOutcome": one.expected,
            "turns": [{"role": "user", "content": "go"}, {"role": "assistant", "content": "went"}],
            "success": one.passed,
            "metricsData": [{"name": "Tone", "score": 1.0, "success": one.passed}],
        }
        for index, one in enumerate(TWELVE)
    ]
    changed = [
        {**one, "success": False} if index == 0 else one for index, one in enumerate(conversations)
    ]
    files = [
        write_json(tmp_path / f"{number}.json", {"testCases": [], "conversationalTestCases": each})
        for number, each in enumerate((conversations, changed))
    ]

    evals = paired(*files)

    assert len(evals.cases.cases) == 12
    (worse,) = evals.disagreements
    assert worse.question == TWELVE[0].question
    assert worse.new_answer == "user: go\nassistant: went"


@pytest.mark.parametrize(
    "change", [{"threshold": 0.5}, {"evaluationModel": "gpt-9"}, {"strictMode": True}], ids=str
)
def test_a_metric_with_other_settings_is_another_grader(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    cases = [deepeval_case(one) for one in TWELVE]
    changed = [{**case, "metricsData": [case["metricsData"][0] | change]} for case in cases]
    old = write_json(tmp_path / "old.json", deepeval_run(cases))

    with pytest.raises(Incomparable) as refused:
        paired(old, write_json(tmp_path / "new.json", deepeval_run(changed)))

    assert refused.value.field == "grader"


def test_a_case_that_no_metric_decided_is_refused(tmp_path: Path) -> None:
    cases = [deepeval_case(TWELVE[0]), deepeval_case(TWELVE[1], success=None, metricsData=None)]
    path = write_json(tmp_path / "run.json", deepeval_run(cases))

    with pytest.raises(EvalFileError, match=r"testCases\[1\]: no success: no metric decided it"):
        paired(path, path)


def test_cases_that_deepeval_counts_and_does_not_hold_are_missing(tmp_path: Path) -> None:
    run = deepeval_run([deepeval_case(one) for one in TWELVE], testFailed=8)
    path = write_json(tmp_path / "run.json", run)

    assert paired(path, path).cases.missing == 8


def test_a_reordered_dataset_changes_nothing(tmp_path: Path) -> None:
    old = write_lines(tmp_path / "old.jsonl", openai_record(failing(TWELVE, 0)))
    events = openai_events(failing(TWELVE, 0), shift=5)
    new = write_lines(tmp_path / "new.jsonl", [openai_spec(), *events, REPORT])

    evals = paired(old, new)

    assert evals.disagreements == ()
    assert (len(evals.cases.cases), evals.cases.missing) == (12, 0)


@pytest.mark.parametrize("position", [1, 7, 25])
def test_the_final_report_may_stand_anywhere_and_events_in_any_order(
    tmp_path: Path, position: int
) -> None:
    lines = [openai_spec(), *reversed(openai_events(failing(TWELVE, 0)))]
    lines.insert(position, REPORT)
    path = write_lines(tmp_path / "record.jsonl", lines)

    assert sum(paired(path, path).cases.old) == 11


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (lambda: [openai_spec(), *openai_events(TWELVE)], "no final_report: the run has not ended"),
        (lambda: [REPORT, *openai_events(TWELVE)], "no spec line"),
        (lambda: [openai_spec(), openai_spec(), REPORT], "jsonl:2: a second spec"),
        (
            lambda: [openai_spec(), REPORT, openai_events(TWELVE)[0] | {"run_id": "R2"}],
            r"jsonl:3: another run \(R2\)",
        ),
        (
            lambda: [openai_spec(max_samples=20), REPORT, *openai_events(TWELVE)],
            "--max_samples 20: a part is no full eval",
        ),
        (
            lambda: [openai_spec(), REPORT, openai_events(TWELVE)[0]],
            "jsonl:3: sample grammar.dev.0 has neither a score nor an error",
        ),
        (
            lambda: [openai_spec(), REPORT, openai_events(TWELVE)[1]],
            "jsonl:3: sample grammar.dev.0 has no prompt",
        ),
        (lambda: [openai_spec(), REPORT, {"run_id": "R1"}], "neither spec, final_report nor"),
    ],
    ids=range(8),
)
def test_a_record_that_leaves_a_doubt_is_refused(
    tmp_path: Path, lines: Callable[[], list[object]], message: str
) -> None:
    path = write_lines(tmp_path / "record.jsonl", lines())

    with pytest.raises(EvalFileError, match=message):
        paired(path, path)


def test_an_error_before_any_prompt_was_recorded_is_counted_and_missing(tmp_path: Path) -> None:
    lost = {"run_id": "R1", "event_id": 99, "sample_id": "grammar.dev.99", "type": "error"}
    path = write_lines(tmp_path / "record.jsonl", [*openai_record(TWELVE), lost | {"data": {}}])

    cases = paired(path, path).cases

    assert (cases.errors["candidate"], cases.missing) == (1, 1)


def test_the_first_sampling_is_the_case_and_later_ones_are_the_graders(tmp_path: Path) -> None:
    events = openai_events(TWELVE)
    graded: dict[str, Any] = {"prompt": "Is the answer right?", "sampled": ["yes"]}
    judged = [
        event | {"event_id": event["event_id"] + 100, "data": graded}
        for event in events
        if event["type"] == "sampling"
    ]
    path = write_lines(tmp_path / "record.jsonl", [openai_spec(), REPORT, *judged, *events])

    assert len(paired(path, path).cases.cases) == 12


def test_metrics_events_score_where_there_is_no_match(tmp_path: Path) -> None:
    events = [
        event | {"type": "metrics", "data": {"score": 0.5, "choice": "B", "tokens": 12}}
        if event["type"] == "match"
        else event
        for event in openai_events(TWELVE)
    ]
    path = write_lines(tmp_path / "record.jsonl", [openai_spec(), REPORT, *events])

    with pytest.raises(EvalFileError, match=r"2 scorers.*: score; tokens"):
        paired(path, path)
    assert set(paired(path, path, scorer="score").cases.old) == {0.5}


def test_that_a_match_is_a_match_of_the_beginning_is_part_of_the_grader(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "record.jsonl", openai_record(TWELVE))

    stated = {
        "cls": "evals.elsuite.basic.match:Match",
        "args": {},
        "semantics": "prefix: an answer that begins with an accepted one is right",
        "models": [],
    }
    assert paired(path, path).cases.grader == digest_of(stated)


def test_another_eval_class_is_another_grader(tmp_path: Path) -> None:
    spec = openai_spec(eval_spec={"cls": "evals.elsuite.basic.includes:Includes", "args": {}})
    old = write_lines(tmp_path / "old.jsonl", openai_record(TWELVE))
    new = write_lines(tmp_path / "new.jsonl", [spec, REPORT, *openai_events(TWELVE)])

    with pytest.raises(Incomparable, match="substring") as refused:
        paired(old, new)

    assert refused.value.field == "grader"


def test_where_the_samples_were_read_from_is_not_the_grader(tmp_path: Path) -> None:
    old = write_lines(tmp_path / "old.jsonl", openai_record(TWELVE))
    spec = openai_spec(
        eval_spec={"cls": "evals.elsuite.basic.match:Match", "args": {"samples_jsonl": "/mine"}}
    )
    new = write_lines(tmp_path / "new.jsonl", [spec, REPORT, *openai_events(TWELVE)])

    assert paired(old, new).cases.missing == 0


def test_a_choice_that_a_tool_does_not_offer_is_refused(tmp_path: Path) -> None:
    record = write_lines(tmp_path / "record.jsonl", openai_record(TWELVE))
    run = write_json(tmp_path / "run.json", deepeval_run([deepeval_case(one) for one in TWELVE]))

    for path in (record, run):
        with pytest.raises(EvalFileError, match="part 'b' was chosen, but"):
            paired(path, path, baseline_part="b")


def test_time_and_cost_are_counted(tmp_path: Path) -> None:
    run = write_json(tmp_path / "run.json", deepeval_run([deepeval_case(one) for one in TWELVE]))

    totals = paired(run, run).totals[Arm.CANDIDATE]

    assert totals.latency_ms_p50 == 500
    assert totals.cost_usd == pytest.approx(0.012)
