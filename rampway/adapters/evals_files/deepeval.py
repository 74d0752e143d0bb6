"""Reads DeepEval's test_run JSON.

A case's name is generated from its position unless somebody gave one, so a generated name pairs
nothing: the input and the expected output do. Format: deepeval's test_run/api.py.
"""

import json
import re
from pathlib import Path

from pydantic import JsonValue

from rampway.adapters.evals_files.keys import hash_of, own_id, shared_key
from rampway.adapters.evals_files.recognise import Format
from rampway.adapters.evals_files.results import (
    Answer,
    Results,
    Wanted,
    choose,
    labels_of,
    refuse_choice,
)
from rampway.adapters.evals_files.rows import EMPTY, Row, text_of

SUCCESS = "success"
_GENERATED_NAME = re.compile(r"(conversational_)?test_case_\d+")
_GRADES_BY = ("name", "threshold", "strictMode", "evaluationModel", "flaky")


def read_deepeval(path: Path, document: JsonValue, wanted: Wanted) -> Results:
    """The results of a test run. Raises EvalFileError at the first broken rule."""
    run = Row(path, 0, document if isinstance(document, dict) else EMPTY)
    if wanted.part is not None:
        refuse_choice(path, "a DeepEval test run", Wanted(part=wanted.part))
    cases = run.parts("testCases") + run.parts("conversationalTestCases")
    results = Results(path, Format.DEEPEVAL, wanted, harness="deepeval")
    keys = [_keys(case) for case in cases]
    questions = [json.dumps(_asked(case), sort_keys=True) for case in cases]
    results.paired_by = shared_key(keys, questions)
    results.scored_by = _scored_by(results, cases)
    for case, key in zip(cases, keys, strict=True):
        _add(results, case, str(key[results.paired_by]))
    results.graded = True
    counts = [run.columns.get(name) for name in ("testPassed", "testFailed")]
    stated = sum(count for count in counts if isinstance(count, int))
    results.lost = max(0, stated - len(cases))
    hyperparameters = run.part("hyperparameters").columns
    results.seeds = {name: hyperparameters.get(name) for name in ("seed", "temperature")}
    return results.checked()


def _keys(case: Row) -> dict[str, str | None]:
    metadata = case.part("metadata").columns
    name = own_id(case.columns, "name")
    generated = name is not None and _GENERATED_NAME.fullmatch(name) is not None
    return {
        "metadata.case_id": own_id(metadata, "case_id"),
        "metadata.id": own_id(metadata, "id"),
        "name": None if generated else name,
        "hash of input and expected output": hash_of(_asked(case)),
    }


def _asked(case: Row) -> list[JsonValue]:
    """What was asked and expected: of a conversation, its scenario and outcome."""
    return [
        case.columns.get("input", case.columns.get("scenario")),
        case.columns.get("expectedOutput", case.columns.get("expectedOutcome")),
    ]


def _scored_by(results: Results, cases: list[Row]) -> str:
    if results.wanted.scorer is None:
        return SUCCESS
    steady = [
        name
        for case in cases
        for metric in case.parts("metricsData")
        if metric.columns.get("flaky") is not True and (name := metric.text("name"))
    ]  # a flaky metric decides nothing in DeepEval, and nothing here
    return choose(results.path, "scorer", [*steady, SUCCESS], results.wanted.scorer)


def _add(results: Results, case: Row, case_id: str) -> None:
    metadata = case.part("metadata").columns
    metrics = case.parts("metricsData")
    failed = _failed(metrics)
    question, expected = _asked(case)
    hard = metadata.get("hard")
    seconds = case.measure("completionTime")
    results.add(
        case,
        Answer(
            case_id,
            0.0 if failed else _score(results.scored_by, case, metrics),
            failed,
            labels_of(results.wanted, metadata),
            hard if isinstance(hard, bool) else None,
            text_of(question),
            text_of(expected),
            _graded_by(metrics),
            _answer(case),
            latency_ms=None if seconds is None else seconds * 1_000,
            cost_usd=case.measure("tokenCost"),
        ),
    )


def _failed(metrics: list[Row]) -> bool:
    """Whether a metric that decides broke down: nobody knows whether the answer was right."""
    return any(
        metric.columns.get("error") and metric.columns.get("flaky") is not True
        for metric in metrics
    )


def _score(scored_by: str, case: Row, metrics: list[Row]) -> float:
    if scored_by != SUCCESS:
        for metric in metrics:
            if metric.columns.get("name") == scored_by:
                return metric.score("score")
        raise case.broken(f"no metric {scored_by}. Next: run it on every case")
    success = case.truth(SUCCESS)
    if success is None:
        raise case.broken("no success: no metric decided it. Next: give the case a metric")
    return float(success)


def _graded_by(metrics: list[Row]) -> str | None:
    """The metrics of a case with their settings; an empty list says that nothing was graded."""
    settings = [{name: metric.columns.get(name) for name in _GRADES_BY} for metric in metrics]
    for one in settings:
        one["flaky"] = one["flaky"] is True
    return ", ".join(sorted(json.dumps(one, sort_keys=True) for one in settings)) or None


def _answer(case: Row) -> str | None:
    turns = case.parts("turns")
    if not turns:
        return text_of(case.columns.get("actualOutput"))
    return "\n".join(f"{turn.columns.get('role')}: {turn.columns.get('content')}" for turn in turns)
