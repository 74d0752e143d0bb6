"""Reads the JSON lines that openai/evals records.

`sample_id` holds the sample's position in the dataset, so a case is known by a hash of its prompt.
The lines stand in any order, the final report among them. Format: evals/record.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from rampway.adapters.evals_files.files import EvalFileError
from rampway.adapters.evals_files.keys import hash_of
from rampway.adapters.evals_files.recognise import Format
from rampway.adapters.evals_files.results import (
    Answer,
    Results,
    Wanted,
    choose,
    labels_of,
    refuse_choice,
)
from rampway.adapters.evals_files.rows import EMPTY, Row, json_rows, shown, text_of

MATCH = "match"
# What these classes count as right: not what their names suggest, so it is part of the grader.
SEMANTICS = {
    "basic.match:Match": "prefix: an answer that begins with an accepted one is right",
    "basic.includes:Includes": "substring: an answer that contains an accepted one is right",
    "basic.fuzzy_match:FuzzyMatch": "substring either way, after normalising",
}
_PATHS = ("_jsonl", "_path", "_file", "_dir")


@dataclass(slots=True)
class Sample:
    """The events of one sample. The first sampling is the one that the eval asked for."""

    row: Row
    sampled: Row | None = None
    sampled_at: float = 0
    scored: list[Row] = field(default_factory=list[Row])
    error: bool = False
    raw: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@dataclass(slots=True)
class Run:
    """One recorded run."""

    path: Path
    spec: Row | None = None
    finished: bool = False
    run_ids: set[str] = field(default_factory=set[str])
    samples: dict[str, Sample] = field(default_factory=dict[str, Sample])


def read_openai_evals(path: Path, wanted: Wanted) -> Results:
    """The results of one run. Raises EvalFileError at the first broken rule."""
    if wanted.part is not None:
        refuse_choice(path, "an openai/evals record", Wanted(part=wanted.part))
    run = Run(path)
    for row in json_rows(path):
        _note(run, row)
    spec = _checked_spec(run)
    results = Results(path, Format.OPENAI_EVALS, wanted, paired_by="hash of prompt")
    results.scored_by = choose(path, "scorer", _scorers(run), wanted.scorer)
    for name, sample in run.samples.items():
        _add(results, name, sample)
    config = spec.part("run_config")
    results.harness = f"openai/evals, eval {spec.columns.get('eval_name')}"
    results.seeds = {"seed": config.columns.get("seed")}
    results.grader, results.graded = _grader(spec, config), True
    return results.checked()


def _note(run: Run, row: Row) -> None:
    columns = row.columns
    run_id = columns.get("run_id")
    if "spec" in columns:
        if run.spec is not None:
            raise row.broken("a second spec. Next: one run per file")
        run.spec = row.part("spec")
        run_id = run.spec.columns.get("run_id", run_id)
    if isinstance(run_id, str):
        run.run_ids.add(run_id)
        if len(run.run_ids) > 1:
            raise row.broken(f"another run ({run_id}) than before. Next: one run per file")
    if "final_report" in columns:
        run.finished = True
    elif "spec" not in columns:
        _note_event(run, row)


def _note_event(run: Run, row: Row) -> None:
    kind, name = row.text("type"), row.text("sample_id")
    if not kind or not name:
        raise row.broken("neither spec, final_report nor an event with type and sample_id.")
    sample = run.samples.setdefault(name, Sample(row))
    if kind == "sampling":
        at = row.measure("event_id") or 0
        if sample.sampled is None or at < sample.sampled_at:
            sample.sampled, sample.sampled_at = row.part("data"), at
    elif kind in {MATCH, "metrics"}:
        sample.scored.append(row)
    elif kind == "error":
        sample.error = True
    elif kind == "raw_sample":
        sample.raw = row.part("data").columns


def _checked_spec(run: Run) -> Row:
    if run.spec is None:
        raise EvalFileError(run.path, 0, "no spec line: the beginning is missing.")
    if not run.finished:
        raise EvalFileError(
            run.path, 0, "no final_report: the run has not ended. Next: run it to its end"
        )
    limit = run.spec.part("run_config").columns.get("max_samples")
    if limit is not None:
        raise run.spec.broken(
            f"the run had --max_samples {shown(limit)}: a part is no full eval. Next: run it whole"
        )
    return run.spec


def _scorers(run: Run) -> list[str]:
    names: dict[str, None] = {}
    for sample in run.samples.values():
        for row in sample.scored:
            if row.columns.get("type") == MATCH:
                names[MATCH] = None
            else:
                names |= {
                    name: None
                    for name, value in row.part("data").columns.items()
                    if isinstance(value, bool | int | float)
                }
    return list(names) or [MATCH]


def _add(results: Results, name: str, sample: Sample) -> None:
    asked = sample.raw.get("input")
    if sample.sampled is not None:
        asked = sample.sampled.columns.get("prompt")
    scores = [
        _score(row, results.scored_by)
        for row in sample.scored
        if (row.columns.get("type") == MATCH) == (results.scored_by == MATCH)
    ]
    if not scores and not sample.error:
        raise sample.row.broken(f"sample {name} has neither a score nor an error.")
    if asked is None:
        if scores:
            raise sample.row.broken(f"sample {name} has no prompt, and is paired by it.")
        # It failed before anything recorded what it asks: counted, but there is nothing to pair.
        results.errors += 1
        results.lost += 1
        return
    hard = sample.raw.get("hard")
    for score in scores or [0.0]:
        results.add(
            sample.row,
            Answer(
                hash_of(_said(asked)),
                score,
                not scores,
                labels_of(results.wanted, sample.raw),
                hard if isinstance(hard, bool) else None,
                _question(asked),
                _expected(sample),
                None,
                text_of(sample.sampled.columns.get("sampled")) if sample.sampled else None,
            ),
        )


def _score(row: Row, scored_by: str) -> float:
    data = row.part("data")
    if scored_by != MATCH:
        value = data.columns.get(scored_by)
        return float(value) if isinstance(value, bool) else data.score(scored_by)
    correct = data.truth("correct")
    if correct is None:
        raise data.broken("a match without correct.")
    return float(correct)


def _said(asked: JsonValue) -> JsonValue:
    """The prompt as roles and contents, whatever else a message may carry."""
    if not isinstance(asked, list):
        return asked
    return [
        [message.get("role"), message.get("content")] if isinstance(message, dict) else message
        for message in asked
    ]


def _question(asked: JsonValue) -> str | None:
    """The last message: what the case asks, behind the instructions that all cases share."""
    if isinstance(asked, list) and asked and isinstance(asked[-1], dict):
        return text_of(asked[-1].get("content"))
    return text_of(asked)


def _expected(sample: Sample) -> str | None:
    found = next((r for r in sample.scored if r.columns.get("type") == MATCH), None)
    stated = EMPTY if found is None else found.part("data").columns
    return text_of(stated.get("expected", sample.raw.get("ideal")))


def _grader(spec: Row, config: Row) -> JsonValue:
    eval_spec = config.part("eval_spec")
    cls = str(eval_spec.columns.get("cls"))
    functions = spec.columns.get("completion_fns")
    settings = {
        name: value
        for name, value in eval_spec.part("args").columns.items()
        if not name.endswith(_PATHS)
    }
    return {
        "cls": cls,
        "args": settings,
        "semantics": next((told for end, told in SEMANTICS.items() if cls.endswith(end)), None),
        # The first one answers, and is what the arms differ in; the others grade.
        "models": functions[1:] if isinstance(functions, list) else None,
    }
